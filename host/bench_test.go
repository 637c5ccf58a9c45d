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
	million = sync.OnceValue(func() *prepared { return prepare(workload.Million(), 1<<20) })
	small   = sync.OnceValue(func() *prepared { return prepare(workload.Small(), 40) })
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

func BenchmarkThroughput100FullKeysWazero(b *testing.B) {
	e, p := newEngine(b), hundred()
	ctx := b.Context()
	_, err := e.Load(ctx, p.image)
	require.NoError(b, err)
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
