package host

import (
	"fmt"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/internal/instances"
)

// ErrClosed is what an evaluator answers with after Close.
var ErrClosed = instances.ErrClosed

var errBatchLength = fmt.Errorf("keymoat: out must be as long as reqs: %w", abi.StatusInvalidArgument)

// GuestError says that a WebAssembly module cannot serve as the plugin.
type GuestError struct {
	Problem string // what is missing or wrong
	Err     error  // the cause, nil if Problem says it all
}

func (e *GuestError) Error() string {
	if e.Err != nil {
		return "keymoat: unusable guest: " + e.Problem + ": " + e.Err.Error()
	}
	return "keymoat: unusable guest: " + e.Problem
}

// Unwrap returns the cause.
func (e *GuestError) Unwrap() error { return e.Err }

// TrapError says that an instance trapped while it served a call, or answered
// with what no plugin answers. The instance is gone and the next call finds a
// fresh one with the same rules. It unwraps to abi.StatusInternal and to Err.
type TrapError struct {
	Export string // the function that was called
	Err    error  // what the guest's and the WebAssembly runtime say
}

func (e *TrapError) Error() string {
	return "keymoat: the guest failed in " + e.Export + ": " + e.Err.Error()
}

// Unwrap returns the status and the cause.
func (e *TrapError) Unwrap() []error { return []error{abi.StatusInternal, e.Err} }

// batchErrors collects the requests of a batch that have no decision.
type batchErrors []abi.BatchItem

func (b *batchErrors) add(index int, status abi.Status) {
	if status != abi.StatusOK {
		*b = append(*b, abi.BatchItem{Index: index, Status: status})
	}
}

func (b batchErrors) err() error {
	if len(b) == 0 {
		return nil
	}
	return &abi.BatchError{Items: b}
}
