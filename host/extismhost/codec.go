package extismhost

import (
	"bytes"
	"net/netip"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keymoat/keymoat/abi"
)

// The JSON of the hot path, written and read without reflection.

// appendRequest appends a request. It refuses what host.Engine refuses, and text
// that JSON cannot hold.
func appendRequest(b []byte, req *abi.Request) ([]byte, error) {
	var buffer [abi.MaxRequestSize]byte
	if _, status := abi.PutRequest(buffer[:], req); status != abi.StatusOK {
		return b, status
	}
	if !utf8.ValidString(req.AccessKeyID) {
		return b, abi.StatusInvalidAccessKeyID
	}
	b = append(b, `{"AccessKeyId":`...)
	b, _ = jsontext.AppendQuote(b, req.AccessKeyID)
	b, err := appendCircumstances(b, req)
	if err != nil {
		return b, err
	}
	return append(b, '}'), nil
}

func appendHTTPRequest(b []byte, req *abi.HTTPRequest) ([]byte, error) {
	plain := abi.Request{AccessKeyID: "-", SourceIP: req.SourceIP, VPCID: req.VPCID, AccountID: req.AccountID,
		Service: req.Service, Action: req.Action, Protocol: req.Protocol}
	var buffer [abi.MaxRequestSize]byte
	if _, status := abi.PutRequest(buffer[:], &plain); status != abi.StatusOK {
		return b, status
	}
	if req.Size() > abi.MaxHTTPRequestSize {
		return b, abi.StatusTooLarge
	}
	valid := utf8.ValidString(req.Target)
	for _, h := range req.Headers {
		valid = valid && utf8.ValidString(h.Name) && utf8.ValidString(h.Value)
	}
	if !valid {
		return b, errEncoding
	}
	b = append(b, `{"Target":`...)
	b, _ = jsontext.AppendQuote(b, req.Target)
	b = append(b, `,"Headers":[`...)
	for n, h := range req.Headers {
		if n > 0 {
			b = append(b, ',')
		}
		b = append(b, `{"Name":`...)
		b, _ = jsontext.AppendQuote(b, h.Name)
		b = append(b, `,"Value":`...)
		b, _ = jsontext.AppendQuote(b, h.Value)
		b = append(b, '}')
	}
	b = append(b, ']')
	b, err := appendCircumstances(b, &plain)
	if err != nil {
		return b, err
	}
	if req.DenyMissingAccessKey {
		b = append(b, `,"DenyMissingAccessKey":true`...)
	}
	if req.DenyFormBody {
		b = append(b, `,"DenyFormBody":true`...)
	}
	return append(b, '}'), nil
}

var errEncoding = &abi.Error{Status: abi.StatusInvalidRequest, Message: "a request must be UTF-8"}

// appendCircumstances appends what both kinds of request have.
func appendCircumstances(b []byte, req *abi.Request) ([]byte, error) {
	b = append(b, `,"SourceIp":"`...)
	b = req.SourceIP.AppendTo(b)
	b = append(b, '"')
	for _, field := range [...]struct{ name, value string }{
		{`,"VpcId":`, req.VPCID}, {`,"AccountId":`, req.AccountID}, {`,"Service":`, req.Service},
		{`,"Action":`, req.Action}, {`,"Protocol":`, req.Protocol},
	} {
		if field.value == "" {
			continue
		}
		if !utf8.ValidString(field.value) {
			return b, errEncoding
		}
		b = append(b, field.name...)
		b, _ = jsontext.AppendQuote(b, field.value)
	}
	return b, nil
}

// fill adds white space up to a multiple of eight bytes: what is beyond one would
// take the plug-in a call of the host for each byte.
func fill(b []byte) []byte {
	const spaces = "       "
	return append(b, spaces[:-len(b)&7]...)
}

// readDecision reads exactly what abi.Decision.AppendJSON writes, and white
// space behind it.
func readDecision(b []byte) (d abi.Decision, ok bool) {
	b = bytes.TrimRight(b, " ")
	effect, _ := member(b, `"Effect":"`)
	reason, _ := member(b, `"Reason":"`)
	level, _ := member(b, `"Level":"`)
	network, _ := member(b, `"Network":"`)
	if d.Effect.UnmarshalText(effect) != nil || d.Reason.UnmarshalText(reason) != nil ||
		d.Level.UnmarshalText(level) != nil || d.Network.UnmarshalText(network) != nil {
		return abi.Decision{}, false
	}
	if entry, found := member(b, `"Entry":"`); found {
		statement, _, _ := bytes.Cut(after(b, `"Statement":`), []byte{','})
		var err error
		if d.Statement, err = strconv.Atoi(string(statement)); err != nil {
			return abi.Decision{}, false
		}
		if d.Entry, err = netip.ParsePrefix(string(entry)); err != nil {
			return abi.Decision{}, false
		}
	}
	// No other text has the same decision.
	var buffer [256]byte
	if !bytes.Equal(d.AppendJSON(buffer[:0]), b) {
		return abi.Decision{}, false
	}
	return d, true
}

func member(b []byte, name string) (value []byte, found bool) {
	value, _, found = bytes.Cut(after(b, name), []byte{'"'})
	return value, found
}

func after(b []byte, name string) []byte {
	_, rest, _ := bytes.Cut(b, []byte(name))
	return rest
}
