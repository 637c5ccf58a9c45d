package host

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/internal/instances"
	"github.com/keymoat/keymoat/plugin/policy"
)

// Engine runs the plugin in its sandbox. It is safe for concurrent use and
// takes no global lock to evaluate.
//
// An instance whose guest trapped is thrown away, with its memory, and
// replaced by a fresh one with the same rules: the call that met the trap gets
// a *TrapError, and no other notices.
type Engine struct {
	options options
	runtime wazero.Runtime
	cache   wazero.CompilationCache
	guest   wazero.CompiledModule
	serving *instances.Set[instance]

	// change serialises Load, Validate and Close. It also guards workshop, an
	// instance that reads documents and serves no requests.
	change   sync.Mutex
	workshop *instance
}

var _ Evaluator = (*Engine)(nil)

// New compiles the plugin and starts a first instance, so that a guest that
// cannot serve is found at once; such an error is a *GuestError.
func New(ctx context.Context, opts ...Option) (_ *Engine, err error) {
	e := &Engine{options: defaults()}
	for _, set := range opts {
		set(&e.options)
	}
	if e.options.instances < 1 {
		return nil, fmt.Errorf("keymoat: an engine needs at least one instance, not %d: %w", e.options.instances, abi.StatusInvalidArgument)
	}
	const page, most = 1 << 16, 1 << 32
	pages := uint32(min(max(e.options.memoryLimit, page), most) / page)
	config := wazero.NewRuntimeConfig().WithMemoryLimitPages(pages)
	if e.options.cacheDir != "" {
		if e.cache, err = wazero.NewCompilationCacheWithDir(e.options.cacheDir); err != nil {
			return nil, cacheError(e.options.cacheDir, err)
		}
		config = config.WithCompilationCache(e.cache)
	}
	e.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	defer func() {
		if err != nil {
			err = errors.Join(err, e.release(ctx))
		}
	}()
	if _, err = wasi_snapshot_preview1.Instantiate(ctx, e.runtime); err != nil {
		return nil, fmt.Errorf("keymoat: %w", err)
	}
	wasm, err := e.options.wasm()
	if err != nil {
		return nil, err
	}
	if e.guest, err = e.runtime.CompileModule(ctx, wasm); err != nil {
		if e.cache != nil && compiles(ctx, wasm, pages) {
			return nil, cacheError(e.options.cacheDir, err)
		}
		problem := "it does not compile"
		if strings.Contains(err.Error(), "over limit of") { // as wazero says it
			problem = fmt.Sprintf("it needs more memory than WithMemoryLimit gives it, %d bytes", e.options.memoryLimit)
		}
		return nil, &GuestError{Problem: problem, Err: err}
	}
	if err = checkGuest(e.guest); err != nil {
		return nil, err
	}
	if e.workshop, err = e.instantiate(ctx); err != nil {
		return nil, err
	}
	e.serving = instances.New(e.options.instances, e.loaded, func(ctx context.Context, i *instance) { i.close(ctx) })
	return e, nil
}

func cacheError(dir string, err error) error {
	return fmt.Errorf("keymoat: the compilation cache %s cannot be used; name another directory, or empty it: %w", dir, err)
}

// compiles reports whether a module compiles without a cache: if so, the cache
// is what went wrong, which the error alone does not tell.
func compiles(ctx context.Context, wasm []byte, pages uint32) bool {
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithMemoryLimitPages(pages))
	_, err := r.CompileModule(ctx, wasm)
	return errors.Join(err, r.Close(ctx)) == nil
}

// instantiate starts a guest. It gets random numbers, to seed its maps with, a
// clock that counts from its start, by which its garbage collector measures its
// own share of the time, and a place for its last words. It gets nothing else
// of the outside: no files, environment, network or time of day.
func (e *Engine) instantiate(ctx context.Context) (*instance, error) {
	words := &instances.LastWords{}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions(abi.ExportInitialize).
		WithRandSource(rand.Reader).WithSysNanotime().WithStderr(words)
	module, err := e.runtime.InstantiateModule(withMemory(ctx), e.guest, config)
	if err != nil {
		return nil, &GuestError{Problem: "it does not start", Err: err}
	}
	i, err := newInstance(ctx, module, words)
	if err != nil {
		_ = module.Close(ctx)
		return nil, err
	}
	return i, nil
}

