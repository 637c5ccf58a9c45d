package policy

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance/workload"
)

// The figures of evaluation are in host, beside those of the sandbox. The
// million keys need some 5 GB of memory and are made once.

var (
	hundredKeys = once(workload.Hundred)
	tenThousand = once(func() *workload.Workload { return workload.Sharing(10_000, 1_000) })
	millionKeys = once(workload.Million)
)

// once keeps what a workload is made into for the next benchmark.
func once(make func() *workload.Workload) func(b *testing.B) []byte {
	var document []byte
	return func(b *testing.B) []byte {
		if document == nil {
			document = documentOf(b, make())
		}
		return document
	}
}

func benchmarkCompile(b *testing.B, document []byte) {
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	var image []byte
	for b.Loop() {
		var err error
		if image, _, err = Compile(document); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(image))/(1<<20), "image-MiB")
}

func BenchmarkCompile100FullKeys(b *testing.B) { benchmarkCompile(b, hundredKeys(b)) }
func BenchmarkCompile10000KeysSharing1000Lists(b *testing.B) {
	benchmarkCompile(b, tenThousand(b))
}
func BenchmarkCompileMillionKeysSharing1000Lists(b *testing.B) {
	benchmarkCompile(b, millionKeys(b))
}

func benchmarkOpen(b *testing.B, document []byte) {
	image, _, err := Compile(document)
	require.NoError(b, err)
	b.SetBytes(int64(len(image)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Open(image); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkOpenImageOf100FullKeys(b *testing.B) { benchmarkOpen(b, hundredKeys(b)) }
func BenchmarkOpenImageOf10000Keys(b *testing.B)   { benchmarkOpen(b, tenThousand(b)) }
func BenchmarkOpenImageOfMillionKeys(b *testing.B) { benchmarkOpen(b, millionKeys(b)) }

func BenchmarkValidate100FullKeys(b *testing.B) {
	document := hundredKeys(b)
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	for b.Loop() {
		if !Validate(document).Valid {
			b.Fatal("not valid")
		}
	}
}

func BenchmarkExplain100FullKeys(b *testing.B) {
	e, err := Load(hundredKeys(b))
	require.NoError(b, err)
	requests, _ := workload.Hundred().Requests(workload.Cycle)
	var out []byte
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		trace, err := e.Explain(requests[n%len(requests)])
		if err != nil {
			b.Fatal(err)
		}
		out = AppendTrace(out[:0], &trace)
		n++
	}
}

func BenchmarkParseRequest(b *testing.B) {
	document := []byte(`{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1","VpcId":"vpc-bench0000000000000001","AccountId":"1000000000000001"}`)
	b.SetBytes(int64(len(document)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(document); err != nil {
			b.Fatal(err)
		}
	}
}
