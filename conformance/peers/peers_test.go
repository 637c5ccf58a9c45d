package peers

import (
	"context"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

func load(tb testing.TB, c Contender, w *workload.Workload) Loaded {
	tb.Helper()
	loaded, err := c.Load(w)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, loaded.Close()) })
	return loaded
}

func TestEveryContenderIsRightOnEveryWorkload(t *testing.T) {
	contenders := All(t.TempDir())
	for _, w := range []*workload.Workload{workload.Hundred(), workload.Sharing(1000, 100), workload.Small()} {
		requests, decisions := w.Requests(50 * workload.Cycle)
		for _, c := range contenders {
			t.Run(w.Name+"/"+c.Name, func(t *testing.T) {
				loaded, _, err := c.Ready(w, requests, decisions)
				require.NoError(t, err)
				require.NoError(t, loaded.Close())
			})
		}
	}
}

func TestEveryContenderAllowsAKeyThatNoPolicyIsAbout(t *testing.T) {
	w := workload.Sharing(10, 10)
	requests := make([]abi.Request, 1000) // as many as a batch
	for i := range requests {
		requests[i] = abi.Request{AccessKeyID: "LTAI5tExample9999999999", SourceIP: netip.MustParseAddr("203.0.113.1")}
	}
	for _, c := range All(t.TempDir()) {
		t.Run(c.Name, func(t *testing.T) {
			judge, err := load(t, c, w).Prepare(requests)
			require.NoError(t, err)
			allowed, err := judge(0)
			require.NoError(t, err)
			require.True(t, allowed)
		})
	}
}

// The peers only say yes or no; keymoat also says why.
func TestKeymoatGivesTheWholeDecision(t *testing.T) {
	for _, w := range []*workload.Workload{workload.Hundred(), workload.Sharing(1000, 100), workload.Small()} {
		requests, decisions := w.Requests(100 * workload.Cycle)
		for _, c := range Keymoat(t.TempDir()) {
			evaluator := load(t, c, w).(*keymoat).evaluator
			for i, r := range requests {
				got, err := evaluator.Evaluate(context.Background(), r)
				require.NoError(t, err)
				require.Equal(t, decisions[i], got, "%s, %s, request %d: %+v", w.Name, c.Name, i, r)
			}
		}
	}
}

// fake answers with its own function.
type fake struct {
	Judge
	closed *bool
}

func (f fake) Prepare([]abi.Request) (Judge, error) { return f.Judge, nil }
func (f fake) Close() error                         { *f.closed = true; return nil }

func TestAWrongPeerIsNoPeer(t *testing.T) {
	requests, decisions := workload.Hundred().Requests(100)
	ready := func(judge Judge) (closed bool, err error) {
		c := Contender{Name: "fake", Load: func(*workload.Workload) (Loaded, error) { return fake{judge, &closed}, nil }}
		_, _, err = c.Ready(workload.Hundred(), requests, decisions)
		return closed, err
	}
	closed, err := ready(func(at int) (bool, error) { return decisions[at].Allowed(), nil })
	require.NoError(t, err)
	require.False(t, closed)

	closed, err = ready(func(at int) (bool, error) { return decisions[at].Allowed() != (at == 50), nil })
	require.ErrorContains(t, err, "fake: request 50")
	require.True(t, closed)

	closed, err = ready(func(int) (bool, error) { return true, context.Canceled })
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, closed)
}

func TestAFigureIsTheMedianOfItsRounds(t *testing.T) {
	require.Equal(t, Figure{NsPerOp: 100, Spread: 0.25, AllocsPerOp: 2}, summarize([]float64{130, 80, 100}, []int64{2, 9, 0}))
}

func TestRoundsAreInterleavedAndAFailureIsReported(t *testing.T) {
	var order string
	step := func(name string) func(*testing.B) {
		return func(b *testing.B) {
			for b.Loop() {
				if order == "" || order[len(order)-1:] != name {
					order += name
				}
			}
		}
	}
	_, err := Interleave(2, []func(*testing.B){step("A"), step("B")})
	require.NoError(t, err)
	require.Equal(t, "ABAB", order)
	_, err = Interleave(1, []func(*testing.B){func(b *testing.B) { b.Fatal() }})
	require.Error(t, err)
}
