package policysource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"runtime/debug"
	"strings"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"gocloud.dev/runtimevar"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/policy"
)

// Change is what became of a change of the document.
type Change struct {
	Outcome  Outcome
	Revision host.Revision // that is in force now, if this change put it there
	Warnings []abi.Finding // about the document that is in force now; not told while a newer one waits
	Err      error         // why the former rules stay
}

// Outcome says what became of a change.
type Outcome string

// The outcomes.
const (
	Loaded      Outcome = "Loaded"      // the document is in force
	Refused     Outcome = "Refused"     // it is not valid, or too large; the former rules stay
	Failed      Outcome = "Failed"      // the evaluator could not load it; the former rules stay, and it is tried again
	Unavailable Outcome = "Unavailable" // it cannot be read; the former rules stay
)

// Source keeps the rules of an evaluator up to date until it is closed.
type Source struct {
	evaluator host.Evaluator
	variable  *runtimevar.Variable
	options   options
	changes   metric.Int64Counter
	release   func() // of what Open made

	stop context.CancelFunc
	done chan struct{}

	// Only whoever calls next uses these.
	revision  host.Revision     // of the document that was put in force last
	sum       [sha256.Size]byte // of that document
	warnings  []abi.Finding     // about that document
	validated bool              // they have been looked for
	failed    []byte            // the document to try again, nil if there is none
	told      map[string]bool   // the kinds of errors that last, until the variable has another value

	mu  sync.Mutex
	err error
}

// Open watches the document at a URL:
//
//	file:///path/policies.json, file://./policies.json   a file, absolute or relative
//	https://example.com/policies.json                    what a server answers
//	s3://bucket?region=eu-west-1#policies.json           an object: the bucket's URL and the key
//	any other                                            a variable of gocloud.dev/runtimevar
//
// The program imports the drivers of buckets and variables. Open returns when
// the document is in force, or with an error if it cannot be.
func Open(ctx context.Context, evaluator host.Evaluator, urlOfDocument string, opts ...Option) (*Source, error) {
	o, err := defaults(opts)
	if err != nil {
		return nil, fmt.Errorf("policysource: %w", err)
	}
	variable, release, err := openVariable(ctx, urlOfDocument, o)
	if err != nil {
		return nil, fmt.Errorf("policysource: %w", err)
	}
	return watch(ctx, evaluator, variable, o, release)
}

// Watch is Open for a variable of any driver, made with runtimevar.BytesDecoder
// or StringDecoder. The variable is the source's from then on: Close closes it.
func Watch(ctx context.Context, evaluator host.Evaluator, variable *runtimevar.Variable, opts ...Option) (*Source, error) {
	if variable == nil {
		return nil, errors.New("policysource: the variable is nil")
	}
	o, err := defaults(opts)
	if err != nil {
		return nil, fmt.Errorf("policysource: %w", err)
	}
	return watch(ctx, evaluator, variable, o, func() {})
}

func watch(ctx context.Context, evaluator host.Evaluator, variable *runtimevar.Variable, o options, release func()) (*Source, error) {
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	s := &Source{evaluator: evaluator, variable: variable, options: o, release: release, stop: stop, done: make(chan struct{}), told: map[string]bool{}}
	var err error
	s.changes, err = o.provider.Meter("github.com/keymoat/keymoat/host/policysource", metric.WithInstrumentationVersion(abi.Release)).
		Int64Counter("keymoat.policy_source.changes", metric.WithUnit("{change}"), metric.WithDescription("Changes of the policy document, by what became of them."))
	if evaluator == nil {
		err = errors.New("the evaluator is nil")
	}
	if err == nil {
		err = s.next(ctx)
	}
	if err != nil {
		stop()
		close(s.done)
		return nil, errors.Join(fmt.Errorf("policysource: %w", err), s.Close())
	}
	go func() {
		defer close(s.done)
		for watching.Err() == nil {
			if err := s.next(watching); errors.Is(err, runtimevar.ErrClosed) { // it has been reported, as all errors are
				return
			}
		}
	}()
	return s, nil
}

// Close stops watching. The rules in force stay, and the evaluator is not
// closed. A change that is under way is in force, or not, when it returns.
func (s *Source) Close() error {
	s.stop()
	<-s.done
	err := s.variable.Close()
	s.release()
	if errors.Is(err, runtimevar.ErrClosed) {
		err = nil
	}
	return err
}

// Err returns why what the source holds could not be put in force, nil if it
// was. It knows nothing of rules that somebody else loads into the evaluator.
func (s *Source) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// next waits for a change and puts it in force, if it can be. A document that
// could not be loaded is tried again if nothing changes.
func (s *Source) next(ctx context.Context) error {
	again, waiting := s.failed, ctx
	if again != nil {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, s.options.interval)
		defer cancel()
	}
	snapshot, err := s.variable.Watch(waiting)
	s.failed = nil
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil && err == waiting.Err():
		return s.load(ctx, again)
	case err != nil:
		return s.lasting(ctx, Change{Outcome: Unavailable, Err: fmt.Errorf("the policy document cannot be read: %w", err)})
	}
	clear(s.told)
	document, ok := documentIn(snapshot)
	if !ok {
		return s.report(ctx, Change{Outcome: Refused, Err: fmt.Errorf("the variable holds a %T; it must be decoded to bytes", snapshot.Value)})
	}
	return s.load(ctx, document)
}

