package policy

import (
	"bytes"
	"errors"
	"io"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keymoat/keymoat/abi"
)

// reader walks a JSON document once, front to back, and reports all that is
// wrong with it. After a fault of syntax it is failed: nothing behind that
// place can be trusted, so everything stops there.
type reader struct {
	dec      *jsontext.Decoder
	document []byte
	failed   bool
	errors   findings
	warnings findings
}

func newReader(document []byte) *reader {
	return &reader{
		document: document,
		// Duplicate names are a finding like others here, not a fault of syntax.
		dec: jsontext.NewDecoder(bytes.NewBuffer(document), jsontext.AllowDuplicateNames(true)),
	}
}

// here is the pointer to the value that was read last.
func (r *reader) here() string { return string(r.dec.StackPointer()) }

func (r *reader) error(code abi.FindingCode, message string) { r.find(&r.errors, code, message) }
func (r *reader) warn(code abi.FindingCode, message string)  { r.find(&r.warnings, code, message) }

// find adds a finding about the value that was read last.
func (r *reader) find(f *findings, code abi.FindingCode, message string) {
	pointer := ""
	if !f.full() { // else only their number matters
		pointer = r.here()
	}
	f.add(code, pointer, message)
}

// fail records a fault of syntax.
func (r *reader) fail(err error) {
	if r.failed {
		return
	}
	r.failed = true
	pointer, offset, message := r.here(), r.dec.InputOffset(), err.Error()
	switch syntactic, ok := err.(*jsontext.SyntacticError); {
	case ok:
		pointer, offset, message = string(syntactic.JSONPointer), syntactic.ByteOffset, syntactic.Err.Error()
		if syntactic.Err == io.ErrUnexpectedEOF {
			message = "the document ends in the middle; it may be cut off"
		}
	case err == io.EOF:
		message = "the document is empty"
	}
	if encoding := foreignEncoding(r.document); encoding != "" {
		message = "the document is " + encoding + "; save it as UTF-8 without a byte order mark"
	}
	r.errors.add(abi.CodeSyntax, pointer, message+" (at byte "+decimal(int(offset))+")")
}

func foreignEncoding(b []byte) string {
	switch {
	case len(b) >= 3 && b[0] == 0xef && b[1] == 0xbb && b[2] == 0xbf:
		return "preceded by a byte order mark"
	case len(b) >= 2 && (b[0] == 0xff && b[1] == 0xfe || b[0] == 0xfe && b[1] == 0xff),
		len(b) >= 2 && (b[0] == 0 || b[1] == 0):
		return "UTF-16 or UTF-32"
	}
	return ""
}

// end checks that nothing follows the value.
func (r *reader) end() {
	if r.failed {
		return
	}
	if _, err := r.dec.ReadToken(); err == nil {
		r.fail(errors.New("something follows the document"))
	} else if err != io.EOF {
		r.fail(err)
	}
}

// value reads the next value whole. It is part of the document, not a copy.
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

func (r *reader) skip() {
	if r.failed {
		return
	}
	if err := r.dec.SkipValue(); err != nil {
		r.fail(err)
	}
}

// text reads a string. Without escapes it aliases the document.
func (r *reader) text() (s string, ok bool) {
	v := r.value()
	if r.failed {
		return "", false
	}
	if v[0] != '"' {
		r.wrongType("a string", v)
		return "", false
	}
	return unquote(v), true
}

func unquote(quoted []byte) string {
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return unsafe.String(unsafe.SliceData(inner), len(inner))
	}
	// The decoder has checked the escapes.
	plain, _ := jsontext.AppendUnquote(nil, quoted)
	return string(plain)
}

func (r *reader) wrongType(want string, got []byte) {
	if !r.failed {
		r.error(abi.CodeWrongType, "must be "+want+", not "+kindName(got))
	}
}

func kindName(value []byte) string {
	switch value[0] {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	}
	return "a number"
}

// object reads an object whose members may have the given names. For each
// that occurs the first time it calls member with the name's index; member
// must read the value. It returns a set of the names that occurred, or false
// if there was no object.
func (r *reader) object(names []string, member func(i int)) (seen uint, ok bool) {
	if r.failed {
		return 0, false
	}
	if r.dec.PeekKind() != '{' {
		if v := r.value(); !r.failed {
			r.wrongType("an object", v)
		}
		return 0, false
	}
	r.token()
	for !r.failed && r.dec.PeekKind() != '}' {
		quoted := r.value()
		if r.failed {
			break
		}
		i := indexOf(names, unquote(quoted))
		switch {
		case i < 0:
			r.error(abi.CodeUnknownField, "unknown field "+quote(unquote(quoted))+"; the fields here are "+list2text(names))
			r.skip()
		case seen&(1<<i) != 0:
			r.error(abi.CodeDuplicateField, "the field "+quote(names[i])+" stands here a second time")
			r.skip()
		default:
			seen |= 1 << i
			member(i)
		}
	}
	r.token()
	return seen, !r.failed
}

// array calls element for each element until the array ends; element must
// read it. It returns the number of elements, or false if there was no array.
func (r *reader) array(element func(i int)) (n int, ok bool) {
	if r.failed {
		return 0, false
	}
	if r.dec.PeekKind() != '[' {
		if v := r.value(); !r.failed {
			r.wrongType("an array", v)
		}
		return 0, false
	}
	r.token()
	for ; !r.failed && r.dec.PeekKind() != ']'; n++ {
		element(n)
	}
	r.token()
	return n, !r.failed
}

func (r *reader) token() {
	if r.failed {
		return
	}
	if _, err := r.dec.ReadToken(); err != nil {
		r.fail(err)
	}
}

// require reports the names of the set want that were not seen.
func (r *reader) require(names []string, seen, want uint) {
	for i, name := range names {
		if want&^seen&(1<<i) != 0 {
			r.error(abi.CodeMissingField, "the field \""+name+"\" is missing")
		}
	}
}

func indexOf(names []string, name string) int {
	for i := range names {
		if names[i] == name {
			return i
		}
	}
	return -1
}

func list2text(names []string) string {
	var text []byte
	for i, name := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			text = append(text, " and "...)
		default:
			text = append(text, ", "...)
		}
		text = append(text, name...)
	}
	return string(text)
}

// quote cites a piece of a document in a message, cut so that a hostile one
// cannot make messages as large as itself.
func quote(s string) string {
	const most = 80
	if len(s) > most {
		s = s[:most] + "…"
	}
	return string(appendQuoted(nil, s))
}
