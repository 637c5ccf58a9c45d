package policy

import (
	"strconv"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/strictjson"
)

// The JSON forms of what the guest answers with, written without reflection.
// Tests compare them with what encoding/json makes of the same types.

// writer builds JSON. Its methods are kept out of line: inlined into each of
// their many callers they would make up a tenth of the guest.
type writer struct {
	b     []byte
	comma bool // a member or element has been written, so the next needs one
}

//go:noinline
func (w *writer) raw(s string) { w.b = appendText(w.b, s) }

// open and close write a bracket.
//
//go:noinline
func (w *writer) open(bracket string) { w.raw(bracket); w.comma = false }

//go:noinline
func (w *writer) close(bracket string) { w.raw(bracket); w.comma = true }

// next writes the comma that an element needs.
//
//go:noinline
func (w *writer) next() {
	if w.comma {
		w.raw(",")
	}
	w.comma = true
}

//go:noinline
func (w *writer) name(name string) {
	w.next()
	w.raw(`"`)
	w.raw(name)
	w.raw(`":`)
}

//go:noinline
func (w *writer) text(name, s string) {
	w.name(name)
	w.b = strictjson.AppendQuoted(w.b, s)
}

//go:noinline
func (w *writer) textUnlessEmpty(name, s string) {
	if s != "" {
		w.text(name, s)
	}
}

//go:noinline
func (w *writer) number(name string, n int) {
	w.name(name)
	w.raw(strconv.Itoa(n))
}

//go:noinline
func (w *writer) bool(name string, v bool) {
	w.name(name)
	if v {
		w.raw("true")
	} else {
		w.raw("false")
	}
}

// AppendReport appends the JSON form of a report.
func AppendReport(b []byte, r *abi.Report) []byte {
	w := writer{b: b}
	w.report(r)
	return w.b
}

func (w *writer) report(r *abi.Report) {
	w.open("{")
	w.bool("Valid", r.Valid)
	w.findings("Errors", r.Errors)
	w.findings("Warnings", r.Warnings)
	w.close("}")
}

func (w *writer) findings(name string, all []abi.Finding) {
	w.name(name)
	w.open("[")
	for i := range all {
		w.next()
		w.open("{")
		w.text("Code", string(all[i].Code))
		w.text("Pointer", all[i].Pointer)
		w.text("Message", all[i].Message)
		w.close("}")
	}
	w.close("]")
}

// AppendError appends the JSON form of an error: {"Error":{"Code","Message"}},
// with the report of an invalid document.
func AppendError(b []byte, err error) ([]byte, abi.Status) {
	e := asError(err)
	w := writer{b: b}
	w.open("{")
	w.name("Error")
	w.open("{")
	w.text("Code", e.Status.String())
	w.text("Message", e.Text())
	if e.Report != nil {
		w.name("Report")
		w.report(e.Report)
	}
	w.close("}")
	w.close("}")
	return w.b, e.Status
}

func asError(err error) *abi.Error {
	switch e := err.(type) {
	case *abi.Error:
		return e
	case abi.Status:
		return &abi.Error{Status: e}
	}
	return &abi.Error{Status: abi.StatusInternal, Message: err.Error()}
}

// AppendTrace appends the JSON form of a trace.
func AppendTrace(b []byte, t *abi.Trace) []byte {
	w := writer{b: b}
	w.open("{")
	w.name("Request")
	w.open("{")
	r := &t.Request
	w.text("AccessKeyId", r.AccessKeyID)
	w.text("SourceIp", r.SourceIP.String())
	w.textUnlessEmpty("VpcId", r.VPCID)
	w.textUnlessEmpty("AccountId", r.AccountID)
	w.textUnlessEmpty("Service", r.Service)
	w.textUnlessEmpty("Action", r.Action)
	w.textUnlessEmpty("Protocol", r.Protocol)
	w.close("}")
	w.name("Decision")
	w.b = t.Decision.AppendJSON(w.b)
	w.text("Revision", t.Revision)
	w.name("Steps")
	w.open("[")
	for i := range t.Steps {
		s := &t.Steps[i]
		w.next()
		w.open("{")
		w.text("Step", string(s.Step))
		w.text("Answer", s.Answer)
		w.textUnlessEmpty("Reason", s.Reason)
		w.textUnlessEmpty("Account", s.Account)
		w.textUnlessEmpty("Level", s.Level)
		if len(s.Statements) > 0 {
			w.name("Statements")
			w.open("[")
			for i := range s.Statements {
				s := &s.Statements[i]
				w.next()
				w.open("{")
				w.number("Statement", s.Statement)
				w.text("Type", s.Type)
				w.textUnlessEmpty("Value", s.Value)
				w.text("Verdict", string(s.Verdict))
				w.textUnlessEmpty("Entry", s.Entry)
				w.close("}")
			}
			w.close("]")
		}
		w.close("}")
	}
	w.close("]")
	w.close("}")
	return w.b
}

// AppendInfo appends the JSON form of what an evaluator, nil for none, holds.
func AppendInfo(b []byte, e *Evaluator) []byte {
	w := writer{b: b}
	w.open("{")
	w.text("Release", abi.Release)
	w.text("ABI", strconv.Itoa(abi.VersionMajor)+"."+strconv.Itoa(abi.VersionMinor))
	w.bool("Loaded", e != nil)
	if e != nil {
		w.number("Accounts", e.Accounts())
		w.number("AccessKeys", e.AccessKeys())
		w.number("ImageBytes", len(e.image))
	}
	w.close("}")
	return w.b
}
