package host

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/keymoat/keymoat/abi"
)

// pool is a bounded set of instances that all hold the same rules. A Load
// makes a new pool and retires the old one, so rules are never patched.
//
// Taking an instance is one compare-and-swap on a slot that, as a rule, this
// processor used last; no lock is shared by all callers.
type pool struct {
	slots    []slot
	image    []byte // nil if nothing is loaded; replaced instances load it
	revision Revision

	// waiting counts callers that found every slot busy. They sleep until a
	// slot is given back (free) or the pool is retired.
	waiting atomic.Int32
	free    chan struct{}
	retired chan struct{}
}

// slot holds one instance. Who sets busy owns the rest. The padding keeps two
// slots out of one cache line.
type slot struct {
	busy     atomic.Bool
	instance *instance // nil if a lost instance could not be replaced yet
	_        [112]byte
}

func newPool(instances []*instance, image []byte, revision Revision) *pool {
	p := &pool{
		slots:    make([]slot, len(instances)),
		image:    image,
		revision: revision,
		free:     make(chan struct{}, len(instances)),
		retired:  make(chan struct{}),
	}
	for i := range instances {
		p.slots[i].instance = instances[i]
	}
	return p
}

// hint remembers which slot a processor used last: sync.Pool hands what was put
// back on a processor out on the same one again.
type hint struct{ slot uint32 }

var (
	hints    = sync.Pool{New: func() any { return &hint{slot: nextHint.Add(1)} }}
	nextHint atomic.Uint32
)

// take returns a slot for exclusive use, nil if the pool was retired.
func (p *pool) take(ctx context.Context) (*slot, error) {
	h := hints.Get().(*hint)
	s := p.tryTake(h)
	hints.Put(h)
	if s != nil {
		return s, nil
	}
	return p.wait(ctx)
}

func (p *pool) tryTake(h *hint) *slot {
	n := uint32(len(p.slots))
	first := h.slot % n
	for i := first; i < first+n; i++ {
		s := &p.slots[i%n]
		if !s.busy.Load() && s.busy.CompareAndSwap(false, true) {
			h.slot = i % n
			return s
		}
	}
	return nil
}

func (p *pool) wait(ctx context.Context) (*slot, error) {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	h := &hint{}
	for {
		// After waiting has been raised, whoever gives a slot back wakes someone.
		if s := p.tryTake(h); s != nil {
			return s, nil
		}
		select {
		case <-p.free:
		case <-p.retired:
			return nil, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (p *pool) give(s *slot) {
	s.busy.Store(false)
	if p.waiting.Load() > 0 {
		select {
		case p.free <- struct{}{}:
		default: // as many wake-ups are on their way as there are slots
		}
	}
}

// retire waits until no call uses the pool any more, and closes its instances.
// Callers that wait for a slot are told to look for the pool that follows.
func (p *pool) retire(ctx context.Context) {
	close(p.retired)
	for i := range p.slots {
		s := &p.slots[i]
		for !s.busy.CompareAndSwap(false, true) {
			p.waitFor(s)
		}
		if s.instance != nil {
			s.instance.close(ctx)
			s.instance = nil
		}
	}
}

// waitFor sleeps until some slot is given back.
func (p *pool) waitFor(s *slot) {
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	if s.busy.Load() {
		<-p.free
	}
}

func (p *pool) loaded() bool { return p.image != nil }

var errNotLoaded error = abi.StatusNotLoaded
