package instances

import (
	"context"
	"sync"
	"sync/atomic"
)

// seats is who may use which instance of a pool: each seat is taken by one call
// at a time.
//
// Taking one is a compare-and-swap on the seat that, as a rule, this processor
// took last; no lock is shared by all callers.
type seats struct {
	taken []seat

	// waiting counts callers that found every seat taken. They sleep until one
	// is given back (free) or the pool is retired.
	waiting atomic.Int32
	free    chan struct{}
	retired chan struct{}
}

// seat is padded, so that no two are in one cache line.
type seat struct {
	atomic.Bool
	_ [124]byte
}

func newSeats(n int) seats {
	return seats{taken: make([]seat, n), free: make(chan struct{}, n), retired: make(chan struct{})}
}

// hint remembers which seat a processor took last: sync.Pool hands what was put
// back on a processor out on the same one again.
type hint struct{ seat uint32 }

var (
	hints    = sync.Pool{New: func() any { return &hint{seat: nextHint.Add(1)} }}
	nextHint atomic.Uint32
)

// none is no seat: the pool was retired, or all are taken.
const none = -1

// take takes a seat and waits for one if need be.
func (s *seats) take(ctx context.Context) (int, error) {
	h := hints.Get().(*hint)
	n := s.tryTake(h)
	hints.Put(h)
	if n != none {
		return n, nil
	}
	return s.wait(ctx)
}

func (s *seats) tryTake(h *hint) int {
	size := uint32(len(s.taken))
	first := h.seat % size
	for i := first; i < first+size; i++ {
		n := i % size
		if t := &s.taken[n]; !t.Load() && t.CompareAndSwap(false, true) {
			h.seat = n
			return int(n)
		}
	}
	return none
}

func (s *seats) wait(ctx context.Context) (int, error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	h := &hint{}
	for {
		// After waiting has been raised, whoever gives a seat back wakes someone.
		if n := s.tryTake(h); n != none {
			return n, nil
		}
		select {
		case <-s.free:
		case <-s.retired:
			return none, nil
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
}

func (s *seats) give(n int) {
	s.taken[n].Store(false)
	if s.waiting.Load() > 0 {
		select {
		case s.free <- struct{}{}:
		default: // as many wake-ups are on their way as there are seats
		}
	}
}

// retire takes every seat for good, as each becomes free. Callers that wait for
// one are told that there will be none.
func (s *seats) retire(left func(n int)) {
	close(s.retired)
	for n := range s.taken {
		for !s.taken[n].CompareAndSwap(false, true) {
			s.waitFor(n)
		}
		left(n)
	}
}

// waitFor sleeps until some seat is given back.
func (s *seats) waitFor(n int) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	if s.taken[n].Load() {
		<-s.free
	}
}
