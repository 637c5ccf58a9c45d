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

// A guest's memory never shrinks, so what a call leaves behind would be there
// for good. Loads come with instances of their own and are not part of this.
func TestTheMemoryOfAnInstanceReachesAPlateau(t *testing.T) {
	const rounds, evaluations, plateau = 100, 20_000, 49
	ctx, p := t.Context(), hundred()
	e := newEngine(t, WithInstances(1))
	_, err := e.Load(ctx, p.image)
	require.NoError(t, err)
	memory := e.pool.Load().slots[0].instance.memory
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
		if round == plateau {
			settled = memory.Size()
		}
	}
	// A collector's heap breathes, so a few steps are allowed; had each of the
	// million evaluations of the second half left the smallest object, it would
	// have grown by 8 MiB.
	require.Less(t, memory.Size()-settled, uint32(4<<20), "the memory still grew in the second half of the calls")
	require.Less(t, settled, uint32(16<<20))
}
