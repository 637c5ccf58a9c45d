package main

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keymoat/keymoat/abi"
)

// reader walks a JSON document once and notes all that is wrong with it. After
// a fault of syntax nothing behind that place can be trusted, so it stops.
type reader struct {
	dec      *jsontext.Decoder
	document []byte
	failed   bool
	errors   []abi.Finding
	warnings []abi.Finding
}

func newReader(document []byte) *reader {
	r := &reader{
		document: document,
		// A name that stands twice is a finding like others, not a fault of syntax.
		dec: jsontext.NewDecoder(bytes.NewBuffer(document), jsontext.AllowDuplicateNames(true)),
	}
	if depth(document) > deepest {
		r.fail(errors.New("nested too deep; nothing here has more than " + strconv.Itoa(deepest) + " levels"))
	}
	return r
}

// deepest is how deep a configuration may be nested: as deep as a policy set,
// which lies in it.
const deepest = abi.MaxDepth + 1

// depth is how deep a document is nested, whether it is well formed or not.
func depth(document []byte) (most int) {
	level, inString := 0, false
	for i := 0; i < len(document); i++ {
		switch c := document[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case !inString && (c == '{' || c == '['):
			level++
			most = max(most, level)
		case !inString && (c == '}' || c == ']'):
			level--
		}
	}
	return most
}

// here is the pointer to the value that was read last.
func (r *reader) here() string { return string(r.dec.StackPointer()) }

func (r *reader) error(code abi.FindingCode, message string) {
	r.errors = append(r.errors, abi.Finding{Code: code, Pointer: r.here(), Message: message})
}

func (r *reader) fail(err error) {
	r.failed = true
	pointer, message := r.here(), err.Error()
	if syntactic, ok := err.(*jsontext.SyntacticError); ok {
		pointer = string(syntactic.JSONPointer)
		message = syntactic.Err.Error() + " (at byte " + strconv.FormatInt(syntactic.ByteOffset, 10) + ")"
	} else if err == io.EOF {
		message = "the configuration is empty"
	}
	r.errors = append(r.errors, abi.Finding{Code: abi.CodeSyntax, Pointer: pointer, Message: message})
}

// end checks that nothing follows the document.
func (r *reader) end() {
	if r.failed {
		return
	}
	if _, err := r.dec.ReadToken(); err == nil {
		r.fail(errors.New("something follows the configuration"))
	} else if err != io.EOF {
		r.fail(err)
	}
}

// value reads the next value whole. It is part of the document, nil if there is none.
func (r *reader) value() []byte {
	if r.failed {
		return nil
	}
	v, err := r.dec.ReadValue()
	if err != nil {
		r.fail(err)
		return nil
	}
	end := r.dec.InputOffset()
	return r.document[end-int64(len(v)) : end]
}

// text reads a string.
func (r *reader) text() (s string, ok bool) {
	v := r.value()
	if v == nil {
		return "", false
	}
	if v[0] != '"' {
		r.wrongType("a string")
		return "", false
	}
	b, _ := jsontext.AppendUnquote(nil, v) // the decoder has checked it
	return string(b), true
}

// choice reads one of several strings and returns its place among them.
func (r *reader) choice(options ...string) int {
	s, ok := r.text()
	if !ok {
		return -1
	}
	i := slices.Index(options, s)
	if i < 0 {
		r.error(abi.CodeInvalidValue, "must be one of "+strings.Join(options, ", "))
	}
	return i
}

// integer reads a whole number between two bounds.
func (r *reader) integer(least, most int) int {
	v := r.value()
	if v == nil {
		return 0
	}
	n, err := strconv.Atoi(string(v))
	if err != nil || n < least || n > most {
		r.error(abi.CodeInvalidValue, "must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n
}

// object reads an object whose members may have the given names. For each it
// calls member, which must read the value. It returns the names that occurred,
// or false if there was no object.
func (r *reader) object(names []string, member func(name string)) (seen []string, ok bool) {
	if !r.open('{', "an object") {
		return nil, false
	}
	for !r.failed && r.dec.PeekKind() != '}' {
		name, ok := r.text()
		switch {
		case !ok:
		case !slices.Contains(names, name):
			r.error(abi.CodeUnknownField, "unknown field; the fields here are "+strings.Join(names, ", "))
			r.value()
		case slices.Contains(seen, name):
			r.error(abi.CodeDuplicateField, "the field stands here a second time")
			r.value()
		default:
			seen = append(seen, name)
			member(name)
		}
	}
	r.token()
	return seen, !r.failed
}

// array reads an array. For each element it calls element, which must read it.
func (r *reader) array(element func()) (n int, ok bool) {
	if !r.open('[', "an array") {
		return 0, false
	}
	for ; !r.failed && r.dec.PeekKind() != ']'; n++ {
		element()
	}
	r.token()
	return n, !r.failed
}

func (r *reader) open(bracket jsontext.Kind, what string) bool {
	if r.failed {
		return false
	}
	if r.dec.PeekKind() != bracket {
		if r.value() != nil {
			r.wrongType(what)
		}
		return false
	}
	r.token()
	return true
}

func (r *reader) token() {
	if r.failed {
		return
	}
	if _, err := r.dec.ReadToken(); err != nil {
		r.fail(err)
	}
}

func (r *reader) wrongType(want string) { r.error(abi.CodeWrongType, "must be "+want) }

// require reports the fields that are not among those seen.
func (r *reader) require(seen []string, fields ...string) {
	for _, field := range fields {
		if !slices.Contains(seen, field) {
			r.error(abi.CodeMissingField, "the field "+field+" is missing")
		}
	}
}
