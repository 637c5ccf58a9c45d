package main

import (
	"context"
	_ "embed"
	"io"
	"path"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance"
	"github.com/keymoat/keymoat/host"
)

//go:embed not-expressible.json
var notExpressible []byte

func start(t *testing.T) (*guarded, []conformance.Exception) {
	exceptions, err := conformance.ReadExceptions(notExpressible)
	require.NoError(t, err)
	g := newGuarded(host.NewNative())
	t.Cleanup(func() { require.NoError(t, g.Close(context.Background())) })
	return g, exceptions
}

func TestTheGuardConforms(t *testing.T) {
	g, exceptions := start(t)
	conformance.Run(t, g, exceptions...)
}

// A case that is declared to be not expressible must either fail when it is
// put, or be answered by the parser of its JSON before it comes to a request.
func TestNothingIsDeclaredThatCouldBePut(t *testing.T) {
	g, exceptions := start(t)
	cases, err := conformance.Cases()
	require.NoError(t, err)
	requests := map[string]int{
		"source-wrong-shape": 1, // its last one shows that a request is answered all the same
	}
	for _, c := range cases {
		for _, x := range exceptions {
			if declared, _ := path.Match(x.Cases, c.ID); !declared {
				continue
			}
			before := g.asked
			results, err := conformance.Check(t.Context(), []conformance.Case{c}, conformance.InProcess(g), nil)
			require.NoError(t, err)
			if results[0].Outcome != conformance.Failed {
				require.Equal(t, requests[c.ID], g.asked-before, c.ID)
			}
		}
	}
}

func TestAnUnknownEngineIsRefused(t *testing.T) {
	require.ErrorContains(t, serve(t.Context(), "quantum", nil, io.Discard), "quantum")
}
