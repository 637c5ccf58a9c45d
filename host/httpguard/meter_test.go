package httpguard_test

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// meter is a meter provider that can be read.
type meter struct {
	noop.MeterProvider
	mu     sync.Mutex
	counts map[string]int64
	scopes []string
	names  []string // of the counters
}

func newMeter() *meter { return &meter{counts: map[string]int64{}} }

type provided struct {
	noop.Meter
	of *meter
}

func (m *meter) Meter(name string, _ ...metric.MeterOption) metric.Meter {
	m.scopes = append(m.scopes, name)
	return provided{of: m}
}

func (p provided) Int64Counter(name string, _ ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	p.of.names = append(p.of.names, name)
	return counter{of: p.of, name: name}, nil
}

type counter struct {
	noop.Int64Counter
	of   *meter
	name string
}

func (c counter) Add(_ context.Context, n int64, opts ...metric.AddOption) {
	attributes := metric.NewAddConfig(opts).Attributes()
	c.of.mu.Lock()
	defer c.of.mu.Unlock()
	c.of.counts[c.name+"{"+attributes.Encoded(attribute.DefaultEncoder())+"}"] += n
}

func (m *meter) all() map[string]int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := map[string]int64{}
	for name, n := range m.counts {
		all[name] = n
	}
	return all
}
