package policy

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func FuzzTheImageAnswersAsTheNaiveEvaluator(f *testing.F) {
	for seed := range uint64(64) {
		f.Add(seed, seed*7)
	}
	f.Fuzz(func(t *testing.T, seed, seed2 uint64) {
		g := generator{rand.New(rand.NewPCG(seed, seed2))}
		document := []byte(g.set())
		e, err := Load(document)
		require.NoError(t, err, "%s", document)
		n := newNaive(document)
		require.NotNil(t, n)
		for range 100 {
			r := g.request()
			want, wantStatus := n.evaluate(r)
			got, status := e.Evaluate(&r).Decision(r.SourceIP)
			require.Equal(t, wantStatus, status, "%+v in %s", r, document)
			require.Equal(t, want, got, "%+v in %s", r, document)
			requireTraceAgrees(t, e, r, got, status)
		}
	})
}

func requireTraceAgrees(t *testing.T, e *Evaluator, r abi.Request, want abi.Decision, status abi.Status) {
	t.Helper()
	trace, err := e.Explain(r)
	if status != abi.StatusOK {
		require.ErrorIs(t, err, status)
		return
	}
	require.NoError(t, err)
	require.Equal(t, want, trace.Decision)
	// The trace is told by other code than decides; the steps it took must be
	// those that the decision's reason stands for.
	last := map[abi.Reason]abi.StepName{
		abi.ReasonTemporaryCredential: abi.StepCredential,
		abi.ReasonExemptService:       abi.StepService,
		abi.ReasonAccountMismatch:     abi.StepOwner,
		abi.ReasonUnknownAccount:      abi.StepOwner,
		abi.ReasonNoActivePolicy:      abi.StepPolicy,
		abi.ReasonNoVPCPolicy:         abi.StepNetwork,
		abi.ReasonVPCNotListed:        abi.StepNetwork,
		abi.ReasonNoPublicPolicy:      abi.StepNetwork,
		abi.ReasonSourceIPNotListed:   abi.StepSource,
		abi.ReasonMatched:             abi.StepSource,
	}[want.Reason]
	require.Equal(t, last, trace.Steps[len(trace.Steps)-1].Step)
	for i, step := range trace.Steps {
		require.Equal(t, abi.Steps()[i], step.Step)
	}
	if want.Reason == abi.ReasonMatched {
		best := abi.StatementTrace{}
		for _, s := range trace.Steps[len(trace.Steps)-1].Statements {
			if s.Statement == want.Statement {
				best = s
			}
		}
		require.Equal(t, abi.VerdictMatched, best.Verdict)
		require.Equal(t, want.Entry.String(), best.Entry)
	}
}
