package policysource

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
	"gocloud.dev/blob"
	"gocloud.dev/runtimevar"
	"gocloud.dev/runtimevar/blobvar"
	"gocloud.dev/runtimevar/httpvar"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/policy"
)

// Change is what became of a change of the document.
type Change struct {
	Outcome  Outcome
	Revision host.Revision // that is in force now, if this change put it there
	Warnings []abi.Finding // about the document that is in force now
	Err      error         // why the former rules stay
}

// Outcome says what became of a change.
type Outcome string

// The outcomes.
const (
	Loaded      Outcome = "Loaded"      // the document is in force
	Refused     Outcome = "Refused"     // the evaluator did not take it; the former rules stay
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
	revision host.Revision     // of the document that was put in force last
	sum      [sha256.Size]byte // of that document
	told     map[string]bool   // the kinds of errors of the variable, until it can be read again

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
	o := defaults(opts)
	if o.interval <= 0 {
		return nil, fmt.Errorf("policysource: the interval must be positive, not %v", o.interval)
	}
	u, err := url.Parse(urlOfDocument)
	if err != nil {
		return nil, fmt.Errorf("policysource: %w", err)
	}
	var (
		variable *runtimevar.Variable
		release  = func() {}
	)
	switch u.Scheme {
	case "file":
		variable, err = openFile(u, o.interval)
	case "http", "https":
		client := o.client
		if client == nil {
			transport := http.DefaultTransport.(*http.Transport).Clone()
			client, release = &http.Client{Transport: transport, Timeout: 5 * time.Second}, transport.CloseIdleConnections
		}
		variable, err = (&httpvar.URLOpener{Client: client, Options: httpvar.Options{WaitDuration: o.interval}}).OpenVariableURL(ctx, u)
	default:
		if u.Fragment == "" || !blob.DefaultURLMux().ValidBucketScheme(u.Scheme) {
			variable, err = runtimevar.OpenVariable(ctx, urlOfDocument)
			break
		}
		key := u.Fragment
		u.Fragment, u.RawFragment = "", ""
		var bucket *blob.Bucket
		if bucket, err = blob.DefaultURLMux().OpenBucketURL(ctx, u); err == nil {
			variable, err = blobvar.OpenVariable(bucket, key, runtimevar.BytesDecoder, &blobvar.Options{WaitDuration: o.interval})
			release = func() { _ = bucket.Close() } // nothing was written
		}
	}
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
	return watch(ctx, evaluator, variable, defaults(opts), func() {})
}

func defaults(opts []Option) options {
	o := options{interval: time.Second / 2, logger: slog.Default(), provider: noop.NewMeterProvider()}
	for _, set := range opts {
		set(&o)
	}
	return o
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

// Err returns why what the source holds is not in force, nil if it is.
func (s *Source) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// next waits for a change and puts it in force, if it can be.
func (s *Source) next(ctx context.Context) error {
	snapshot, err := s.variable.Watch(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return s.unavailable(ctx, fmt.Errorf("the policy document cannot be read: %w", err))
	}
	clear(s.told)
	var document []byte
	switch value := snapshot.Value.(type) {
	case []byte:
		document = value
	case string:
		document = []byte(value)
	default:
		return s.report(ctx, Change{Outcome: Refused, Err: fmt.Errorf("the variable holds a %T; it must be decoded to bytes", value)})
	}
	return s.load(ctx, document)
}

// ports are what makes the errors of connections differ that are one and the same.
var ports = regexp.MustCompile(`:[0-9]+`)

// unavailable reports an error of the variable, unless it lasts. Of an outage with
// ever new errors the first ones are reported, and that the variable is closed.
func (s *Source) unavailable(ctx context.Context, err error) error {
	const most = 20
	kind := ports.ReplaceAllString(err.Error(), "")
	if s.told[kind] || len(s.told) == most && !errors.Is(err, runtimevar.ErrClosed) {
		return err
	}
	s.told[kind] = true
	return s.report(ctx, Change{Outcome: Unavailable, Err: err})
}

func (s *Source) load(ctx context.Context, document []byte) error {
	sum := sha256.Sum256(document)
	// After something else, or nothing, was there for a while. Somebody may have
	// loaded other rules by hand meanwhile.
	if sum == s.sum && s.inForce() {
		return s.report(ctx, Change{Outcome: Loaded, Revision: s.revision})
	}
	// What has begun is brought to an end: Close waits for it.
	revision, err := s.evaluator.Load(context.WithoutCancel(ctx), document)
	if err != nil {
		return s.report(ctx, Change{Outcome: Refused, Err: fmt.Errorf("the policy document is refused: %w", err)})
	}
	s.revision, s.sum = revision, sum
	change := Change{Outcome: Loaded, Revision: revision}
	if !policy.IsImage(document) {
		// The rules are in force already; warnings may take their time.
		if report, err := s.evaluator.Validate(context.WithoutCancel(ctx), document); err == nil {
			change.Warnings = report.Warnings
		}
	}
	return s.report(ctx, change)
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
		s.options.changed(c)
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
