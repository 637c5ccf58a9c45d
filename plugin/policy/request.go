package policy

import (
	"github.com/keymoat/keymoat/abi"
)

var (
	requestFields = []string{"AccessKeyId", "SourceIp", "VpcId", "AccountId", "Service", "Action", "Protocol"}
	httpFields    = []string{"Target", "SourceIp", "VpcId", "AccountId", "Service", "Action", "Protocol", "Headers", "DenyMissingAccessKey"}
	headerFields  = []string{"Name", "Value"}
)

// ParseRequest reads a request from JSON. Unknown, duplicate and misspelt
// fields are errors, so that a typing error cannot widen access. The error is
// an *abi.Error whose message names the place.
func ParseRequest(document []byte) (abi.Request, error) {
	var req abi.Request
	r := newReader(document)
	source := ""
	r.object(requestFields, func(i int) {
		field := [...]*string{&req.AccessKeyID, &source, &req.VPCID, &req.AccountID, &req.Service, &req.Action, &req.Protocol}[i]
		*field, _ = r.text()
	})
	r.end()
	if !r.errors.none() {
		return abi.Request{}, requestError(r.errors.kept[0])
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
	r := newReader(document)
	source := ""
	seen, _ := r.object(httpFields, func(i int) {
		switch httpFields[i] {
		case "Headers":
			r.array(func(int) { req.Headers = append(req.Headers, r.header()) })
		case "DenyMissingAccessKey":
			v := r.value()
			if !r.failed && v[0] != 't' && v[0] != 'f' {
				r.wrongType("a boolean", v)
			}
			req.DenyMissingAccessKey = !r.failed && v[0] == 't'
		default:
			field := [...]*string{&req.Target, &source, &plain.VPCID, &plain.AccountID, &plain.Service, &plain.Action, &plain.Protocol}[i]
			*field, _ = r.text()
		}
	})
	r.require(httpFields, seen, 1)
	r.end()
	if !r.errors.none() {
		return abi.HTTPRequest{}, requestError(r.errors.kept[0])
	}
	if err := parseSource(&plain, source); err != nil {
		return abi.HTTPRequest{}, err
	}
	req.SourceIP, req.VPCID, req.AccountID = plain.SourceIP, plain.VPCID, plain.AccountID
	req.Service, req.Action, req.Protocol = plain.Service, plain.Action, plain.Protocol
	return req, nil
}

func (r *reader) header() (h abi.HTTPHeader) {
	seen, ok := r.object(headerFields, func(i int) {
		field := [...]*string{&h.Name, &h.Value}[i]
		*field, _ = r.text()
	})
	if ok {
		r.require(headerFields, seen, 3)
	}
	return h
}

func parseSource(req *abi.Request, source string) error {
	if req.SourceIP = abi.ParseSource(source); !req.SourceIP.IsValid() {
		return unreadable(abi.StatusInvalidSourceIP, "SourceIp", source, "one IPv4 or IPv6 address without port or zone")
	}
	for i, field := range []string{req.VPCID, req.AccountID, req.Service, req.Action, req.Protocol} {
		if len(field) > abi.MaxField {
			return &abi.Error{Status: abi.StatusInvalidRequest, Message: "/" + requestFields[i+2] + ": longer than " + decimal(abi.MaxField) + " bytes"}
		}
	}
	return nil
}

func requestError(f abi.Finding) error {
	where := ""
	if f.Pointer != "" {
		where = f.Pointer + ": "
	}
	return &abi.Error{Status: abi.StatusInvalidRequest, Message: "the request is malformed: " + where + f.Message + " (" + string(f.Code) + ")"}
}

func unreadable(status abi.Status, field, got, want string) error {
	what := "missing"
	if got != "" {
		what = "not readable"
		if field == "SourceIp" {
			what = quote(got) + " is not readable"
		}
	}
	return &abi.Error{Status: status, Message: "/" + field + ": " + what + "; it must be " + want}
}
