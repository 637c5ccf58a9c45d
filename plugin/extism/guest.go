// Command extism is keymoat-extism.wasm: the evaluator as an Extism plug-in,
// for every language that has an Extism SDK. README.md lists its functions.
//
// It only translates bytes; every decision is made in package policy. This
// file is the translation and is tested natively; exports.go, built for
// WebAssembly alone, moves the bytes in and out.
package main

import (
	"bytes"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

func main() {}

// guest is the state of one instance. Calls never overlap: a WebAssembly
// instance has one thread.
type guest struct {
	evaluator *policy.Evaluator
	// config returns the value of the manifest's config key policy_set, "" for
	// none. It is asked once, by the first call that needs rules, and never
	// after a load that succeeded: the manifest is where an instance begins.
	config     func() string
	configured bool
	configErr  error // why its policy set could not be loaded
}

// function is what an export does: it appends its answer to out. The input is
// its own to keep.
type function func(g *guest, out, input []byte) ([]byte, error)

// answer calls a function. An error becomes the JSON that explains it, with the
// status that it is of; a panic becomes StatusInternal, since a Go guest that
// trapped looks usable afterwards and is not.
func (g *guest) answer(call function, out, input []byte) (answer []byte, s abi.Status) {
	defer func() {
		if recover() != nil {
			answer, s = policy.AppendError(out, abi.StatusInternal)
		}
	}()
	answer, err := call(g, out, input)
	if err == nil {
		return answer, abi.StatusOK
	}
	return policy.AppendError(out, err)
}

// rules returns the evaluator in force.
func (g *guest) rules() (*policy.Evaluator, error) {
	if g.evaluator != nil {
		return g.evaluator, nil
	}
	if !g.configured {
		g.configured = true
		g.configErr = abi.StatusNotLoaded
		if document := g.config(); document != "" {
			g.evaluator, g.configErr = policy.Load([]byte(document))
		}
	}
	return g.evaluator, g.configErr
}

// load replaces the rules; on error the former ones stay. It keeps the input.
func (g *guest) load(out, input []byte) ([]byte, error) {
	e, err := policy.Load(input)
	if err != nil {
		return nil, err
	}
	g.evaluator = e
	return appendRevision(out, e), nil
}

func (g *guest) revision(out, _ []byte) ([]byte, error) {
	e, err := g.rules()
	if err != nil {
		return nil, err
	}
	return appendRevision(out, e), nil
}

// appendRevision appends {"Revision":"…"}, whose digits need no escaping.
func appendRevision(out []byte, e *policy.Evaluator) []byte {
	out = append(out, `{"Revision":"`...)
	out = append(out, e.Revision()...)
	return append(out, `"}`...)
}

// validate answers with the report, also of a document that is not valid: that
// is what was asked for.
func (g *guest) validate(out, input []byte) ([]byte, error) {
	report := policy.Validate(input)
	return policy.AppendReport(out, &report), nil
}

func (g *guest) compile(_, input []byte) ([]byte, error) {
	image, _, err := policy.Compile(input)
	return image, err
}

func (g *guest) evaluate(out, input []byte) ([]byte, error) {
	e, err := g.rules()
	if err != nil {
		return nil, err
	}
	out, err = appendDecision(out, e, input)
	return fill(out), err
}

// fill adds white space, which JSON may end with, up to a multiple of eight
// bytes. A byte beyond one takes as long to hand over as eight do.
func fill(out []byte) []byte {
	const spaces = "       "
	return append(out, spaces[:-len(out)&7]...)
}

func appendDecision(out []byte, e *policy.Evaluator, request []byte) ([]byte, error) {
	r, err := policy.ParseRequest(request)
	if err != nil {
		return nil, err
	}
	d, s := e.Evaluate(&r).Decision(r.SourceIP)
	if s != abi.StatusOK {
		return nil, s
	}
	return d.AppendJSON(out), nil
}

// evaluateBatch judges one request a line and answers with as many lines. A
// request in error has its error on its line, and does not disturb the others.
func (g *guest) evaluateBatch(out, input []byte) ([]byte, error) {
	e, err := g.rules()
	if err != nil {
		return nil, err
	}
	input = bytes.TrimRight(input, " ") // which an input may be filled up with
	for line := range bytes.Lines(input) {
		// An array on a line would be one answer to many questions: ParseRequest
		// refuses it, as it does an empty line.
		answer, err := appendDecision(out, e, line)
		if err != nil {
			answer, _ = policy.AppendError(out, err)
		}
		out = append(answer, '\n')
	}
	return out, nil
}

func (g *guest) explain(out, input []byte) ([]byte, error) {
	e, err := g.rules()
	if err != nil {
		return nil, err
	}
	r, err := policy.ParseRequest(input)
	if err != nil {
		return nil, err
	}
	trace, err := e.Explain(r)
	if err != nil {
		return nil, err
	}
	return policy.AppendTrace(out, &trace), nil
}

func (g *guest) authorize(out, input []byte) ([]byte, error) {
	e, err := g.rules()
	if err != nil {
		return nil, err
	}
	r, err := policy.ParseHTTPRequest(input)
	if err != nil {
		return nil, err
	}
	word, _ := e.Authorize(&r)
	d, s := word.Decision(r.SourceIP)
	if s != abi.StatusOK {
		return nil, s
	}
	return fill(d.AppendJSON(out)), nil
}
