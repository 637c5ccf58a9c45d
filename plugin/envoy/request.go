package main

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
	"github.com/keymoat/keymoat/plugin/policy"
)

// request is what is known of the request at hand. Its strings last as long as it.
type request struct {
	headers []byte // all of them, as Envoy hands them over
	source  source
	vpcID   string
	claim   credential.Claim // of one AccessKey id, or of the place that cannot be read
	form    bool             // refused because its body is a form

	problem denial.Problem // stands in place of a decision
	word    abi.Word       // the decision

	size    int                          // of the binary request
	encoded [abi.MaxRequestSize + 8]byte // 8 more, for EvaluateEncoded to read behind it
}

// judge finds out what the evaluator needs to know of the request and asks it.
// It stops at the first thing that cannot be read.
func (f *filter) judge(c *config, r *request) {
	r.source, r.vpcID, r.claim, r.form, r.word = source{}, "", credential.Claim{}, false, 0
	r.problem = denial.Internal
	headers, ok := f.host.requestHeaders()
	r.headers = headers
	if !ok {
		return
	}
	injectFault(headers)
	var finder credential.Finder
	reader, method := readHeaders(headers), false
	for {
		name, value, ok := reader.next(c.headers)
		switch {
		case !ok && reader.malformed():
			return
		case ok && name == ":path":
			finder.Target(value)
			continue
		case ok && name == ":method":
			method = true
			continue
		case ok:
			finder.Header(name, value)
			continue
		}
		break
	}
	if !method { // not the headers of a request
		return
	}
	if address, found := f.host.property(sourcePath); found == present {
		r.source.parse(unsafe.String(unsafe.SliceData(address), len(address)))
	}
	if c.vpc.from != vpcNone {
		if p := f.findVPC(c, r); p != denial.NoProblem {
			r.problem = p
			return
		}
	}
	r.claim, _ = finder.Result()
	if c.denyForms && finder.Form() {
		r.form, r.claim = true, credential.Claim{}
	}
	if r.claim.AccessKeyID != "" {
		r.encode(c)
	}
	r.word = r.ask(c, c.evaluator)
	r.problem = denial.ProblemOf(r.word.Status())
}

// encode writes the binary request, as abi/README.md lays it out.
func (r *request) encode(c *config) {
	b := &r.encoded
	b[0], b[1] = r.source.kind, 0
	b[2], b[3] = byte(len(r.claim.AccessKeyID)), byte(len(r.vpcID))
	b[4], b[5] = byte(len(c.accountID)), byte(len(c.service))
	b[6], b[7] = 0, 0
	copy(b[8:], r.source.ip[:])
	n := abi.RequestHeaderSize
	n += copy(b[n:], r.claim.AccessKeyID)
	n += copy(b[n:], r.vpcID)
	n += copy(b[n:], c.accountID)
	r.size = n + copy(b[n:], c.service)
}

// ask asks an evaluator about the request.
func (r *request) ask(c *config, e *policy.Evaluator) abi.Word {
	if r.claim.AccessKeyID == "" {
		return r.askUncommon(c, e)
	}
	word, _ := e.EvaluateEncoded(r.encoded[:r.size])
	return word
}

// askUncommon asks about a request that claims no key, or not one, or whose
// body is a form that is refused.
func (r *request) askUncommon(c *config, e *policy.Evaluator) abi.Word {
	word, _ := e.Authorize(&abi.HTTPRequest{
		Target:               headerNamed(r.headers, ":path"),
		Headers:              allHeaders(r.headers),
		SourceIP:             r.source.addr(),
		VPCID:                r.vpcID,
		AccountID:            c.accountID,
		Service:              c.service,
		DenyMissingAccessKey: c.denyMissing,
		DenyFormBody:         c.denyForms,
	})
	return word
}
