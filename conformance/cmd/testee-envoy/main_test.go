package main

import (
	"os"
	"path"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance"
	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

func TestEnvoyConforms(t *testing.T) {
	envoytest.Require(t)
	b, err := os.ReadFile("not-expressible.json")
	require.NoError(t, err)
	exceptions, err := conformance.ReadExceptions(b)
	require.NoError(t, err)
	dir := t.TempDir()
	wasm := filepath.Join(dir, "keymoat-envoy.wasm")
	require.NoError(t, envoytest.BuildFilter(t.Context(), wasm))
	p, err := start(t.Context(), dir, wasm)
	require.NoError(t, err)
	defer p.Close(t.Context())
	t.Run("every case that can be put", func(t *testing.T) { conformance.Run(t, p, exceptions...) })

	// A case that is declared must fail when it is put, or be answered by the
	// parser of its JSON before it comes to a request, but for one that shows
	// that the next request is answered all the same.
	t.Run("nothing is declared that could be put", func(t *testing.T) {
		cases, err := conformance.Cases()
		require.NoError(t, err)
		for _, c := range cases {
			if !slices.ContainsFunc(exceptions, func(x conformance.Exception) bool { ok, _ := path.Match(x.Cases, c.ID); return ok }) {
				continue
			}
			before := p.asked
			results, err := conformance.Check(t.Context(), []conformance.Case{c}, conformance.InProcess(p), nil)
			require.NoError(t, err)
			if results[0].Outcome != conformance.Failed {
				require.LessOrEqual(t, p.asked, before+1, c.ID)
			}
		}
	})
}
