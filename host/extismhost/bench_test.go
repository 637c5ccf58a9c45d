package extismhost_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
	"github.com/keymoat/keymoat/host/extismhost"
)

// BenchmarkEvaluate100FullKeys is one evaluation, JSON in and out; with a
// time-out, by a guest that can be interrupted.
func BenchmarkEvaluate100FullKeys(b *testing.B) {
	for name, options := range map[string][]extismhost.Option{
		"NoTimeout": nil, "Timeout1s": {extismhost.WithTimeout(time.Second)},
	} {
		b.Run(name, func(b *testing.B) {
			e, requests := loadedHundred(b, options...)
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if _, err := e.Evaluate(b.Context(), requests[n%len(requests)]); err != nil {
					b.Fatal(err)
				}
				n++
			}
		})
	}
}

// BenchmarkEvaluateBatch1000 is per request of a batch of 1,000.
func BenchmarkEvaluateBatch1000(b *testing.B) {
	e, requests := loadedHundred(b)
	requests = requests[:1000]
	out := make([]abi.Decision, len(requests))
	b.ReportAllocs()
	for b.Loop() {
		if err := e.EvaluateBatch(b.Context(), requests, out); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1000, "ns/request")
}

func loadedHundred(b *testing.B, options ...extismhost.Option) (*extismhost.Evaluator, []abi.Request) {
	e := newEvaluator(b, wasm, append(options, extismhost.WithInstances(1))...)
	var document bytes.Buffer
	w := workload.Hundred()
	require.NoError(b, w.WritePolicySet(&document))
	_, err := e.Load(b.Context(), document.Bytes())
	require.NoError(b, err)
	requests, _ := w.Requests(4000)
	return e, requests
}
