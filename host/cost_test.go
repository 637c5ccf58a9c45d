//go:build !race

// The race detector allocates, and has nothing to find in one goroutine.

package host

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func TestJudgingAllocatesNothing(t *testing.T) {
	forEach(t, func(t *testing.T, e Evaluator) {
		ctx, p := t.Context(), hundred()
		_, err := e.Load(ctx, p.image)
		require.NoError(t, err)
		n := 0
		next := func() abi.Request {
			n = (n + 1) % len(p.requests)
			return p.requests[n]
		}
		out := make([]abi.Decision, 1000)
		httpRequest := acs3Request(next())
		for name, call := range map[string]func() error{
			"Evaluate":              func() error { _, err := e.Evaluate(ctx, next()); return err },
			"EvaluateBatch of 1000": func() error { return e.EvaluateBatch(ctx, p.requests[:1000], out) },
			"Authorize":             func() error { _, err := e.Authorize(ctx, httpRequest); return err },
		} {
			t.Run(name, func(t *testing.T) {
				var failed error
				allocations := testing.AllocsPerRun(1000, func() {
					if err := call(); err != nil {
						failed = err
					}
				})
				require.NoError(t, failed)
				require.Zero(t, allocations)
			})
		}
	})
}

// A guest's memory never shrinks, so that what calls leave behind in it has to
// be collected. (Loads start instances of their own and leave nothing.)
func TestTheMemoryOfAnInstanceReachesAPlateau(t *testing.T) {
	const rounds, evaluations, settling, slack = 100, 20_000, 10, 4 << 20
	ctx, p := t.Context(), hundred()
	e := newEngine(t, WithInstances(1))
	_, err := e.Load(ctx, p.image)
	require.NoError(t, err)
	instance := e.serving.Current().Instances[0]
	out := make([]abi.Decision, len(p.requests))
	var settled uint32
	for round := range rounds {
		for n := range evaluations {
			n %= len(p.requests)
			if d, err := e.Evaluate(ctx, p.requests[n]); err != nil || d != p.answers[n] {
				require.NoError(t, err)
				require.Equal(t, p.answers[n], d)
			}
		}
		for size := 1; size <= len(out); size *= 2 {
			require.NoError(t, e.EvaluateBatch(ctx, p.requests[:size], out[:size]))
		}
		for n := range 100 {
			trace, err := e.Explain(ctx, p.requests[n])
			require.NoError(t, err)
			require.Equal(t, p.answers[n], trace.Decision)
			r := p.requests[n]
			d, err := e.Authorize(ctx, acs3Request(r))
			require.NoError(t, err)
			require.Equal(t, p.answers[n], d)
			r.AccessKeyID = "" // errors may leave nothing either
			_, err = e.Explain(ctx, r)
			require.ErrorIs(t, err, abi.StatusInvalidAccessKeyID)
			_, err = e.Evaluate(ctx, r)
			require.ErrorIs(t, err, abi.StatusInvalidAccessKeyID)
		}
		if round == settling {
			settled = instance.memory.Size()
		}
	}
	require.Same(t, instance, e.serving.Current().Instances[0], "it has not been replaced")
	require.LessOrEqual(t, instance.memory.Size(), settled+slack, "the memory still grew after a tenth of the calls")
}

// Documents leave more behind than anything else. Go's garbage collector comes to
// a stand when it believes that it takes half of the time, for nothing in a
// guest runs between two calls that could end its cycle. Without a clock it
// believes so after some twenty documents.
func TestTheMemoryOfAGuestThatReadsDocumentsReachesAPlateau(t *testing.T) {
	const documents, settling, slack = 40, 5, 8 << 20 // a document leaves 6 MiB
	guest, p := newEngine(t, WithInstances(1)).workshop, hundred()
	var settled uint32
	for n := range documents {
		status, _, err := guest.document(t.Context(), abi.ExportValidate, p.document)
		require.NoError(t, err)
		require.Equal(t, abi.StatusOK, status)
		if n == settling {
			settled = guest.memory.Size()
		}
		if n > settling {
			require.LessOrEqual(t, guest.memory.Size(), settled+slack, "after %d documents", n)
		}
	}
}
