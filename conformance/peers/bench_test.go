package peers

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance/workload"
)

func BenchmarkJudgeHundredFullKeys(b *testing.B) {
	benchmarkJudging(b, workload.Hundred(), 4_000, All(b.TempDir()))
}

func BenchmarkJudgeMillionKeys(b *testing.B) {
	benchmarkJudging(b, workload.Million(), 200_000, All(b.TempDir()))
}

func BenchmarkStartWithOneAccountPolicy(b *testing.B) {
	for _, c := range All(b.TempDir()) {
		load(b, c, workload.Small()) // warms the compilation cache
		b.Run(c.Name, Starting(c, workload.Small()))
	}
}

func benchmarkJudging(b *testing.B, w *workload.Workload, n int, contenders []Contender) {
	requests, decisions := w.Requests(n)
	for _, c := range contenders {
		if !c.Holds(w) {
			continue
		}
		b.Run(c.Name, func(b *testing.B) {
			loaded, judge, err := c.Ready(w, requests, decisions)
			require.NoError(b, err)
			Judging(judge, n)(b)
			require.NoError(b, loaded.Close())
		})
	}
}
