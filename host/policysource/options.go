package policysource

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// Option sets one thing about a Source.
type Option func(*options)

type options struct {
	interval time.Duration
	limit    int64
	client   *http.Client
	logger   *slog.Logger
	provider metric.MeterProvider
	changed  func(Change)
}

func defaults(opts []Option) (options, error) {
	o := options{interval: time.Second / 2, limit: 256 << 20, logger: slog.Default(), provider: noop.NewMeterProvider()}
	for _, set := range opts {
		set(&o)
	}
	if o.interval <= 0 {
		return o, fmt.Errorf("the interval must be positive, not %v", o.interval)
	}
	if o.limit <= 0 {
		return o, fmt.Errorf("the size limit must be positive, not %d", o.limit)
	}
	return o, nil
}

// WithInterval sets how often a file, a server or a bucket is looked at, and
// how long after a failure a document is tried again. The default is half a
// second. Other variables are looked at as their drivers have it.
func WithInterval(d time.Duration) Option { return func(o *options) { o.interval = d } }

// WithSizeLimit sets how many bytes a file may have, or what a server answers.
// What has more is not read to its end. The default is 256 MiB. For buckets and
// other variables, which their drivers read, there is no limit.
func WithSizeLimit(bytes int64) Option { return func(o *options) { o.limit = bytes } }

// WithHTTPClient sets the client for http and https. The default gives up after five seconds.
func WithHTTPClient(c *http.Client) Option { return func(o *options) { o.client = c } }

// WithLogger sends reports there. The default is slog.Default.
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.logger = l } }

// WithMeterProvider counts changes there, in keymoat.policy_source.changes with
// the attribute keymoat.outcome. Without it nothing is counted.
func WithMeterProvider(p metric.MeterProvider) Option { return func(o *options) { o.provider = p } }

// OnChange has a function called after each change, the first included, one
// call at a time. It must not call Close.
func OnChange(f func(Change)) Option { return func(o *options) { o.changed = f } }
