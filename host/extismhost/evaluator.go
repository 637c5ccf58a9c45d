package extismhost

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/internal/instances"
	"github.com/keymoat/keymoat/plugin/policy"
)

// Evaluator runs the plug-in. It is safe for concurrent use: each call has an
// instance of its own, of which there is a fixed number; further calls wait.
//
// An instance that trapped or ran out of time is thrown away and replaced by a
// fresh one with the same rules. The call that met it gets a *host.TrapError.
type Evaluator struct {
	compiled *extism.CompiledPlugin
	options  options
	serving  *instances.Set[instance]

	// change serialises Load, Validate and Close. It also guards workshop, an
	// instance that reads documents and serves no requests.
	change   sync.Mutex
	workshop *instance
}

var _ host.Evaluator = (*Evaluator)(nil)

type options struct {
	instances   int
	memoryLimit uint64
	timeout     time.Duration
}

// Option changes what New makes.
type Option func(*options)

// WithInstances sets how many calls are served at the same time. It is
// GOMAXPROCS unless set.
func WithInstances(n int) Option { return func(o *options) { o.instances = n } }

// WithMemoryLimit bounds the memory of an instance, and what Extism keeps beside
// it, to so many bytes each. It is 1 GiB unless set.
func WithMemoryLimit(bytes uint64) Option { return func(o *options) { o.memoryLimit = bytes } }

// WithTimeout ends a call, of any kind, that takes longer; d is rounded up to
// milliseconds. There is no time-out unless set: no input is known to make the
// plug-in run long, and a guest that can be interrupted is slower (README).
func WithTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// runtimeConfig is wazero's own; tests add a cache.
var runtimeConfig = wazero.NewRuntimeConfig()

// New compiles the plug-in and starts a first instance, so that a module that
// cannot serve is found at once; such an error is a *host.GuestError.
func New(ctx context.Context, wasm []byte, opts ...Option) (*Evaluator, error) {
	o := options{instances: runtime.GOMAXPROCS(0), memoryLimit: 1 << 30}
	for _, set := range opts {
		set(&o)
	}
	if o.instances < 1 {
		return nil, fmt.Errorf("keymoat: an evaluator needs at least one instance, not %d: %w", o.instances, abi.StatusInvalidArgument)
	}
	if o.timeout < 0 {
		return nil, fmt.Errorf("keymoat: a time-out cannot be %v: %w", o.timeout, abi.StatusInvalidArgument)
	}
	const page, most = 1 << 16, 1 << 32
	manifest := extism.Manifest{
		Wasm:    []extism.Wasm{extism.WasmData{Data: wasm}},
		Memory:  &extism.ManifestMemory{MaxPages: uint32(min(max(o.memoryLimit, page), most) / page)},
		Timeout: uint64((o.timeout + time.Millisecond - 1) / time.Millisecond),
	}
	compiled, err := extism.NewCompiledPlugin(ctx, manifest, extism.PluginConfig{EnableWasi: true, RuntimeConfig: runtimeConfig}, nil)
	if err != nil {
		return nil, &host.GuestError{Problem: "it does not compile", Err: err}
	}
	e := &Evaluator{compiled: compiled, options: o}
	if e.workshop, err = e.checked(ctx); err != nil {
		return nil, errors.Join(err, compiled.Close(ctx))
	}
	e.serving = instances.New(o.instances, e.loaded, func(ctx context.Context, i *instance) { i.close(ctx) })
	return e, nil
}

// checked starts an instance and makes sure that it is a keymoat plug-in.
func (e *Evaluator) checked(ctx context.Context) (*instance, error) {
	i, err := e.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range exports {
		if !i.plugin.FunctionExists(name) {
			return nil, &host.GuestError{Problem: "it does not export " + name}
		}
	}
	if _, err := i.call(ctx, "revision", nil); !errors.Is(err, abi.StatusNotLoaded) {
		return nil, &host.GuestError{Problem: "with nothing loaded it does not say so", Err: err}
	}
	return i, nil
}

