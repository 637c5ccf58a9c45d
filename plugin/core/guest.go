// Command core is keymoat.wasm: the evaluator behind the keymoat ABI, built as
// a WASI reactor by `make plugin`. abi/README.md is the contract that it keeps.
//
// It only translates bytes; every decision is made in package policy. This
// file is the translation and is tested natively; exports.go, built for
// WebAssembly alone, turns pointers into slices and back.
package main

import (
	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

func main() {}

// guest is the state of one instance. Calls never overlap: a WebAssembly
// instance has one thread.
type guest struct {
	evaluator *policy.Evaluator
	request   [abi.RequestBufferSize]byte
	// result is what keymoat_result points to. Keeping it here also keeps it
	// from the garbage collector while the host reads it.
	result  []byte
	headers []abi.HTTPHeader // reused by authorize
}

// call runs a method on the bytes that it is given, with an empty result to
// begin with. It recovers: a panic becomes StatusInternal, since a Go guest
// that trapped looks usable afterwards and is not.
func (g *guest) call(method func(*guest, []byte) abi.Status, b []byte) (s abi.Status) {
	defer func() {
		if recover() != nil {
			s = abi.StatusInternal
		}
	}()
	g.result = g.result[:0]
	return method(g, b)
}

// recovered is call's recovery, for the methods that return a word.
func recovered(w *uint64) {
	if recover() != nil {
		*w = uint64(abi.ErrorWord(abi.StatusInternal))
	}
}

// fail makes an error the result, as JSON, and returns its status. It is out of
// line to keep the guest small.
//
//go:noinline
func (g *guest) fail(err error) (s abi.Status) {
	g.result, s = policy.AppendError(g.result[:0], err)
	return s
}

// load replaces the rules; on error the former ones stay. It keeps b.
func (g *guest) load(b []byte) abi.Status {
	e, err := policy.Load(b)
	if err != nil {
		return g.fail(err)
	}
	g.evaluator = e
	return abi.StatusOK
}

func (g *guest) compile(b []byte) abi.Status {
	image, _, err := policy.Compile(b)
	if err != nil {
		return g.fail(err)
	}
	g.result = image
	return abi.StatusOK
}

func (g *guest) validate(b []byte) abi.Status {
	report := policy.Validate(b)
	g.result = policy.AppendReport(g.result, &report)
	if !report.Valid {
		return abi.StatusInvalidDocument
	}
	return abi.StatusOK
}

// evaluate judges the request in the first length bytes of the request buffer.
//
// It alone does not recover: deferring takes a tenth of an evaluation, and
// nothing on its way can panic. Bounds are known, the image is verified, and
// the reads of both are unchecked, so that a fault could only be a trap, which
// no Go code sees. What may panic, reading an address given as text, is
// deferred to evaluateText.
func (g *guest) evaluate(length uint32) uint64 {
	if length > abi.RequestBufferSize {
		return uint64(abi.ErrorWord(abi.StatusInvalidArgument))
	}
	if g.request[0] == abi.SourceText {
		return g.evaluateText(length)
	}
	word, n := g.evaluator.EvaluateEncoded(g.request[:length])
	if n != int(length) {
		word = abi.ErrorWord(abi.StatusInvalidRequest)
	}
	return uint64(word)
}

func (g *guest) evaluateText(length uint32) (w uint64) {
	defer recovered(&w)
	word, n := g.evaluator.EvaluateEncoded(g.request[:length])
	if n != int(length) {
		word = abi.ErrorWord(abi.StatusInvalidRequest)
	}
	return uint64(word)
}

// evaluateBatch judges count requests that stand one behind the other in b.
// The result is as many words; a request in error has its status in its word.
func (g *guest) evaluateBatch(b []byte, count uint32) abi.Status {
	if g.evaluator == nil {
		return g.fail(abi.StatusNotLoaded)
	}
	if uint64(count)*abi.RequestHeaderSize > uint64(len(b)) {
		return g.fail(abi.StatusInvalidRequest)
	}
	for range count {
		word, n := g.evaluator.EvaluateEncoded(b)
		if n == 0 { // where the next one begins cannot be known
			return g.fail(abi.StatusInvalidRequest)
		}
		g.result = word.Append(g.result)
		b = b[n:]
	}
	if len(b) > 0 {
		return g.fail(abi.StatusInvalidRequest)
	}
	return abi.StatusOK
}

func (g *guest) evaluateJSON(b []byte) abi.Status {
	if g.evaluator == nil {
		return g.fail(abi.StatusNotLoaded)
	}
	r, err := policy.ParseRequest(b)
	if err != nil {
		return g.fail(err)
	}
	d, s := g.evaluator.Evaluate(&r).Decision(r.SourceIP)
	if s != abi.StatusOK {
		return g.fail(s)
	}
	g.result = d.AppendJSON(g.result)
	return abi.StatusOK
}

func (g *guest) explain(b []byte) abi.Status {
	if g.evaluator == nil {
		return g.fail(abi.StatusNotLoaded)
	}
	r, err := policy.ParseRequest(b)
	if err != nil {
		return g.fail(err)
	}
	trace, err := g.evaluator.Explain(r)
	if err != nil {
		return g.fail(err)
	}
	g.result = policy.AppendTrace(g.result, &trace)
	return abi.StatusOK
}

// authorize judges a binary HTTP request. The result is the key id that it claims.
func (g *guest) authorize(b []byte) (w uint64) {
	defer recovered(&w)
	g.result = g.result[:0]
	r, s := abi.DecodeHTTPRequest(b, g.headers[:0])
	g.headers = r.Headers
	if s != abi.StatusOK {
		return uint64(abi.ErrorWord(s))
	}
	word, id := g.evaluator.Authorize(&r)
	g.result = append(g.result, id...)
	return uint64(word)
}

func (g *guest) revision([]byte) abi.Status {
	if g.evaluator == nil {
		return g.fail(abi.StatusNotLoaded)
	}
	g.result = append(g.result, g.evaluator.Revision()...)
	return abi.StatusOK
}

func (g *guest) info([]byte) abi.Status {
	g.result = policy.AppendInfo(g.result[:0], g.evaluator)
	return abi.StatusOK
}
