package instances_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/internal/instances"
)

// guests counts those that run; the start of one whose image is "bad" fails, and
// of one that is "odd" every second.
type guests struct{ started, running atomic.Int32 }

type guest struct{ image string }

var errStart = errors.New("it does not start")

func (g *guests) set(size int) *instances.Set[guest] {
	start := func(_ context.Context, image []byte) (*guest, error) {
		if n := g.started.Add(1); string(image) == "bad" || string(image) == "odd" && n%2 == 1 {
			return nil, errStart
		}
		g.running.Add(1)
		return &guest{string(image)}, nil
	}
	return instances.New(size, start, func(context.Context, *guest) { g.running.Add(-1) })
}

func load(t *testing.T, s *instances.Set[guest], image string) {
	t.Helper()
	all, err := s.Fill(t.Context(), []byte(image))
	require.NoError(t, err)
	s.Replace(t.Context(), all, []byte(image), image)
}

func TestASetWithoutRulesHasNoInstances(t *testing.T) {
	var g guests
	s := g.set(2)
	_, _, err := s.Take(t.Context())
	require.ErrorIs(t, err, abi.StatusNotLoaded)
	require.Empty(t, s.Revision())
	require.Zero(t, g.started.Load())
}

func TestALoadThatFailsLeavesNothingRunning(t *testing.T) {
	var g guests
	s := g.set(4)
	for _, image := range []string{"bad", "odd"} {
		all, err := s.Fill(t.Context(), []byte(image))
		require.ErrorIs(t, err, errStart)
		require.Nil(t, all)
		require.Zero(t, g.running.Load())
	}
}

func TestALoadReplacesEveryInstance(t *testing.T) {
	var g guests
	s := g.set(3)
	load(t, s, "one")
	load(t, s, "two")
	require.EqualValues(t, 3, g.running.Load())
	require.Equal(t, "two", s.Revision())
	p, seat, err := s.Take(t.Context())
	require.NoError(t, err)
	require.Equal(t, &guest{"two"}, p.Instances[seat])
	p.Give(seat)
	require.True(t, s.Close(t.Context()))
	require.False(t, s.Close(t.Context()), "a second time there is nothing to close")
	require.Zero(t, g.running.Load())
	_, _, err = s.Take(t.Context())
	require.ErrorIs(t, err, instances.ErrClosed)
	require.Empty(t, s.Revision())
}

func TestADroppedInstanceIsStartedAgainByTheNextCall(t *testing.T) {
	var g guests
	s := g.set(1)
	load(t, s, "one")
	p, seat, err := s.Take(t.Context())
	require.NoError(t, err)
	s.Drop(t.Context(), p, seat)
	require.Zero(t, g.running.Load())
	p.Give(seat)
	p, seat, err = s.Take(t.Context())
	require.NoError(t, err)
	require.Equal(t, &guest{"one"}, p.Instances[seat])
	first := p.Instances[seat]
	require.NoError(t, s.Renew(t.Context(), p, seat))
	require.NotSame(t, first, p.Instances[seat])
	require.EqualValues(t, 1, g.running.Load())
}

func TestAnInstanceThatCannotBeStartedAgainIsTriedAtEachCall(t *testing.T) {
	fails := false
	s := instances.New(1, func(context.Context, []byte) (*guest, error) {
		if fails {
			return nil, errStart
		}
		return &guest{}, nil
	}, func(context.Context, *guest) {})
	load(t, s, "one")
	p, seat, err := s.Take(t.Context())
	require.NoError(t, err)
	fails = true
	require.ErrorIs(t, s.Renew(t.Context(), p, seat), errStart)
	p.Give(seat)
	for range 3 {
		_, _, err = s.Take(t.Context())
		require.ErrorIs(t, err, errStart)
	}
	fails = false
	p, seat, err = s.Take(t.Context())
	require.NoError(t, err, "its seat was given back each time")
	require.NotNil(t, p.Instances[seat])
}

func TestACallThatWaitsGetsAnInstanceOfTheNewRules(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g guests
		s := g.set(1)
		load(t, s, "one")
		old, seat, err := s.Take(t.Context())
		require.NoError(t, err)
		got := make(chan string, 1)
		go func() {
			p, seat, err := s.Take(context.Background())
			if err == nil {
				got <- p.Instances[seat].image
				p.Give(seat)
			}
		}()
		synctest.Wait()
		go load(t, s, "two")
		synctest.Wait()
		require.Equal(t, "two", <-got, "while the old instance is still in use")
		require.EqualValues(t, 2, g.running.Load())
		old.Give(seat)
		synctest.Wait()
		require.EqualValues(t, 1, g.running.Load())
	})
}

func TestOfLastWordsTheFirstLineIsKept(t *testing.T) {
	for said, kept := range map[string]string{
		"":                             "",
		"fatal error: out of memory\n": "fatal error: out of memory",
		"one\ntwo\n":                   "one",
		strings.Repeat("a", 500):       strings.Repeat("a", 200),
	} {
		for piece := 1; piece <= len(said); piece++ {
			var w instances.LastWords
			for rest := said; rest != ""; {
				n := min(piece, len(rest))
				written, err := w.Write([]byte(rest[:n]))
				require.NoError(t, err)
				require.Equal(t, n, written)
				rest = rest[n:]
			}
			require.Equal(t, kept, w.String())
			require.Equal(t, strings.Contains(said, "out of memory"), w.OutOfMemory())
		}
	}
}