// Load implements host.Evaluator. A JSON document is compiled once; each
// instance then gets the image.
func (e *Evaluator) Load(ctx context.Context, policySet []byte) (host.Revision, error) {
	e.change.Lock()
	defer e.change.Unlock()
	if e.serving.Current() == nil {
		return "", host.ErrClosed
	}
	var image []byte
	if policy.IsImage(policySet) {
		image = bytes.Clone(policySet) // the caller may change it when Load has returned
	} else {
		err := e.inWorkshop(ctx, "compile", policySet, func(output []byte) (err error) {
			if image = output; !policy.IsImage(image) {
				err = errAnswer
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	started, err := e.serving.Fill(ctx, image)
	if err != nil {
		return "", err
	}
	revision := revisionOf(image)
	e.serving.Replace(ctx, started, image, revision)
	return host.Revision(revision), nil
}

func revisionOf(image []byte) string {
	sum := sha256.Sum256(image)
	return hex.EncodeToString(sum[:])
}

// loaded starts an instance that holds the image.
func (e *Evaluator) loaded(ctx context.Context, image []byte) (*instance, error) {
	i, err := e.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	output, err := i.call(ctx, "load", image)
	if err == nil && string(output) != `{"Revision":"`+revisionOf(image)+`"}` {
		err = &host.TrapError{Export: "load", Err: errAnswer}
	}
	if err != nil {
		i.close(ctx)
		return nil, err
	}
	return i, nil
}

// large is the size of an input, in bytes, whose memory an instance is not to
// keep: a guest's never shrinks.
const large = 4 << 20

// inWorkshop calls a function that needs no rules, and read with its output. The
// instance is replaced after a trap and after a large document.
func (e *Evaluator) inWorkshop(ctx context.Context, export string, document []byte, read func(output []byte) error) (err error) {
	if e.workshop == nil {
		if e.workshop, err = e.instantiate(ctx); err != nil {
			return err
		}
	}
	output, err := e.workshop.call(ctx, export, document)
	if err == nil {
		if err = read(output); err != nil {
			err = &host.TrapError{Export: export, Err: err}
		}
	}
	if trapped(err) || len(document) > large {
		e.workshop.close(ctx)
		e.workshop = nil
	}
	return err
}

// Validate implements host.Evaluator.
func (e *Evaluator) Validate(ctx context.Context, document []byte) (report abi.Report, err error) {
	e.change.Lock()
	defer e.change.Unlock()
	if e.serving.Current() == nil {
		return abi.Report{}, host.ErrClosed
	}
	err = e.inWorkshop(ctx, "validate", document, func(output []byte) error { return json.Unmarshal(output, &report) })
	if err != nil {
		return abi.Report{}, err
	}
	return report, nil
}

// with runs use on an instance that holds the current rules. After a trap, and
// after a large input, the instance is replaced before anyone else can have it;
// where that fails too, the next call tries again.
func (e *Evaluator) with(ctx context.Context, use func(*instance) error) error {
	p, seat, err := e.serving.Take(ctx)
	if err != nil {
		return err
	}
	defer p.Give(seat)
	i := p.Instances[seat]
	err = use(i)
	if trapped(err) || len(i.input) > large {
		_ = e.serving.Renew(ctx, p, seat)
	}
	return err
}

// Evaluate implements host.Evaluator.
func (e *Evaluator) Evaluate(ctx context.Context, req abi.Request) (d abi.Decision, err error) {
	err = e.with(ctx, func(i *instance) (err error) {
		if i.input, err = appendRequest(i.input[:0], &req); err != nil {
			return err
		}
		d, err = i.decide(ctx, "evaluate")
		return err
	})
	return d, err
}

// Authorize implements host.Evaluator.
func (e *Evaluator) Authorize(ctx context.Context, req abi.HTTPRequest) (d abi.Decision, err error) {
	err = e.with(ctx, func(i *instance) (err error) {
		if i.input, err = appendHTTPRequest(i.input[:0], &req); err != nil {
			return err
		}
		d, err = i.decide(ctx, "authorize")
		return err
	})
	return d, err
}

// EvaluateBatch implements host.Evaluator. All requests of a batch are judged by
// the same rules, and up to 1024 of them cross into the sandbox at once.
func (e *Evaluator) EvaluateBatch(ctx context.Context, reqs []abi.Request, out []abi.Decision) error {
	if len(out) != len(reqs) {
		clear(out)
		return fmt.Errorf("keymoat: out must be as long as reqs: %w", abi.StatusInvalidArgument)
	}
	var failed []abi.BatchItem
	err := e.with(ctx, func(i *instance) error {
		for base := 0; base < len(reqs); base += batchSize {
			end := min(base+batchSize, len(reqs))
			items, err := i.evaluateBatch(ctx, reqs[base:end], out[base:end])
			if err != nil {
				return err
			}
			for _, item := range items {
				failed = append(failed, abi.BatchItem{Index: base + item.Index, Status: item.Status})
			}
		}
		return nil
	})
	switch {
	case err != nil:
		clear(out)
		return err
	case len(failed) > 0:
		return &abi.BatchError{Items: failed}
	}
	return nil
}

// Explain implements host.Evaluator.
func (e *Evaluator) Explain(ctx context.Context, req abi.Request) (trace abi.Trace, err error) {
	err = e.with(ctx, func(i *instance) (err error) {
		if i.input, err = appendRequest(i.input[:0], &req); err != nil {
			return err
		}
		output, err := i.call(ctx, "explain", i.input)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(output, &trace); err != nil {
			return &host.TrapError{Export: "explain", Err: err}
		}
		return nil
	})
	if err != nil {
		return abi.Trace{}, err
	}
	return trace, nil
}

// Revision returns the revision in force, "" if nothing is loaded.
func (e *Evaluator) Revision() host.Revision { return host.Revision(e.serving.Revision()) }

// Close implements host.Evaluator. It waits for the calls under way.
func (e *Evaluator) Close(ctx context.Context) error {
	e.change.Lock()
	defer e.change.Unlock()
	if !e.serving.Close(ctx) {
		return nil
	}
	return e.compiled.Close(ctx)
}
