package httpguard

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
)

// Guard judges HTTP requests. It is safe for concurrent use.
type Guard struct {
	evaluator   host.Evaluator
	candidate   host.Evaluator // nil for none
	reportOnly  bool
	service     string
	accountID   string
	denyMissing bool
	denyForms   bool
	format      denial.Format
	status      int
	balancers   blocks // that send PROXY protocol headers; none if nobody does
	forwarded   forwarded
	vpc         vpcSource
	logger      *slog.Logger
	meter       metric.Meter
	counters    *counters
}

// New returns a guard that decides by an evaluator, which stays the caller's:
// it may load other rules at any time, and is closed by whoever made it.
func New(evaluator host.Evaluator, opts ...Option) (*Guard, error) {
	if evaluator == nil {
		return nil, errors.New("httpguard: the evaluator is nil")
	}
	g := &Guard{
		evaluator: evaluator,
		status:    denial.JSON.Status(),
		logger:    slog.Default(),
		meter:     noop.NewMeterProvider().Meter(scope),
	}
	var wrong []error
	for _, set := range opts {
		wrong = append(wrong, set(g))
	}
	if g.vpc.from == vpcTLV && g.balancers == nil {
		wrong = append(wrong, errors.New("a VPC id from the PROXY protocol needs WithProxyProtocol"))
	}
	if err := errors.Join(wrong...); err != nil {
		return nil, fmt.Errorf("httpguard: %w", err)
	}
	var err error
	if g.counters, err = newCounters(g.meter); err != nil {
		return nil, fmt.Errorf("httpguard: %w", err)
	}
	return g, nil
}

// Handler passes requests on to next unless they are refused.
func (g *Guard) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r, passes := g.admit(w, r)
		if passes {
			next.ServeHTTP(w, r)
		}
	})
}

// admit judges a request and answers it if it is refused. The request that it
// returns is the one to pass on: it lacks a VPC header that is not believed.
func (g *Guard) admit(w http.ResponseWriter, r *http.Request) (_ *http.Request, passes bool) {
	var j judgement
	if r, j.vpcHeaderRemoved = g.vpc.withoutUntrustedHeader(r); j.vpcHeaderRemoved {
		g.counters.vpcHeaderRemoved(r.Context())
	}
	g.judge(r, &j)
	var err error
	if j.revision, err = revision(g.evaluator); err != nil && !j.problem.IsFault() {
		j.fail(denial.Internal, err)
	}
	g.counters.judged(r.Context(), &j)
	if g.candidate != nil && j.asked && g.candidateDiffers(r, &j) {
		g.counters.candidateDiffers(r.Context(), &j)
		g.logCandidate(r, &j)
	}
	j.passes = j.allowed() || g.reportOnly && !j.problem.IsFault()
	g.log(r, &j)
	switch {
	case !j.passes:
		g.refuse(w, r, &j)
	case !j.allowed():
		g.counters.passed(r.Context())
	}
	return r, j.passes
}

// judgement is what became of one request.
type judgement struct {
	source source
	vpcID  string
	claim  credential.Claim // what it means depends on claims
	claims credential.Outcome
	form   bool // the body is a form, and forms are refused

	problem  denial.Problem // stands in place of a decision
	cause    error          // of the problem, for the log
	decision abi.Decision
	revision host.Revision // that was in force

	passes           bool // the request goes on
	vpcHeaderRemoved bool
	asked            bool // the evaluator has been asked
	candidate        abi.Decision
	candidateErr     error
}

func (j *judgement) allowed() bool { return j.problem == denial.NoProblem && j.decision.Allowed() }

func (j *judgement) fail(p denial.Problem, cause error) { j.problem, j.cause = p, cause }

// judge finds out what the evaluator needs to know and asks it. At the first
// thing that cannot be read it stops.
func (g *Guard) judge(r *http.Request, j *judgement) {
	defer func() {
		if v := recover(); v != nil {
			j.fail(denial.Internal, panicked(v))
		}
	}()
	g.findClaim(r, j)
	var err error
	if j.source, err = g.forwarded.source(r); err != nil {
		j.fail(denial.InvalidSourceIP, err)
		return
	}
	if j.vpcID, err = g.vpc.idOf(r); err != nil {
		j.fail(denial.InvalidVPCID, err)
		return
	}
	j.asked = true
	if j.decision, err = g.ask(r, j, g.evaluator); err != nil {
		j.fail(problemOf(err), err)
	}
}

