package peers

import (
	"fmt"
	"slices"
	"testing"

	"github.com/keymoat/keymoat/conformance/workload"
)

// Figure is what one benchmark came to over all rounds.
type Figure struct {
	NsPerOp     float64 // the median
	Spread      float64 // half the distance from the fastest round to the slowest, as a share of the median
	AllocsPerOp int64   // the median
}

// Interleave runs the benchmarks one after another and all of them again in
// each round, so that a busy minute of the machine falls on all alike.
func Interleave(rounds int, benchmarks []func(*testing.B)) ([]Figure, error) {
	times, allocs := make([][]float64, len(benchmarks)), make([][]int64, len(benchmarks))
	for range rounds {
		for i, benchmark := range benchmarks {
			result := testing.Benchmark(benchmark)
			if result.N == 0 {
				return nil, fmt.Errorf("benchmark %d of %d failed", i+1, len(benchmarks))
			}
			times[i] = append(times[i], float64(result.T.Nanoseconds())/float64(result.N))
			allocs[i] = append(allocs[i], result.AllocsPerOp())
		}
	}
	figures := make([]Figure, len(benchmarks))
	for i := range figures {
		figures[i] = summarize(times[i], allocs[i])
	}
	return figures, nil
}

func summarize(times []float64, allocs []int64) Figure {
	slices.Sort(times)
	slices.Sort(allocs)
	middle, last := len(times)/2, len(times)-1
	return Figure{
		NsPerOp:     times[middle],
		Spread:      (times[last] - times[0]) / 2 / times[middle],
		AllocsPerOp: allocs[middle],
	}
}

// Judging measures one request, taken in turn from the first n.
func Judging(judge Judge, n int) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		at := 0
		for b.Loop() {
			if _, err := judge(at); err != nil {
				b.Fatal(err)
			}
			if at++; at == n {
				at = 0
			}
		}
	}
}

// Starting measures the way from nothing to a system ready to judge.
func Starting(c Contender, w *workload.Workload) func(*testing.B) {
	return func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			loaded, err := c.Load(w)
			if err != nil {
				b.Fatal(err)
			}
			b.StopTimer()
			if err := loaded.Close(); err != nil {
				b.Fatal(err)
			}
			b.StartTimer()
		}
	}
}
