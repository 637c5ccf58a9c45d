package host

import (
	"bytes"
	"context"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
	"github.com/keymoat/keymoat/plugin/policy"
)

// The compiled form of the plugin, kept for all benchmarks and tests of one run.
var compilationCache = sync.OnceValue(func() string { return filepath.Join("..", "build", "cache") })

func newEngine(t testing.TB, opts ...Option) *Engine {
	t.Helper()
	e, err := New(t.Context(), append([]Option{WithCompilationCache(compilationCache())}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e
}

// documents and images of the workloads are made once in a run.
type prepared struct {
	document, image []byte
	requests        []abi.Request
	answers         []abi.Decision
}

func prepare(w *workload.Workload, requests int) *prepared {
	var p prepared
	var document bytes.Buffer
	if err := w.WritePolicySet(&document); err != nil {
		panic(err)
	}
	p.document = document.Bytes()
	var err error
	if p.image, _, err = policy.Compile(p.document); err != nil {
		panic(err)
	}
	p.requests, p.answers = w.Requests(requests)
	return &p
}

var (
	hundred = sync.OnceValue(func() *prepared { return prepare(workload.Hundred(), 4000) })
	million = sync.OnceValue(func() *prepared {
		p := prepare(workload.Million(), 1<<20)
		p.document = nil // 1.6 GB
		return p
	})
	small = sync.OnceValue(func() *prepared { return prepare(workload.Small(), 40) })
)

func benchmarkEvaluate(b *testing.B, e Evaluator, p *prepared) {
	ctx := b.Context()
	_, err := e.Load(ctx, p.image)
	require.NoError(b, err)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n == len(p.requests) {
			n = 0
		}
		d, err := e.Evaluate(ctx, p.requests[n])
		if err != nil || d.Effect != p.answers[n].Effect {
			b.Fatal(d, err, p.answers[n])
		}
		n++
	}
}

func BenchmarkEvaluate100FullKeysNative(b *testing.B) { benchmarkEvaluate(b, NewNative(), hundred()) }
func BenchmarkEvaluate100FullKeysWazero(b *testing.B) { benchmarkEvaluate(b, newEngine(b), hundred()) }
func BenchmarkEvaluateMillionKeysNative(b *testing.B) { benchmarkEvaluate(b, NewNative(), million()) }
func BenchmarkEvaluateMillionKeysWazero(b *testing.B) { benchmarkEvaluate(b, newEngine(b), million()) }

func benchmarkBatch(b *testing.B, e Evaluator, p *prepared) {
	const size = 1000
	ctx := b.Context()
	_, err := e.Load(ctx, p.image)
	require.NoError(b, err)
	out := make([]abi.Decision, size)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n+size > len(p.requests) {
			n = 0
		}
		if err := e.EvaluateBatch(ctx, p.requests[n:n+size], out); err != nil {
			b.Fatal(err)
		}
		n += size
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/size, "ns/request")
}

func BenchmarkBatchOf1000In100FullKeysWazero(b *testing.B) {
	benchmarkBatch(b, newEngine(b), hundred())
}
func BenchmarkBatchOf1000In100FullKeysNative(b *testing.B) { benchmarkBatch(b, NewNative(), hundred()) }

// With -cpu 1,2 the two figures are what a second core gives.
func benchmarkThroughput(b *testing.B, e Evaluator, p *prepared) {
	ctx := b.Context()
	_, err := e.Load(ctx, p.image)
	require.NoError(b, err)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		n := 0
		for pb.Next() {
			if n == len(p.requests) {
				n = 0
			}
			if _, err := e.Evaluate(ctx, p.requests[n]); err != nil {
				b.Error(err)
				return
			}
			n++
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "evaluations/s")
}

func BenchmarkThroughput100FullKeysWazero(b *testing.B) {
	benchmarkThroughput(b, newEngine(b), hundred())
}
func BenchmarkThroughput100FullKeysNative(b *testing.B) {
	benchmarkThroughput(b, NewNative(), hundred())
}

func acs3Request(r abi.Request) abi.HTTPRequest {
	return abi.HTTPRequest{
		Target: "/?Action=DescribeRegions&Version=2014-05-26",
		Headers: []abi.HTTPHeader{
			{Name: "Host", Value: "ecs.example.com"},
			{Name: "x-acs-action", Value: "DescribeRegions"},
			{Name: "Authorization", Value: "ACS3-HMAC-SHA256 Credential=" + r.AccessKeyID +
				",SignedHeaders=host;x-acs-action,Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"},
		},
		SourceIP: r.SourceIP, VPCID: r.VPCID,
	}
}

func benchmarkAuthorize(b *testing.B, e Evaluator, p *prepared) {
	ctx := b.Context()
	_, err := e.Load(ctx, p.image)
	require.NoError(b, err)
	requests := make([]abi.HTTPRequest, len(p.requests))
	for i, r := range p.requests {
		requests[i] = acs3Request(r)
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n == len(requests) {
			n = 0
		}
		d, err := e.Authorize(ctx, requests[n])
		if err != nil || d.Effect != p.answers[n].Effect {
			b.Fatal(d, err, p.answers[n])
		}
		n++
	}
}

func BenchmarkAuthorizeACS3In100FullKeysWazero(b *testing.B) {
	benchmarkAuthorize(b, newEngine(b), hundred())
}
func BenchmarkAuthorizeACS3In100FullKeysNative(b *testing.B) {
	benchmarkAuthorize(b, NewNative(), hundred())
}

// benchmarkLoadImage is about one instance: an engine starts its instances at
// the same time, and with as many processors as instances they take no longer.
func benchmarkLoadImage(b *testing.B, e Evaluator, p *prepared) {
	for b.Loop() {
		if _, err := e.Load(b.Context(), p.image); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(p.image))/(1<<20), "image-MiB")
}

func BenchmarkLoadImageOf100FullKeysWazero(b *testing.B) {
	benchmarkLoadImage(b, newEngine(b, WithInstances(1)), hundred())
}
func BenchmarkLoadImageOf100FullKeysNative(b *testing.B) {
	benchmarkLoadImage(b, NewNative(), hundred())
}
func BenchmarkLoadImageOfMillionKeysWazero(b *testing.B) {
	benchmarkLoadImage(b, newEngine(b, WithInstances(1)), million())
}
func BenchmarkLoadImageOfMillionKeysNative(b *testing.B) {
	benchmarkLoadImage(b, NewNative(), million())
}

func BenchmarkStartWithWarmCache(b *testing.B) {
	newEngine(b)
	p := small()
	for b.Loop() {
		e, err := New(b.Context(), WithCompilationCache(compilationCache()))
		require.NoError(b, err)
		_, err = e.Load(b.Context(), p.document)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, e.Close(b.Context()))
		b.StartTimer()
	}
}

func BenchmarkStartWithoutCache(b *testing.B) {
	p := small()
	for b.Loop() {
		e, err := New(b.Context())
		require.NoError(b, err)
		_, err = e.Load(b.Context(), p.document)
		require.NoError(b, err)
		b.StopTimer()
		require.NoError(b, e.Close(b.Context()))
		b.StartTimer()
	}
}
