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
	f.log.refused(f.host, c, r)
	if c.reportOnly {
		f.host.add(f.counters.passed, 1)
		return true
	}
	f.refuse(c, r)
	return false
}

// compare tells when the candidate policy set would decide otherwise.
func (f *filter) compare(c *config, r *request, allowed bool) {
	would := r.problem == denial.NoProblem && f.counters.allows(r.ask(c, c.candidate))
	switch {
	case would == allowed:
		return
	case would:
		f.host.add(f.counters.candidateAllows, 1)
	default:
		f.host.add(f.counters.candidateDenies, 1)
	}
	f.log.differs(f.host, r, would)
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
	answer := response{status: c.status, contentType: c.format.ContentType(), details: "keymoat_" + d.Reason.String()}
	if d.Problem != denial.NoProblem {
		answer.status, answer.details = 403, "keymoat_"+d.Problem.String()
	}
	if strings.HasPrefix(headerNamed(r.headers, "content-type"), "application/grpc") {
		answer.body = d.AppendMessage(nil) // Envoy makes it the message of the gRPC status
	} else {
		answer.body = c.format.Append(nil, &d)
	}
	f.host.respond(&answer)
}

// fault ends a request that the filter failed on. It calls nothing that could
// fail in the same way.
func (f *filter) fault(cause any) (goOn bool) {
	f.host.add(f.counters.problems[denial.Internal], 1)
	f.log.fault(f.host, cause)
	if f.config != nil && f.config.reportOnly {
		return true
	}
	f.host.respond(&faultResponse)
	return false
}

// faultResponse is made up beforehand, since what failed may be the making of
// an answer.
var faultResponse = response{
	status:      403,
	contentType: denial.Plain.ContentType(),
	body:        denial.Plain.Append(nil, &denial.Denial{Problem: denial.Internal}),
	details:     "keymoat_" + denial.Internal.String(),
}
