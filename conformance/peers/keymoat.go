package peers

import (
	"bytes"
	"context"
	"fmt"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/policy"
)

// Keymoat returns the contenders that are keymoat itself. The compiled plugin
// is kept in cacheDir.
func Keymoat(cacheDir string) []Contender {
	sandbox := func(ctx context.Context) (host.Evaluator, error) {
		return host.New(ctx, host.WithCompilationCache(cacheDir))
	}
	native := func(context.Context) (host.Evaluator, error) { return host.NewNative(), nil }
	documents := map[*workload.Workload][]byte{} // made once for all contenders
	load := func(open func(context.Context) (host.Evaluator, error), batch int) func(*workload.Workload) (Loaded, error) {
		return func(w *workload.Workload) (Loaded, error) {
			ctx := context.Background()
			if documents[w] == nil {
				document, err := loadable(w)
				if err != nil {
					return nil, err
				}
				documents[w] = document
			}
			evaluator, err := open(ctx)
			if err != nil {
				return nil, err
			}
			if _, err := evaluator.Load(ctx, documents[w]); err != nil {
				return nil, err
			}
			return &keymoat{evaluator, batch}, nil
		}
	}
	return []Contender{
		{Name: KeymoatWasm, Load: load(sandbox, 1), shares: true},
		{Name: KeymoatBatch, Load: load(sandbox, 1000), shares: true},
		{Name: KeymoatNative, Load: load(native, 1), shares: true},
	}
}

// loadable returns what keymoat loads: the policy set, compiled if it is large.
func loadable(w *workload.Workload) ([]byte, error) {
	var size counter // first, so that a large document is not moved as it grows
	if err := w.WritePolicySet(&size); err != nil {
		return nil, err
	}
	document := bytes.NewBuffer(make([]byte, 0, size))
	if err := w.WritePolicySet(document); err != nil {
		return nil, err
	}
	const large = 1000 // keys
	if w.Keys < large {
		return document.Bytes(), nil
	}
	image, _, err := policy.Compile(document.Bytes())
	return image, err
}

type counter int

func (c *counter) Write(p []byte) (int, error) {
	*c += counter(len(p))
	return len(p), nil
}

type keymoat struct {
	evaluator host.Evaluator
	batch     int // requests in a call
}

func (k *keymoat) Prepare(requests []abi.Request) (Judge, error) {
	ctx := context.Background()
	if k.batch == 1 {
		return func(at int) (bool, error) {
			decision, err := k.evaluator.Evaluate(ctx, requests[at])
			return decision.Allowed(), err
		}, nil
	}
	if len(requests)%k.batch != 0 {
		return nil, fmt.Errorf("%d requests cannot be cut into batches of %d", len(requests), k.batch)
	}
	decisions := make([]abi.Decision, k.batch)
	return func(at int) (bool, error) {
		if at%k.batch == 0 {
			if err := k.evaluator.EvaluateBatch(ctx, requests[at:at+k.batch], decisions); err != nil {
				return false, err
			}
		}
		return decisions[at%k.batch].Allowed(), nil
	}, nil
}

func (k *keymoat) Close() error { return k.evaluator.Close(context.Background()) }
