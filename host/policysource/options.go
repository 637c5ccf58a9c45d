package policysource

import (
	"log/slog"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/metric"
)

// Option sets one thing about a Source.
type Option func(*options)

type options struct {
	interval time.Duration
	client   *http.Client
	logger   *slog.Logger
	provider metric.MeterProvider
	changed  func(Change)
}

// WithInterval sets how often a file, a server or a bucket is looked at. The
// default is half a second. Other variables have an interval of their own.
func WithInterval(d time.Duration) Option { return func(o *options) { o.interval = d } }

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
