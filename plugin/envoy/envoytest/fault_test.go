package envoytest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// The filter of this test fails when a header asks for it.
func TestAFaultRefuses(t *testing.T) {
	s := start(t, envoytest.Options{}, nil,
		envoytest.Listener{Name: "faulty", Wasm: filter(t, "faults"), Configuration: configuration(), ProxyProtocol: true},
		envoytest.Listener{Name: "report only", Wasm: filter(t, "faults"), Configuration: configuration(`"mode": "report_only"`), ProxyProtocol: true})
	allowed := signed(closed)
	requireAllowed(t, s.from(t, "faulty", office, allowed))

	t.Run("that can be recovered from, that request alone", func(t *testing.T) {
		faults := s.counts(t, "error.Internal")
		from := len(s.Log())
		for range 5 {
			for _, call := range []string{signed(closed, "X-Keymoat-Fault: panic"), signed(open, "X-Keymoat-Fault: panic"), request("/", "X-Keymoat-Fault: panic")} {
				for _, listener := range []string{"faulty", "report only"} {
					a := s.from(t, listener, office, call)
					require.False(t, a.passed)
					require.Equal(t, 403, a.status)
					require.JSONEq(t, `{"Code": "Internal", "Message": "The request could not be judged."}`, a.body)
				}
			}
			requireAllowed(t, s.from(t, "report only", stranger, allowed))
			requireAllowed(t, s.from(t, "faulty", office, allowed))
			requireRefused(t, s.from(t, "faulty", stranger, allowed))
		}
		faults(30)
		line, _, err := s.NextLine(t.Context(), from, `"Event":"Fault"`)
		require.NoError(t, err)
		require.Contains(t, line, "index out of range")
	})

	t.Run("that ends the VM, until there is another", func(t *testing.T) {
		reloads := func() int {
			stats, err := s.Stats(t.Context(), `vm_reload_success$`)
			require.NoError(t, err)
			sum := 0
			for _, n := range stats {
				sum += n
			}
			return sum
		}
		for range 2 {
			before := reloads()
			for _, call := range []string{signed(closed, "X-Keymoat-Fault: trap"), signed(open, "X-Keymoat-Fault: trap")} {
				a := s.from(t, "faulty", office, call)
				require.False(t, a.passed, a.body)
				require.NotEqual(t, 200, a.status)
			}
			require.NoError(t, s.Wait(t.Context(), "another VM", func() bool {
				a := s.from(t, "faulty", stranger, allowed)
				require.False(t, a.passed, a.body)
				require.GreaterOrEqual(t, a.status, 400)
				return s.from(t, "faulty", office, allowed).passed
			}))
			require.Greater(t, reloads(), before, "the fault shows in the stats")
			requireRefused(t, s.from(t, "faulty", stranger, allowed), "203.0.113.9")
		}
	})
}
