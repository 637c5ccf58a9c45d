package policy

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
)

// plainRequest reads a request whose strings are ASCII without escapes, as
// programs write them: in the sandbox the strict reader takes longer than all
// the rest of an evaluation. Where it is not sure it is not ok, and decides
// nothing: a fuzz test holds it to the strict reader, which alone says what a
// request is.
func plainRequest(b []byte) (r abi.Request, ok bool) {
	p := plainReader{rest: unsafe.String(unsafe.SliceData(b), len(b))}
	source := ""
	for more := p.skip('{'); more; {
		var field *string
		switch p.text() {
		case "AccessKeyId":
			field = &r.AccessKeyID
		case "SourceIp":
			field = &source
		case "VpcId":
			field = &r.VPCID
		case "AccountId":
			field = &r.AccountID
		case "Service":
			field = &r.Service
		case "Action":
			field = &r.Action
		case "Protocol":
			field = &r.Protocol
		}
		// A field that is there twice or is empty is not a plain one.
		if field == nil || *field != "" || !p.skip(':') {
			return r, false
		}
		if *field = p.text(); *field == "" || len(*field) > abi.MaxField {
			return r, false
		}
		more = p.skip(',')
	}
	if !p.skip('}') || !p.ended() || !abi.ValidID(r.AccessKeyID) {
		return r, false
	}
	r.SourceIP = abi.ParseSource(source)
	return r, r.SourceIP.IsValid()
}

// plainReader walks over JSON. Its methods skip the white space before what
// they look for; if that is not there, it is not skipped either.
type plainReader struct{ rest string }

func (p *plainReader) space() {
	for p.rest != "" && (p.rest[0] == ' ' || p.rest[0] == '\n' || p.rest[0] == '\r' || p.rest[0] == '\t') {
		p.rest = p.rest[1:]
	}
}

func (p *plainReader) skip(c byte) bool {
	p.space()
	if p.rest == "" || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

func (p *plainReader) ended() bool { p.space(); return p.rest == "" }

// text returns a string of printable ASCII without escapes, "" if there is none.
func (p *plainReader) text() string {
	if !p.skip('"') {
		return ""
	}
	for i := 0; i < len(p.rest); i++ {
		switch c := p.rest[i]; {
		case c == '"':
			s := p.rest[:i]
			p.rest = p.rest[i+1:]
			return s
		case c == '\\' || c < ' ' || c > '~':
			return ""
		}
	}
	return ""
}
