package main

import (
	"strings"

	"github.com/keymoat/keymoat/plugin/denial"
)

// settle sees to all that does not become of nearly every request.
func (f *filter) settle(c *config, r *request, allowed bool) (goOn bool) {
	if c.candidate != nil {
		f.compare(c, r, allowed)
	}
	if f.log.verbose {
		f.log.decided(f.host, r)
	}
	if allowed {
		return true
	}
	if c.reportOnly && !r.problem.IsFault() {
		f.log.tell(f.host, wouldRefuse, r)
		f.host.add(f.counters.passed, 1)
		return true
	}
	f.log.tell(f.host, refused, r)
	f.refuse(c, r)
	return false
}

// compare tells when the candidate policy set would decide otherwise. A
// candidate that fails changes nothing for the request.
func (f *filter) compare(c *config, r *request, allowed bool) {
	defer func() {
		if cause := recover(); cause != nil {
			f.host.add(f.counters.candidateFails, 1)
			f.log.fault(f.host, "candidate: "+causeText(cause))
		}
	}()
	would := r.problem == denial.NoProblem && f.counters.allows(r.ask(c, c.candidate))
	switch {
	case would == allowed:
	case would:
		f.host.add(f.counters.candidateAllows, 1)
		f.log.tell(f.host, candidateWouldAllow, r)
	default:
		f.host.add(f.counters.candidateDenies, 1)
		f.log.tell(f.host, candidateWouldRefuse, r)
	}
}

// refuse answers a request that may not go on.
func (f *filter) refuse(c *config, r *request) {
	d := denial.Denial{
		Problem:   r.problem,
		Reason:    r.word.Reason(),
		SourceIP:  r.source.seen,
		VPCID:     r.vpcID,
		RequestID: headerNamed(r.headers, "x-request-id"),
		Host:      headerNamed(r.headers, ":authority"),
	}
	answer := c.answer(&d)
	if isGRPC(headerNamed(r.headers, "content-type")) {
		answer.body = d.AppendMessage(nil) // Envoy makes it the message of the gRPC status
	} else {
		answer.body = c.format.Append(nil, &d)
	}
	f.host.respond(&answer)
}

// isGRPC reports whether Envoy takes a request of this content type for a gRPC
// call, and so makes the answer one.
func isGRPC(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, "application/grpc")
	return ok && (rest == "" || rest[0] == '+')
}

// answer is the answer to a denial, without its body.
func (c *config) answer(d *denial.Denial) response {
	details := d.Problem.String()
	if d.Problem == denial.NoProblem {
		details = d.Reason.String()
	}
	return response{status: d.Status(c.status), headers: c.format.Headers(), details: "keymoat_" + details}
}

// prepareFault makes up the answer to a fault beforehand, since what fails may
// be the making of an answer.
func (c *config) prepareFault() {
	d := denial.Denial{Problem: denial.Internal}
	c.fault = c.answer(&d)
	c.fault.body = c.format.Append(nil, &d)
}

// fault refuses a request that the filter failed on, also in report_only mode.
// It calls nothing that could fail in the same way.
func (f *filter) fault(c *config, cause any) {
	f.host.add(f.counters.problems[denial.Internal], 1)
	f.log.fault(f.host, cause)
	f.host.respond(&c.fault)
}