// Load implements Evaluator. A JSON document is compiled once, in the sandbox;
// each instance then gets the image.
func (e *Engine) Load(ctx context.Context, policySet []byte) (Revision, error) {
	e.change.Lock()
	defer e.change.Unlock()
	if e.serving.Current() == nil {
		return "", ErrClosed
	}
	start := time.Now()
	image, shared := policySet, true
	if !policy.IsImage(policySet) {
		var err error
		if image, err = e.compile(ctx, policySet); err != nil {
			return "", err
		}
		shared = false
	}
	var (
		own      = image
		revision Revision
		kept     sync.WaitGroup
	)
	kept.Go(func() { // beside the instances: a large image takes as long as they
		if shared { // with the caller, who may change it when Load has returned
			own = bytes.Clone(image)
		}
		sum := sha256.Sum256(own)
		revision = Revision(hex.EncodeToString(sum[:]))
	})
	started, err := e.serving.Fill(ctx, image)
	kept.Wait()
	if err != nil {
		return "", err
	}
	e.serving.Replace(ctx, started, own, string(revision))
	e.options.logger.LogAttrs(ctx, slog.LevelInfo, "keymoat: policy set loaded",
		slog.String("revision", string(revision)), slog.Int("image_bytes", len(image)), slog.Duration("took", time.Since(start)))
	return revision, nil
}

// loaded starts an instance that holds the image.
func (e *Engine) loaded(ctx context.Context, image []byte) (*instance, error) {
	i, err := e.instantiate(ctx)
	if err != nil {
		return nil, err
	}
	status, result, err := e.fits(ctx, i, abi.ExportLoad, image)
	if err == nil && status != abi.StatusOK {
		err = statusError(status, result)
	}
	if err != nil {
		i.close(ctx)
		return nil, err
	}
	i.settle()
	return i, nil
}

// fits passes a document to an instance, and says so when the instance's memory
// does not suffice. A Go guest traps then, so after an error it is of no use.
func (e *Engine) fits(ctx context.Context, i *instance, export string, document []byte) (abi.Status, []byte, error) {
	if uint64(len(document)) < e.options.memoryLimit {
		status, result, err := i.document(ctx, export, document)
		if status != abi.StatusTooLarge && !errors.Is(err, abi.StatusTooLarge) && !i.words.OutOfMemory() {
			return status, result, err
		}
	}
	advice := "raise the limit (WithMemoryLimit), or compile the policy set to an image first, which is smaller"
	if policy.IsImage(document) {
		advice = "raise the limit (WithMemoryLimit)"
	}
	return 0, nil, &abi.Error{Status: abi.StatusTooLarge, Message: fmt.Sprintf(
		"%d bytes are too many for an instance of %d bytes; %s", len(document), e.options.memoryLimit, advice)}
}

// statusError makes an error of a status and of the JSON that explains it.
func statusError(status abi.Status, result []byte) error {
	var answer struct {
		Error struct {
			Message string
			Report  *abi.Report
		}
	}
	if json.Unmarshal(result, &answer) != nil {
		return status
	}
	return &abi.Error{Status: status, Message: answer.Error.Message, Report: answer.Error.Report}
}

// inWorkshop passes a document to the workshop and the outcome to read, for
// which the result holds until it returns. The instance is replaced after an
// error of theirs, and when it has grown large.
func (e *Engine) inWorkshop(ctx context.Context, export string, document []byte, read func(abi.Status, []byte) error) error {
	const tooLarge = 32 << 20
	if e.workshop == nil {
		var err error
		if e.workshop, err = e.instantiate(ctx); err != nil {
			return err
		}
	}
	status, result, err := e.fits(ctx, e.workshop, export, document)
	if err == nil {
		err = read(status, result)
	}
	var trap *TrapError
	if errors.As(err, &trap) {
		e.logTrap(ctx, trap)
	}
	if trap != nil || errors.Is(err, abi.StatusTooLarge) || e.workshop.memory.Size() > tooLarge {
		e.workshop.close(ctx)
		e.workshop = nil
	}
	return err
}

func (e *Engine) compile(ctx context.Context, document []byte) (image []byte, err error) {
	err = e.inWorkshop(ctx, abi.ExportCompile, document, func(status abi.Status, result []byte) error {
		if status != abi.StatusOK {
			return statusError(status, result)
		}
		image = append([]byte{}, result...)
		return nil
	})
	return image, err
}

// Validate implements Evaluator.
func (e *Engine) Validate(ctx context.Context, document []byte) (report abi.Report, err error) {
	e.change.Lock()
	defer e.change.Unlock()
	if e.serving.Current() == nil {
		return abi.Report{}, ErrClosed
	}
	err = e.inWorkshop(ctx, abi.ExportValidate, document, func(status abi.Status, result []byte) error {
		if status != abi.StatusOK && status != abi.StatusInvalidDocument {
			return statusError(status, result)
		}
		if err := json.Unmarshal(result, &report); err != nil {
			return &TrapError{Export: abi.ExportValidate, Err: err}
		}
		return nil
	})
	if err != nil {
		return abi.Report{}, err
	}
	return report, nil
}

// with runs use on an instance that holds the current rules. When use meets a
// trap, or leaves much behind, the instance is replaced before anyone else can
// have it.
func (e *Engine) with(ctx context.Context, use func(*instance) error) error {
	p, seat, err := e.serving.Take(ctx)
	if err != nil {
		return err
	}
	i := p.Instances[seat]
	err = use(i)
	if size := i.memory.Size(); size > i.most {
		e.options.logger.LogAttrs(ctx, slog.LevelWarn, "keymoat: an instance has grown large and is replaced", slog.Uint64("bytes", uint64(size)))
		e.serving.Drop(ctx, p, seat)
	}
	e.give(ctx, p, seat, err)
	return err
}

