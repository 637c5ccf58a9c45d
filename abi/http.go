package abi

import "unsafe"

// HTTPRequest is what is needed of an HTTP request to find the AccessKey id
// that it claims and to judge it. Headers need hold only those that can carry
// a key id; a header that occurs twice is listed twice.
type HTTPRequest struct {
	Target  string       `json:"Target"` // request target as on the wire: path and query
	Headers []HTTPHeader `json:"Headers,omitempty"`

	SourceIP  Addr   `json:"SourceIp"`
	VPCID     string `json:"VpcId,omitempty"`
	AccountID string `json:"AccountId,omitempty"`
	Service   string `json:"Service,omitempty"`
	Action    string `json:"Action,omitempty"`
	Protocol  string `json:"Protocol,omitempty"`

	// DenyMissingAccessKey makes a request without a key id a denial.
	DenyMissingAccessKey bool `json:"DenyMissingAccessKey,omitempty"`
	// DenyFormBody makes a request whose body is a form an error: one of the
	// form's fields may claim a key id, and the body is not read.
	DenyFormBody bool `json:"DenyFormBody,omitempty"`
}

// HTTPHeader is one header line. Names compare without case.
type HTTPHeader struct {
	Name  string `json:"Name"`
	Value string `json:"Value"`
}

// The binary HTTP request is a binary request without an AccessKeyId, its byte
// 2 holding flags in place of that length, and behind it:
//
//	u32  length of the target, then the target
//	u32  number of headers, then for each:
//	     u32 length of the name, u32 length of the value, name, value
//
// Numbers are little-endian, nothing is padded.
const (
	HTTPFlagDenyMissing  = 1 << 0
	HTTPFlagDenyFormBody = 1 << 1

	httpFlags = HTTPFlagDenyMissing | HTTPFlagDenyFormBody
)

// MaxHTTPRequestSize bounds the binary form, at more than any server takes: what
// an instance's memory has grown to it keeps. A host answers StatusTooLarge for
// a larger one.
const MaxHTTPRequestSize = 16 << 20

// Size returns the length of the binary form.
func (r *HTTPRequest) Size() int {
	size := RequestHeaderSize + len(r.VPCID) + len(r.AccountID) + len(r.Service) + len(r.Action) + len(r.Protocol) +
		4 + len(r.Target) + 4
	for i := range r.Headers {
		size += 8 + len(r.Headers[i].Name) + len(r.Headers[i].Value)
	}
	return size
}

// AppendHTTPRequest appends the binary form to b.
func AppendHTTPRequest(b []byte, r *HTTPRequest) ([]byte, Status) {
	// One placeholder byte stands for the key id that is not known yet.
	plain := Request{AccessKeyID: "-", SourceIP: r.SourceIP, VPCID: r.VPCID, AccountID: r.AccountID,
		Service: r.Service, Action: r.Action, Protocol: r.Protocol}
	at := len(b)
	b, s := AppendRequest(b, &plain)
	if s != StatusOK {
		return b[:at], s
	}
	strings := at + RequestHeaderSize
	b = append(b[:strings], b[strings+1:]...)
	b[at+2] = 0
	if r.DenyMissingAccessKey {
		b[at+2] |= HTTPFlagDenyMissing
	}
	if r.DenyFormBody {
		b[at+2] |= HTTPFlagDenyFormBody
	}
	b = appendLength(b, len(r.Target))
	b = append(b, r.Target...)
	b = appendLength(b, len(r.Headers))
	for i := range r.Headers {
		h := &r.Headers[i]
		b = appendLength(b, len(h.Name))
		b = appendLength(b, len(h.Value))
		b = append(b, h.Name...)
		b = append(b, h.Value...)
	}
	return b, StatusOK
}

func appendLength(b []byte, n int) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// DecodeHTTPRequest reads a binary HTTP request that fills b. Its headers are
// appended to headers, so that a caller can keep that slice; its strings alias b.
func DecodeHTTPRequest(b []byte, headers []HTTPHeader) (HTTPRequest, Status) {
	if len(b) < RequestHeaderSize || b[2]&^httpFlags != 0 {
		return HTTPRequest{}, StatusInvalidRequest
	}
	plain, n, s := decodeRequest(b, 0)
	if s != StatusOK {
		return HTTPRequest{}, s
	}
	r := HTTPRequest{SourceIP: plain.SourceIP, VPCID: plain.VPCID, AccountID: plain.AccountID,
		Service: plain.Service, Action: plain.Action, Protocol: plain.Protocol,
		DenyMissingAccessKey: b[2]&HTTPFlagDenyMissing != 0, DenyFormBody: b[2]&HTTPFlagDenyFormBody != 0}
	rest := unsafe.String(&b[0], len(b))[n:]
	// Lengths have 32 bits: no sum of them overflows.
	if len(rest) < 4 || u32(rest) > uint64(len(rest)-4) {
		return HTTPRequest{}, StatusInvalidRequest
	}
	end := 4 + u32(rest)
	r.Target, rest = rest[4:end], rest[end:]
	if len(rest) < 4 {
		return HTTPRequest{}, StatusInvalidRequest
	}
	count := u32(rest)
	rest = rest[4:]
	for ; count > 0; count-- {
		if len(rest) < 8 {
			return HTTPRequest{}, StatusInvalidRequest
		}
		value := 8 + u32(rest)
		end := value + u32(rest[4:])
		if end > uint64(len(rest)) {
			return HTTPRequest{}, StatusInvalidRequest
		}
		headers = append(headers, HTTPHeader{Name: rest[8:value], Value: rest[value:end]})
		rest = rest[end:]
	}
	if rest != "" {
		return HTTPRequest{}, StatusInvalidRequest
	}
	r.Headers = headers
	return r, StatusOK
}

func u32(s string) uint64 {
	_ = s[3]
	return uint64(uint32(s[0]) | uint32(s[1])<<8 | uint32(s[2])<<16 | uint32(s[3])<<24)
}