// candidateDiffers asks the candidate. Whatever it does, also a panic, has no
// effect on the request.
func (g *Guard) candidateDiffers(r *http.Request, j *judgement) bool {
	func() {
		defer func() {
			if v := recover(); v != nil {
				j.candidateErr = panicked(v)
			}
		}()
		j.candidate, j.candidateErr = g.ask(r, j, g.candidate)
	}()
	if j.candidateErr != nil {
		j.candidate = abi.Decision{}
	}
	return j.candidate.Allowed() != j.allowed()
}

func panicked(v any) error { return fmt.Errorf("panic: %v\n%s", v, debug.Stack()) }

// findClaim finds the AccessKey id that a request claims. It shows the finder
// all headers: which spellings of a name count is the finder's to know.
func (g *Guard) findClaim(r *http.Request, j *judgement) {
	var f credential.Finder
	f.Target(target(r))
	for name, lines := range r.Header {
		for _, line := range lines {
			f.Header(name, line)
		}
	}
	j.claim, j.claims = f.Result()
	j.form = g.denyForms && f.Form()
}

// ask asks an evaluator. A request that claims one key id is what Evaluate
// takes, and it costs a sandbox far less than to read the headers once more.
// What any other means, or a form that is refused, is the evaluator's to say.
func (g *Guard) ask(r *http.Request, j *judgement, evaluator host.Evaluator) (d abi.Decision, err error) {
	if j.claims == credential.One && !j.form {
		d, err = evaluator.Evaluate(r.Context(), abi.Request{
			AccessKeyID: j.claim.AccessKeyID,
			SourceIP:    j.source.ip,
			VPCID:       j.vpcID,
			AccountID:   g.accountID,
			Service:     g.service,
		})
	} else {
		d, err = evaluator.Authorize(r.Context(), abi.HTTPRequest{
			Target:               target(r),
			Headers:              credentialHeaders(r.Header),
			SourceIP:             j.source.ip,
			VPCID:                j.vpcID,
			AccountID:            g.accountID,
			Service:              g.service,
			DenyMissingAccessKey: g.denyMissing,
			DenyFormBody:         g.denyForms,
		})
	}
	if err == nil && !d.Occurs() {
		err = fmt.Errorf("what the evaluator answered is no decision: %v", d)
	}
	return d, err
}

// credentialHeaders are the only headers that leave this package.
func credentialHeaders(h http.Header) (some []abi.HTTPHeader) {
	for name, lines := range h {
		if credential.Reads(name) {
			for _, line := range lines {
				some = append(some, abi.HTTPHeader{Name: name, Value: line})
			}
		}
	}
	return some
}

// target returns the request target as it was sent. If a handler in front has
// changed the query, what the next one will read counts too: a key that is
// named only there, or another one, must not go unseen.
func target(r *http.Request) string {
	_, sent, _ := strings.Cut(r.RequestURI, "?")
	if r.URL == nil || r.URL.RawQuery == sent {
		return r.RequestURI
	}
	return r.RequestURI + "?" + r.URL.RawQuery
}

// problemOf returns what stands in place of a decision after this error.
func problemOf(err error) denial.Problem {
	var status abi.Status
	if errors.As(err, &status) {
		return denial.ProblemOf(status)
	}
	return denial.Internal
}

// blocks are networks that someone is believed from.
type blocks []netip.Prefix

func blocksOf(prefixes []netip.Prefix) (blocks, error) {
	if len(prefixes) == 0 {
		return nil, errors.New("name at least one network to believe")
	}
	all := make(blocks, len(prefixes))
	for i, p := range prefixes {
		const mapped = 96
		if p.Addr().Is4In6() && p.Bits() >= mapped {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
		}
		if !p.IsValid() || p.Addr().Is4In6() {
			return nil, fmt.Errorf("%v is not a network", p)
		}
		all[i] = p.Masked()
	}
	return all, nil
}

func (b blocks) contain(ip netip.Addr) bool {
	for _, p := range b {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// revision returns the revision in force, "" if the evaluator cannot tell. A
// panic of the evaluator is an error.
func revision(evaluator host.Evaluator) (of host.Revision, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicked(v)
		}
	}()
	if e, ok := evaluator.(interface{ Revision() host.Revision }); ok {
		of = e.Revision()
	}
	return of, nil
}
