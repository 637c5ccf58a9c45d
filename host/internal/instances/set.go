// Package instances keeps the instances of a guest that serve requests: a fixed
// number, all with the same rules, each for one call at a time. Rules are never
// patched: a load makes new instances, and the old ones end with their last
// call. Packages host and host/extismhost have it in common.
package instances

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/keymoat/keymoat/abi"
)

// ErrClosed is what a set answers with after Close.
var ErrClosed = errors.New("keymoat: the evaluator is closed")

var errNotLoaded error = abi.StatusNotLoaded // made once, since a call may not allocate

// Pool is a fixed number of instances that all hold the same rules.
type Pool[T any] struct {
	Instances []*T   // by their seat; nil if a lost one has not been replaced yet
	Image     []byte // nil if nothing is loaded; replaced instances load it
	Revision  string
	seats     seats
}

// Give gives an instance back that Take has given.
func (p *Pool[T]) Give(seat int) { p.seats.give(seat) }

// Set is the instances in force. Take and Give may be called by any number of
// callers at once; of the others one at a time.
type Set[T any] struct {
	start   func(ctx context.Context, image []byte) (*T, error)
	end     func(context.Context, *T)
	size    int
	current atomic.Pointer[Pool[T]] // nil after Close
}

// New makes a set of so many instances, with no rules and so none started.
// Start starts one that holds an image, end ends it.
func New[T any](size int, start func(ctx context.Context, image []byte) (*T, error), end func(context.Context, *T)) *Set[T] {
	s := &Set[T]{start: start, end: end, size: size}
	s.current.Store(&Pool[T]{Instances: make([]*T, size), seats: newSeats(size)})
	return s
}

// Current is the pool that new calls take from, nil after Close.
func (s *Set[T]) Current() *Pool[T] { return s.current.Load() }

// Revision is that of the rules in force, "" if there are none.
func (s *Set[T]) Revision() string {
	if p := s.current.Load(); p != nil {
		return p.Revision
	}
	return ""
}

// Fill starts all instances for an image, at the same time. It gives none if
// one does not start.
func (s *Set[T]) Fill(ctx context.Context, image []byte) ([]*T, error) {
	all, failed := make([]*T, s.size), make([]error, s.size)
	var starting sync.WaitGroup
	for n := range all {
		starting.Go(func() { all[n], failed[n] = s.start(ctx, image) })
	}
	starting.Wait()
	for _, err := range failed {
		if err == nil {
			continue
		}
		for n, i := range all {
			if failed[n] == nil {
				s.end(ctx, i)
			}
		}
		return nil, err
	}
	return all, nil
}

// Replace puts instances in force that Fill has started. From its beginning on
// every new call gets one of them; when it returns, the last call on an old one
// has ended.
func (s *Set[T]) Replace(ctx context.Context, instances []*T, image []byte, revision string) {
	old := s.current.Swap(&Pool[T]{Instances: instances, Image: image, Revision: revision, seats: newSeats(s.size)})
	s.retire(context.WithoutCancel(ctx), old)
}

// retire ends the instances of a pool when no call uses it any more.
func (s *Set[T]) retire(ctx context.Context, p *Pool[T]) {
	p.seats.retire(func(seat int) { s.Drop(ctx, p, seat) })
}

// Close refuses new calls, waits for those under way and ends the instances. It
// reports whether there was something to close.
func (s *Set[T]) Close(ctx context.Context) bool {
	p := s.current.Swap(nil)
	if p == nil {
		return false
	}
	s.retire(context.WithoutCancel(ctx), p)
	return true
}

// Take gives an instance for exclusive use: the one of that seat in that pool, to
// which it must be given back. It waits until one is free or the context ends.
func (s *Set[T]) Take(ctx context.Context) (p *Pool[T], seat int, err error) {
	for {
		if p = s.current.Load(); p == nil {
			return nil, none, ErrClosed
		}
		if p.Image == nil {
			return nil, none, errNotLoaded
		}
		if seat, err = p.seats.take(ctx); err != nil {
			return nil, none, err
		}
		if seat == none {
			continue // the pool was retired meanwhile
		}
		if p.Instances[seat] == nil { // lost earlier, and not replaced yet
			if err = s.renew(ctx, p, seat); err != nil {
				p.Give(seat)
				return nil, none, err
			}
		}
		return p, seat, nil
	}
}

// Drop ends an instance that was taken. The next call starts another.
func (s *Set[T]) Drop(ctx context.Context, p *Pool[T], seat int) {
	if i := p.Instances[seat]; i != nil {
		s.end(ctx, i)
		p.Instances[seat] = nil
	}
}

// Renew ends an instance that was taken, and starts another for the calls that
// follow, whatever becomes of the context.
func (s *Set[T]) Renew(ctx context.Context, p *Pool[T], seat int) error {
	ctx = context.WithoutCancel(ctx)
	s.Drop(ctx, p, seat)
	return s.renew(ctx, p, seat)
}

func (s *Set[T]) renew(ctx context.Context, p *Pool[T], seat int) error {
	i, err := s.start(ctx, p.Image)
	if err == nil {
		p.Instances[seat] = i
	}
	return err
}