func documentIn(snapshot runtimevar.Snapshot) (document []byte, ok bool) {
	switch value := snapshot.Value.(type) {
	case []byte:
		return value, true
	case string:
		return []byte(value), true
	}
	return nil, false
}

// ports are what makes the errors of connections differ that are one and the same.
var ports = regexp.MustCompile(`:[0-9]+`)

// lasting reports an error unless it has been: the same one may come back
// time and again. Of ever new errors the first ones are reported, and that the
// variable is closed. Stack traces, below the first line, do not make a new one.
func (s *Source) lasting(ctx context.Context, c Change) error {
	const most = 20
	kind, _, _ := strings.Cut(ports.ReplaceAllString(c.Err.Error(), ""), "\n")
	if s.told[kind] || len(s.told) == most && !errors.Is(c.Err, runtimevar.ErrClosed) {
		return c.Err
	}
	s.told[kind] = true
	return s.report(ctx, c)
}

func (s *Source) load(ctx context.Context, document []byte) error {
	ctx = context.WithoutCancel(ctx) // what has begun is brought to an end: Close waits for it
	sum, revision := sha256.Sum256(document), s.revision
	err := caught(func() (err error) {
		// After something else, or nothing, was there for a while. Somebody may have
		// loaded other rules by hand meanwhile.
		if sum != s.sum || !s.inForce() {
			revision, err = s.evaluator.Load(ctx, document)
		}
		return err
	})
	switch {
	case errors.Is(err, abi.StatusInvalidDocument), errors.Is(err, abi.StatusInvalidImage), errors.Is(err, abi.StatusTooLarge):
		return s.report(ctx, Change{Outcome: Refused, Err: fmt.Errorf("the policy document is refused: %w", err)})
	case err != nil:
		s.failed = document
		return s.lasting(ctx, Change{Outcome: Failed, Err: fmt.Errorf("the policy document cannot be loaded: %w", err)})
	}
	if sum != s.sum {
		s.warnings, s.validated = nil, policy.IsImage(document)
	}
	s.revision, s.sum = revision, sum
	clear(s.told)
	if !s.validated && !s.overtaken(ctx, document) {
		s.validate(ctx, document)
	}
	return s.report(ctx, Change{Outcome: Loaded, Revision: revision, Warnings: s.warnings})
}

// overtaken reports whether the variable has another document to load. That is
// more urgent than the warnings about the one in force, which take as long as
// to load it did.
func (s *Source) overtaken(ctx context.Context, document []byte) bool {
	snapshot, err := s.variable.Latest(ctx) // there has been a value, so it does not wait
	if err != nil {
		return false
	}
	latest, ok := documentIn(snapshot)
	return ok && !bytes.Equal(latest, document)
}

// validate looks for the warnings about the document in force.
func (s *Source) validate(ctx context.Context, document []byte) {
	err := caught(func() error {
		report, err := s.evaluator.Validate(ctx, document)
		s.warnings = report.Warnings
		return err
	})
	if s.validated = err == nil; !s.validated {
		s.options.logger.LogAttrs(ctx, slog.LevelError, "keymoat: the warnings about the new rules cannot be told", slog.Any("error", err))
	}
}

// caught calls a function that is not this package's. A panic there is an error
// here, and does not end the process.
func caught(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v\n%s", v, debug.Stack())
		}
	}()
	return f()
}

// inForce reports whether the evaluator says that the document is in force which
// was put there last.
func (s *Source) inForce() bool {
	e, ok := s.evaluator.(interface{ Revision() host.Revision })
	return ok && s.revision != "" && e.Revision() == s.revision
}

// report tells of a change, and returns its error.
func (s *Source) report(ctx context.Context, c Change) error {
	s.mu.Lock()
	s.err = c.Err
	s.mu.Unlock()
	s.changes.Add(ctx, 1, metric.WithAttributes(attribute.String("keymoat.outcome", string(c.Outcome))))
	switch {
	case c.Err != nil:
		s.options.logger.LogAttrs(ctx, slog.LevelError, "keymoat: the former rules stay",
			slog.String("outcome", string(c.Outcome)), slog.Any("error", c.Err), slog.Any("findings", findings(c.Err)))
	case len(c.Warnings) > 0:
		s.options.logger.LogAttrs(ctx, slog.LevelWarn, "keymoat: new rules are in force, with warnings",
			slog.String("revision", string(c.Revision)), slog.Any("findings", first(c.Warnings)))
	default:
		s.options.logger.LogAttrs(ctx, slog.LevelInfo, "keymoat: new rules are in force", slog.String("revision", string(c.Revision)))
	}
	if s.options.changed != nil {
		if err := caught(func() error { s.options.changed(c); return nil }); err != nil {
			s.options.logger.LogAttrs(ctx, slog.LevelError, "keymoat: the function of OnChange failed", slog.Any("error", err))
		}
	}
	return c.Err
}

// findings are what is wrong with a document, if that is the error.
func findings(err error) []string {
	var detailed *abi.Error
	if errors.As(err, &detailed) && detailed.Report != nil {
		return first(detailed.Report.Errors)
	}
	return nil
}

// first writes the first findings of many.
func first(all []abi.Finding) (some []string) {
	const most = 20
	for i, f := range all {
		if i == most {
			return append(some, fmt.Sprintf("and %d more", len(all)-most))
		}
		some = append(some, fmt.Sprintf("%s: %s (%s)", f.Pointer, f.Message, f.Code))
	}
	return some
}
