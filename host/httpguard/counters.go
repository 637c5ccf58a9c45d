package httpguard

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/denial"
)

// scope is the name of the instrumentation.
const scope = "github.com/keymoat/keymoat/host/httpguard"

// connectionCause is why a connection is not served.
type connectionCause string

const (
	connectionUntrusted connectionCause = "Untrusted" // not from a load balancer
	connectionNoHeader  connectionCause = "NoHeader"  // no PROXY protocol header of version 2 that names a TCP client
)

// counters are what is counted. The attributes are made beforehand, so that
// to count allocates nothing here.
type counters struct {
	decisions, errors, candidates, reportOnly, headers, connections metric.Int64Counter

	ofDecision  [abi.EffectAllow + 1][abi.ReasonMatched + 1][abi.LevelAccessKey + 1][]metric.AddOption
	ofProblem   map[denial.Problem][]metric.AddOption
	ofCandidate [abi.EffectAllow + 1][]metric.AddOption
	ofCause     map[connectionCause][]metric.AddOption
}

func newCounters(m metric.Meter) (c *counters, err error) {
	c = &counters{ofProblem: map[denial.Problem][]metric.AddOption{}, ofCause: map[connectionCause][]metric.AddOption{}}
	for _, counter := range []struct {
		to                      *metric.Int64Counter
		name, unit, description string
	}{
		{&c.decisions, "keymoat.decisions", "{request}", "Requests that were judged."},
		{&c.errors, "keymoat.errors", "{request}", "Requests that could not be judged."},
		{&c.candidates, "keymoat.candidate.disagreements", "{request}", "Requests that the candidate would decide otherwise."},
		{&c.reportOnly, "keymoat.report_only.passed", "{request}", "Requests that would be refused, let through in report-only mode."},
		{&c.headers, "keymoat.vpc_header.removed", "{request}", "Requests that had a VPC header that is not believed; it was removed."},
		{&c.connections, "keymoat.connections.dropped", "{connection}", "Connections without a PROXY protocol header of a load balancer."},
	} {
		if *counter.to, err = m.Int64Counter(counter.name, metric.WithUnit(counter.unit), metric.WithDescription(counter.description)); err != nil {
			return nil, err
		}
	}
	for _, effect := range abi.Effects() {
		for _, reason := range abi.Reasons() {
			for _, level := range abi.Levels() {
				c.ofDecision[effect][reason][level] = with("keymoat.effect", effect.String(), "keymoat.reason", reason.String(), "keymoat.level", level.String())
			}
		}
		c.ofCandidate[effect] = with("keymoat.candidate.effect", effect.String())
	}
	for _, problem := range denial.Problems() {
		c.ofProblem[problem] = with("keymoat.error", problem.String())
	}
	for _, cause := range []connectionCause{connectionUntrusted, connectionNoHeader} {
		c.ofCause[cause] = with("keymoat.cause", string(cause))
	}
	return c, nil
}

// with returns the option that adds attributes, given by name and value.
func with(namesAndValues ...string) []metric.AddOption {
	var all []attribute.KeyValue
	for i := 0; i < len(namesAndValues); i += 2 {
		all = append(all, attribute.String(namesAndValues[i], namesAndValues[i+1]))
	}
	return []metric.AddOption{metric.WithAttributeSet(attribute.NewSet(all...))}
}

func (c *counters) judged(ctx context.Context, j *judgement) {
	if j.problem != denial.NoProblem {
		c.errors.Add(ctx, 1, c.ofProblem[j.problem]...)
		return
	}
	d := &j.decision
	c.decisions.Add(ctx, 1, c.ofDecision[d.Effect][d.Reason][d.Level]...)
}

func (c *counters) candidateDiffers(ctx context.Context, j *judgement) {
	c.candidates.Add(ctx, 1, c.ofCandidate[effectOf(&j.candidate)]...)
}

// effectOf is the effect that a decision has, which is to deny if it is none.
func effectOf(d *abi.Decision) abi.Effect {
	if d.Allowed() {
		return abi.EffectAllow
	}
	return abi.EffectDeny
}

func (c *counters) passed(ctx context.Context)           { c.reportOnly.Add(ctx, 1) }
func (c *counters) vpcHeaderRemoved(ctx context.Context) { c.headers.Add(ctx, 1) }

func (c *counters) connectionDropped(cause connectionCause) {
	c.connections.Add(context.Background(), 1, c.ofCause[cause]...)
}