// give gives an instance back, a fresh one if the error is a trap.
func (e *Engine) give(ctx context.Context, p *instances.Pool[instance], seat int, err error) {
	if err != nil {
		e.renewIfTrapped(ctx, p, seat, err)
	}
	p.Give(seat)
}

func (e *Engine) renewIfTrapped(ctx context.Context, p *instances.Pool[instance], seat int, err error) {
	var trap *TrapError
	if !errors.As(err, &trap) {
		return
	}
	e.logTrap(ctx, trap)
	if err := e.serving.Renew(ctx, p, seat); err != nil {
		e.options.logger.LogAttrs(ctx, slog.LevelError, "keymoat: the instance cannot be replaced yet", slog.Any("error", err))
	}
}

func (e *Engine) logTrap(ctx context.Context, trap *TrapError) {
	e.options.logger.LogAttrs(ctx, slog.LevelError, "keymoat: an instance trapped and is thrown away",
		slog.String("export", trap.Export), slog.Any("error", trap.Err))
}

// Evaluate implements Evaluator. It allocates nothing.
func (e *Engine) Evaluate(ctx context.Context, req abi.Request) (d abi.Decision, err error) {
	p, seat, err := e.serving.Take(ctx)
	if err != nil {
		return d, err
	}
	word, err := p.Instances[seat].evaluateWord(ctx, &req)
	e.give(ctx, p, seat, err)
	if err != nil {
		return d, err
	}
	if status := word.Unpack(req.SourceIP, &d); status != abi.StatusOK {
		return d, status
	}
	return d, nil
}

// EvaluateBatch implements Evaluator. All requests of a batch are judged by the
// same rules, and up to 1024 of them cross into the sandbox at once.
func (e *Engine) EvaluateBatch(ctx context.Context, reqs []abi.Request, out []abi.Decision) error {
	if len(out) != len(reqs) {
		clear(out)
		return errBatchLength
	}
	var failed batchErrors
	err := e.with(ctx, func(i *instance) error {
		for base := 0; base < len(reqs); base += batchSize {
			end := min(base+batchSize, len(reqs))
			if err := i.evaluateBatch(ctx, reqs[base:end], out[base:end], base, &failed); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		clear(out)
		return err
	}
	return failed.err()
}

// Explain implements Evaluator.
func (e *Engine) Explain(ctx context.Context, req abi.Request) (trace abi.Trace, err error) {
	err = e.with(ctx, func(i *instance) error {
		if err := explainable(&req); err != nil {
			return err
		}
		document, err := json.Marshal(req)
		if err != nil {
			return abi.StatusInvalidRequest
		}
		status, result, err := i.document(ctx, abi.ExportExplain, document)
		if err != nil {
			return err
		}
		if status != abi.StatusOK {
			return statusError(status, result)
		}
		if err := json.Unmarshal(result, &trace); err != nil {
			trace = abi.Trace{}
			return &TrapError{Export: abi.ExportExplain, Err: err}
		}
		return nil
	})
	return trace, err
}

// explainable refuses what Evaluate refuses, and text that is not UTF-8: a trace
// is JSON, which would hold another text in its place.
func explainable(req *abi.Request) error {
	var buffer [abi.MaxRequestSize]byte
	if _, status := abi.PutRequest(buffer[:], req); status != abi.StatusOK {
		return status
	}
	for _, field := range []string{req.VPCID, req.AccountID, req.Service, req.Action, req.Protocol} {
		if !utf8.ValidString(field) {
			return &abi.Error{Status: abi.StatusInvalidRequest, Message: "a request to explain must be UTF-8"}
		}
	}
	return nil
}

// Authorize implements Evaluator.
func (e *Engine) Authorize(ctx context.Context, req abi.HTTPRequest) (abi.Decision, error) {
	var word abi.Word
	err := e.with(ctx, func(i *instance) (err error) {
		word, err = i.authorizeWord(ctx, &req)
		return err
	})
	if err != nil {
		return abi.Decision{}, err
	}
	d, status := word.Decision(req.SourceIP)
	if status != abi.StatusOK {
		return d, status
	}
	return d, nil
}

// Revision returns the revision in force, "" if nothing is loaded.
func (e *Engine) Revision() Revision { return Revision(e.serving.Revision()) }

// Close implements Evaluator. It waits for the calls under way.
func (e *Engine) Close(ctx context.Context) error {
	e.change.Lock()
	defer e.change.Unlock()
	if !e.serving.Close(ctx) {
		return nil
	}
	return e.release(ctx)
}

// release gives back what New took.
func (e *Engine) release(ctx context.Context) error {
	err := e.runtime.Close(ctx)
	if e.cache != nil {
		err = errors.Join(err, e.cache.Close(ctx))
	}
	return err
}
