package extismhost

import (
	"context"

	"github.com/tetratelabs/wazero"

	"github.com/keymoat/keymoat/abi"
)

// Runtime has each module compiled once for all tests, of whose time that would
// take most.
var Runtime = wazero.NewRuntimeConfig().WithCompilationCache(wazero.NewCompilationCache())

func init() { runtimeConfig = Runtime }

// EvaluateAfter is Evaluate by a call that has its instance, and asks it when the
// channel is closed.
func (e *Evaluator) EvaluateAfter(ctx context.Context, until <-chan struct{}, req abi.Request) (d abi.Decision, err error) {
	err = e.with(ctx, func(i *instance) (err error) {
		<-until
		if i.input, err = appendRequest(i.input[:0], &req); err != nil {
			return err
		}
		d, err = i.decide(ctx, "evaluate")
		return err
	})
	return d, err
}

// Kept is how many bytes the first instance keeps of the inputs it had.
func (e *Evaluator) Kept() int { return cap(e.serving.Current().Instances[0].input) }
