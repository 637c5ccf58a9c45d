package host

import (
	"context"

	"github.com/keymoat/keymoat/abi"
)

// Evaluator judges calls by the policy set that was loaded last. Engine (the
// plugin in its sandbox) and Native (the same code compiled in) implement it,
// as does extismhost. All methods are safe for concurrent use.
//
// An error is never a decision: the Decision beside it is zero, which denies.
// Errors unwrap to an abi.Status, but for ErrClosed and, where a call waited,
// the error of its context.
type Evaluator interface {
	// Load takes a policy set as JSON or as a compiled image. It is atomic: on
	// error the former rules stay; a call that begins after it has returned sees
	// only the new ones, a call is judged by one set from beginning to end. An
	// Engine also waits for the calls under way; those on a Native may end by
	// the former rules when it has returned.
	Load(ctx context.Context, policySet []byte) (Revision, error)
	// Validate reports everything that is wrong with, or doubtful about, a
	// policy set or a single access key policy, without loading it.
	Validate(ctx context.Context, document []byte) (abi.Report, error)
	// Evaluate judges one call.
	Evaluate(ctx context.Context, req abi.Request) (abi.Decision, error)
	// EvaluateBatch judges reqs into out, which must be as long. Requests that
	// cannot be decided get the zero Decision and are named in an *abi.BatchError.
	EvaluateBatch(ctx context.Context, reqs []abi.Request, out []abi.Decision) error
	// Explain judges one call and tells each step.
	Explain(ctx context.Context, req abi.Request) (abi.Trace, error)
	// Authorize judges an HTTP request by the AccessKey id that it claims.
	Authorize(ctx context.Context, req abi.HTTPRequest) (abi.Decision, error)
	// Close releases the evaluator. Calls after it return ErrClosed.
	Close(ctx context.Context) error
}

// Revision is the lower-case hexadecimal SHA-256 of a compiled image. It is
// the same on every host for the same policy set.
type Revision string
