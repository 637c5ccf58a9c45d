package host

import (
	"context"
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
	n.evaluator.Store(e)
	return Revision(e.Revision()), nil
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
	if len(out) != len(reqs) {
		return errBatchLength
	}
	if n.closed.Load() {
		clear(out)
		return ErrClosed
	}
	e := n.evaluator.Load()
	var failed batchErrors
	for i := range reqs {
		failed.add(i, e.Evaluate(&reqs[i]).Unpack(reqs[i].SourceIP, &out[i]))
	}
	return failed.err()
}

// Explain implements Evaluator.
func (n *Native) Explain(_ context.Context, req abi.Request) (abi.Trace, error) {
	if n.closed.Load() {
		return abi.Trace{}, ErrClosed
	}
	return n.evaluator.Load().Explain(req)
}

// Authorize implements Evaluator.
func (n *Native) Authorize(_ context.Context, req abi.HTTPRequest) (abi.Decision, error) {
	word, _ := n.evaluator.Load().Authorize(&req)
	d, status := word.Decision(req.SourceIP)
	if status != abi.StatusOK {
		return d, n.failed(status)
	}
	return d, nil
}

// Close implements Evaluator.
func (n *Native) Close(context.Context) error {
	n.closed.Store(true)
	n.evaluator.Store(nil)
	return nil
}
