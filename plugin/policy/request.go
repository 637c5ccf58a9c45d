package policy

import (
	"strconv"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/strictjson"
)

var (
	requestFields = []string{"AccessKeyId", "SourceIp", "VpcId", "AccountId", "Service", "Action", "Protocol"}
	httpFields    = []string{"Target", "SourceIp", "VpcId", "AccountId", "Service", "Action", "Protocol", "Headers", "DenyMissingAccessKey", "DenyFormBody"}
	headerFields  = []string{"Name", "Value"}
)

// ParseRequest reads a request from JSON. Unknown, duplicate and misspelt
// fields are errors, so that a typing error cannot widen access. The error is
// an *abi.Error whose message names the place. The strings of the request alias
// the document: they hold only as long as it does not change.
func ParseRequest(document []byte) (abi.Request, error) {
	if r, ok := plainRequest(document); ok {
		return r, nil
	}
	return parseRequest(document)
}

// parseRequest is the strict reader.
func parseRequest(document []byte) (abi.Request, error) {
	var req abi.Request
	r := strictjson.New(document, abi.MaxDepth)
	source := ""
	fields := [...]*string{&req.AccessKeyID, &source, &req.VPCID, &req.AccountID, &req.Service, &req.Action, &req.Protocol}
	for w := r.Object(requestFields, 0); w.Next(); {
		*fields[w.I], _ = r.Text()
	}
	if err := endRequest(r); err != nil {
		return abi.Request{}, err
	}
	if !abi.ValidID(req.AccessKeyID) {
		return abi.Request{}, unreadable(abi.StatusInvalidAccessKeyID, "AccessKeyId", req.AccessKeyID, "1 to 128 letters, digits and . _ = -")
	}
	if err := parseSource(&req, source); err != nil {
		return abi.Request{}, err
	}
	return req, nil
}

// ParseHTTPRequest reads an HTTP request from JSON, as strictly.
func ParseHTTPRequest(document []byte) (abi.HTTPRequest, error) {
	var (
		req   abi.HTTPRequest
		plain abi.Request
	)
	r := strictjson.New(document, abi.MaxDepth)
	source := ""
	const target, headers, denyMissing, denyForm = 0, 7, 8, 9
	fields := [...]*string{&req.Target, &source, &plain.VPCID, &plain.AccountID, &plain.Service, &plain.Action, &plain.Protocol}
	for w := r.Object(httpFields, 1<<target); w.Next(); {
		switch w.I {
		case headers:
			for w := r.Array(); w.Next(); {
				req.Headers = append(req.Headers, readHeader(r))
			}
		case denyMissing:
			req.DenyMissingAccessKey = r.Bool()
		case denyForm:
			req.DenyFormBody = r.Bool()
		default:
			*fields[w.I], _ = r.Text()
		}
	}
	if err := endRequest(r); err != nil {
		return abi.HTTPRequest{}, err
	}
	if err := parseSource(&plain, source); err != nil {
		return abi.HTTPRequest{}, err
	}
	req.SourceIP, req.VPCID, req.AccountID = plain.SourceIP, plain.VPCID, plain.AccountID
	req.Service, req.Action, req.Protocol = plain.Service, plain.Action, plain.Protocol
	return req, nil
}

func readHeader(r *strictjson.Reader) (h abi.HTTPHeader) {
	fields := [...]*string{&h.Name, &h.Value}
	for w := r.Object(headerFields, 3); w.Next(); {
		*fields[w.I], _ = r.Text()
	}
	return h
}

func parseSource(req *abi.Request, source string) error {
	if req.SourceIP = abi.ParseSource(source); !req.SourceIP.IsValid() {
		return unreadable(abi.StatusInvalidSourceIP, "SourceIp", source, "one IPv4 or IPv6 address without port or zone")
	}
	for i, field := range []string{req.VPCID, req.AccountID, req.Service, req.Action, req.Protocol} {
		if len(field) > abi.MaxField {
			return newError(abi.StatusInvalidRequest, "/"+requestFields[i+2]+": longer than "+strconv.Itoa(abi.MaxField)+" bytes")
		}
	}
	return nil
}

// endRequest returns the first thing that is wrong with a request.
func endRequest(r *strictjson.Reader) error {
	r.End()
	if r.Errors.None() {
		return nil
	}
	f, where := r.Errors.First(), ""
	if f.Pointer != "" {
		where = f.Pointer + ": "
	}
	return newError(abi.StatusInvalidRequest, "the request is malformed: "+where+f.Message+" ("+string(f.Code)+")")
}

func unreadable(status abi.Status, field, got, want string) error {
	what := "missing"
	if got != "" {
		what = "not readable"
		if field == "SourceIp" {
			what = strictjson.Quote(got) + " is not readable"
		}
	}
	return newError(status, "/"+field+": "+what+"; it must be "+want)
}

// newError is out of line to keep the guest small.
//
//go:noinline
func newError(status abi.Status, message string) error {
	return &abi.Error{Status: status, Message: message}
}
