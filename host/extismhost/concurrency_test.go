package extismhost_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/extismhost"
)

// synctest.Wait tells when every other goroutine waits for good, so that none
// needs to sleep.

func TestALoadWaitsForTheCallsThatUseTheOldRules(t *testing.T) {
	_, err := wasm() // built outside of the bubble
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := newEvaluator(t, wasm, extismhost.WithInstances(2))
		_, err := e.Load(ctx, []byte(alternating[0]))
		require.NoError(t, err)
		end, answers := underWay(e)

		var returned atomic.Bool
		go func() {
			_, err := e.Load(ctx, []byte(alternating[1]))
			returned.Store(err == nil)
		}()
		synctest.Wait()
		require.False(t, returned.Load())
		d, err := e.Evaluate(ctx, request(key, "203.0.113.1"))
		require.NoError(t, err)
		require.Equal(t, matched("203.0.113.1/32"), d, "a new call has the new rules by now")

		close(end)
		synctest.Wait()
		require.Equal(t, matched("203.0.113.0/24"), <-answers, "the call under way has its instance and the old rules")
		require.True(t, returned.Load())
	})
}

func TestCloseWaitsForTheCallsUnderWay(t *testing.T) {
	_, err := wasm()
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		e := newEvaluator(t, wasm, extismhost.WithInstances(2))
		_, err := e.Load(ctx, []byte(alternating[0]))
		require.NoError(t, err)
		end, answers := underWay(e)

		var closed atomic.Bool
		go func() { closed.Store(e.Close(ctx) == nil) }()
		synctest.Wait()
		require.False(t, closed.Load())
		_, err = e.Evaluate(ctx, request(key, "203.0.113.1"))
		require.ErrorIs(t, err, host.ErrClosed, "no new call is taken")

		close(end)
		synctest.Wait()
		require.Equal(t, matched("203.0.113.0/24"), <-answers)
		require.True(t, closed.Load())
	})
}

// underWay starts a call that ends when end is closed, and then gives its answer,
// none if it is an error.
func underWay(e *extismhost.Evaluator) (end chan<- struct{}, answers <-chan abi.Decision) {
	until, answered := make(chan struct{}), make(chan abi.Decision, 1)
	go func() {
		d, _ := e.EvaluateAfter(context.Background(), until, request(key, "203.0.113.1"))
		answered <- d
	}()
	synctest.Wait()
	return until, answered
}
