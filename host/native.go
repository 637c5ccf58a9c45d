package host

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

// Native is the evaluator without a sandbox: the package that the plugin is
// built from, compiled into this program. It starts at once and answers in a
// fraction of Engine's time, and shares the program's memory.
type Native struct {
	evaluator atomic.Pointer[policy.Evaluator]
	closed    atomic.Bool
	change    sync.Mutex // no Load may put its rules in force after Close
}

var _ Evaluator = (*Native)(nil)

// NewNative returns an evaluator with nothing loaded.
func NewNative() *Native { return &Native{} }

// Load implements Evaluator. It copies an image, so the caller may reuse policySet.
func (n *Native) Load(_ context.Context, policySet []byte) (Revision, error) {
	if n.closed.Load() {
		return "", ErrClosed
	}
	if policy.IsImage(policySet) {
		policySet = append([]byte(nil), policySet...)
	}
	e, err := policy.Load(policySet)
	if err != nil {
		return "", err
	}
	revision := Revision(e.Revision())
	n.change.Lock()
	defer n.change.Unlock()
	if n.closed.Load() {
		return "", ErrClosed
	}
	n.evaluator.Store(e)
	return revision, nil
}

// Validate implements Evaluator.
func (n *Native) Validate(_ context.Context, document []byte) (abi.Report, error) {
	if n.closed.Load() {
		return abi.Report{}, ErrClosed
	}
	return policy.Validate(document), nil
}

// Evaluate implements Evaluator. It allocates nothing.
func (n *Native) Evaluate(_ context.Context, req abi.Request) (d abi.Decision, err error) {
	word := n.evaluator.Load().Evaluate(&req)
	if status := word.Unpack(req.SourceIP, &d); status != abi.StatusOK {
		return d, n.failed(status)
	}
	return d, nil
}

// failed is the error for a status. A closed evaluator has nothing loaded.
func (n *Native) failed(status abi.Status) error {
	if n.closed.Load() {
		return ErrClosed
	}
	return status
}

// Revision returns the revision in force, "" if nothing is loaded.
func (n *Native) Revision() Revision {
	if e := n.evaluator.Load(); e != nil {
		return Revision(e.Revision())
	}
	return ""
}

// EvaluateBatch implements Evaluator.
func (n *Native) EvaluateBatch(_ context.Context, reqs []abi.Request, out []abi.Decision) error {
	e := n.evaluator.Load()
	switch {
	case len(out) != len(reqs):
		clear(out)
		return errBatchLength
	case e == nil:
		clear(out)
		return n.failed(abi.StatusNotLoaded)
	}
	var failed batchErrors
	for i := range reqs {
		failed.add(i, e.Evaluate(&reqs[i]).Unpack(reqs[i].SourceIP, &out[i]))
	}
	return failed.err()
}

// Explain implements Evaluator.
func (n *Native) Explain(_ context.Context, req abi.Request) (abi.Trace, error) {
	e := n.evaluator.Load()
	if e == nil {
		return abi.Trace{}, n.failed(abi.StatusNotLoaded)
	}
	if err := explainable(&req); err != nil {
		return abi.Trace{}, err
	}
	return e.Explain(req)
}

// Authorize implements Evaluator.
func (n *Native) Authorize(_ context.Context, req abi.HTTPRequest) (abi.Decision, error) {
	e := n.evaluator.Load()
	if e != nil && req.Size() > abi.MaxHTTPRequestSize {
		return abi.Decision{}, abi.StatusTooLarge
	}
	word, _ := e.Authorize(&req)
	d, status := word.Decision(req.SourceIP)
	if status != abi.StatusOK {
		return d, n.failed(status)
	}
	return d, nil
}

// Close implements Evaluator.
func (n *Native) Close(context.Context) error {
	n.change.Lock()
	defer n.change.Unlock()
	n.closed.Store(true)
	n.evaluator.Store(nil)
	return nil
}
