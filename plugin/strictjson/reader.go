// Package strictjson reads JSON documents that people write: it reports all that
// is wrong with one, each fault with its code and JSON pointer, and takes no
// unknown and no duplicate names. The evaluator reads policy sets and requests
// with it, the Envoy filter its configuration.
package strictjson

import (
	"bytes"
	"io"
	"math"
	"strconv"
	"strings"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keymoat/keymoat/abi"
)

// Reader walks a JSON document once, front to back, and reports all that is
// wrong with it. After a fault of syntax it is failed: nothing behind that
// place can be trusted, so everything stops there.
//
// jsontext judges the syntax, of the whole document at once. To walk what it
// has found to be JSON takes no more than looking for brackets and quotes,
// and a tenth of the code that jsontext has for the same.
type Reader struct {
	document []byte // up to its fault, where it has one
	at       int
	path     []string // the names and indices that lead to the value that was read last
	fault    *abi.Finding
	failed   bool
	Errors   Findings
	Warnings Findings
}

// New makes a reader of a document that may nest so many objects and arrays. It
// judges the syntax of all of it.
func New(document []byte, deepest int) *Reader {
	end, level := closingBracket(document, 0, deepest)
	if level > deepest {
		document = document[:end]
	}
	// Duplicate names are a finding like others here, not a fault of syntax.
	dec := jsontext.NewDecoder(bytes.NewBuffer(document), jsontext.AllowDuplicateNames(true))
	r := Part(document)
	_, err := dec.ReadValue()
	whole := err == nil
	rest := document[dec.InputOffset():]
	for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\n' || rest[0] == '\r' || rest[0] == '\t') {
		rest = rest[1:]
	}
	if whole && len(rest) == 0 {
		return r
	}
	pointer, offset, message := "", int64(len(document)-len(rest)), "something follows the document"
	if syntactic, ok := err.(*jsontext.SyntacticError); ok {
		pointer, offset, message = string(syntactic.JSONPointer), syntactic.ByteOffset, syntactic.Err.Error()
		if strings.HasSuffix(message, "]' at start of value") {
			pointer = string(syntactic.JSONPointer.Parent()) // there is no such value
		}
		if syntactic.Err == io.ErrUnexpectedEOF {
			message = "the document ends in the middle; it may be cut off"
			if level > deepest {
				message = "the document is nested deeper than " + strconv.Itoa(deepest) + " levels"
			}
		}
	} else if !whole { // io.EOF
		message = "the document is empty"
	}
	if encoding := foreignEncoding(document); encoding != "" {
		message = "the document is " + encoding + "; save it as UTF-8 without a byte order mark"
	}
	r.fault = &abi.Finding{Code: abi.CodeSyntax, Pointer: pointer, Message: message + " (at byte " + strconv.Itoa(int(offset)) + ")"}
	if !whole {
		r.document = document[:offset]
	}
	return r
}

// Part makes a reader of a value that another reader has read.
func Part(value []byte) *Reader { return &Reader{document: value} }

// Failed reports whether there was a fault of syntax before the place where the
// reader is. What is read then means nothing.
func (r *Reader) Failed() bool { return r.failed }

// closingBracket goes on from a place to behind the bracket that closes the
// first one from there, and returns level 0; or to a bracket that lies in more
// than most others; or to the end. In what is not JSON it may do any of these.
func closingBracket(document []byte, at, most int) (end, level int) {
	for ; at < len(document); at++ {
		switch document[at] {
		case '{', '[':
			if level++; level > most {
				return at, level
			}
			if end := flatArray(document, at); end > 0 {
				at = end
				if level--; level == 0 {
					return at + 1, 0
				}
			}
		case '}', ']':
			if level--; level <= 0 {
				return at + 1, 0
			}
		case '"':
			if at = endOfString(document, at) - 1; at < 0 {
				return len(document), 1
			}
		}
	}
	return at, 1
}

// endOfString returns where the string ends that begins at a quote, or -1.
func endOfString(document []byte, at int) int {
	for end := at + 1; ; {
		n := bytes.IndexByte(document[end:], '"')
		if n < 0 {
			return -1
		}
		end += n
		escapes := end
		for document[escapes-1] == '\\' { // ends at the opening quote at the latest
			escapes--
		}
		end++
		if (end-escapes)%2 == 1 {
			return end
		}
	}
}

// Here is the pointer to the value that was read last.
//
//go:noinline
func (r *Reader) Here() string {
	pointer := ""
	for _, token := range r.path {
		pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
	}
	return pointer
}

// Error adds an error about the value that was read last.
//
//go:noinline
func (r *Reader) Error(code abi.FindingCode, message string) {
	pointer := ""
	if !r.Errors.Full() { // else only their number matters
		pointer = r.Here()
	}
	r.Errors.Add(code, pointer, message)
}

// Cite adds an error whose message cites a piece of the document.
//
//go:noinline
func (r *Reader) Cite(code abi.FindingCode, before, piece, after string) {
	if !r.Errors.Full() { // else only their number matters
		before += Quote(piece) + after
	}
	r.Error(code, before)
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

// End reports the fault of syntax, if there is one. Whoever meets the end of
// the document within a value calls it too.
func (r *Reader) End() {
	if r.fault != nil && !r.failed {
		r.failed = true
		r.Errors.Add(r.fault.Code, r.fault.Pointer, r.fault.Message)
	}
}

// Peek returns the first byte of the next value, or the bracket that ends what
// it would be in.
func (r *Reader) Peek() byte {
	for ; r.at < len(r.document); r.at++ {
		switch c := r.document[r.at]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
		default:
			return c
		}
	}
	r.End()
	return 0
}

// Value reads the next value whole. It is part of the document, not a copy.
func (r *Reader) Value() []byte {
	kind := r.Peek()
	start := r.at
	switch kind {
	case 0:
		return nil
	case '{', '[':
		// What is between them is JSON as far as it is there.
		var open int
		if r.at, open = closingBracket(r.document, r.at, math.MaxInt); open > 0 {
			r.End()
		}
	case '"':
		if r.at = endOfString(r.document, r.at); r.at < 0 {
			r.at = len(r.document)
			r.End()
		}
	default:
		r.skipScalar()
	}
	if r.failed {
		return nil
	}
	return r.document[start:r.at]
}

func (r *Reader) skipScalar() {
	start := r.at
	for ; r.at < len(r.document); r.at++ {
		switch r.document[r.at] {
		case ' ', '\t', '\r', '\n', ',', ':', '}', ']':
			return
		}
	}
	// The document, or what is right of it, ends here: within a number or word?
	if c := r.document[r.at-1]; c < '0' || c > '9' {
		switch string(r.document[start:]) {
		case "true", "false", "null":
		default:
			r.End()
		}
	}
}

// Text reads a string. Without escapes it aliases the document.
func (r *Reader) Text() (s string, ok bool) {
	v := r.Value()
	if r.failed {
		return "", false
	}
	if v[0] != '"' {
		r.WrongType("a string", v)
		return "", false
	}
	return unquote(v), true
}

// Names goes through the names of the object that follows, and stays before it.
func (r Reader) Names(yield func(name string) bool) {
	if r.Peek() != '{' {
		return
	}
	r.at++
	for r.Peek() == '"' {
		if !yield(unquote(r.Value())) {
			return
		}
		if r.Value(); r.failed {
			return
		}
	}
}

// Bool reads true or false.
func (r *Reader) Bool() bool {
	v := r.Value()
	if !r.failed && v[0] != 't' && v[0] != 'f' {
		r.WrongType("a boolean", v)
	}
	return !r.failed && v[0] == 't'
}

func unquote(quoted []byte) string {
	if quoted == nil { // nothing could be read
		return ""
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return unsafe.String(unsafe.SliceData(inner), len(inner))
	}
	// The decoder has checked the escapes.
	plain, _ := jsontext.AppendUnquote(nil, quoted)
	return string(plain)
}

// WrongType adds an error about a value that is of another type than it must be.
func (r *Reader) WrongType(want string, got []byte) {
	if !r.failed {
		r.Error(abi.CodeWrongType, "must be "+want+", not "+kindName(got))
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

// Walk goes through the members of an object, or the elements of an array.
// Loops over it are smaller on WebAssembly than functions handed to it:
//
//	for w := r.Object(names, required); w.Next(); {
//		... // read the value of names[w.I]
//	}
type Walk struct {
	r        *Reader
	names    []string // that the members of the object may have; nil in an array
	required uint     // set of indices in names
	seen     uint     // set of the names that have occurred
	I        int      // index of the name, or number of elements so far
	state    walkState
}

type walkState uint8

const (
	walkImpossible walkState = iota // there is no object or array, or not to its end
	walkInside
	walkDone // all of it has been read
)

// Object begins the walk through an object whose members may have the given
// names. Required is the set of indices of those that must occur.
//
//go:noinline
func (r *Reader) Object(names []string, required uint) Walk {
	return Walk{r: r, names: names, required: required, state: r.enter('{', "an object")}
}

// Array begins the walk through an array.
//
//go:noinline
func (r *Reader) Array() Walk { return Walk{r: r, state: r.enter('[', "an array")} }

func (r *Reader) enter(bracket byte, want string) walkState {
	if r.failed {
		return walkImpossible
	}
	if r.Peek() != bracket {
		r.WrongType(want, r.Value())
		return walkImpossible
	}
	r.at++
	r.path = append(r.path, "")
	return walkInside
}

// Next goes on to the next value, which must then be read. At the end of an
// object it reports the required names that have not occurred.
func (w *Walk) Next() bool {
	r := w.r
	for w.state == walkInside && !r.failed {
		last := len(r.path) - 1
		switch kind := r.Peek(); {
		case kind == 0:
			return false
		case kind == '}' || kind == ']':
			r.at++
			r.path = r.path[:last]
			w.state = walkDone
			for i, name := range w.names {
				if w.required&^w.seen&(1<<i) != 0 {
					r.Cite(abi.CodeMissingField, "the field ", name, " is missing")
				}
			}
			return false
		case w.names == nil:
			r.path[last] = strconv.Itoa(w.I)
			w.I++
			return true
		}
		name := unquote(r.Value())
		r.path[last] = name
		w.I = indexOf(w.names, name)
		switch {
		case r.failed:
		case w.I < 0:
			r.Cite(abi.CodeUnknownField, "unknown field ", name, "; the fields here are "+list2text(w.names))
			r.Value()
		case w.seen&(1<<w.I) != 0:
			r.Cite(abi.CodeDuplicateField, "the field ", name, " stands here a second time")
			r.Value()
		default:
			w.seen |= 1 << w.I
			return true
		}
	}
	return false
}

// Done reports whether all of it has been read.
func (w *Walk) Done() bool { return w.state == walkDone }

// Saw reports whether the name with that index has occurred.
func (w *Walk) Saw(i int) bool { return w.seen&(1<<i) != 0 }

func indexOf(names []string, name string) int {
	for i := range names {
		if names[i] == name {
			return i
		}
	}
	return -1
}

func list2text(names []string) string {
	text := names[0]
	for i, name := range names[1:] {
		comma := ", "
		if i == len(names)-2 {
			comma = " and "
		}
		text += comma + name
	}
	return text
}

// Quote cites a piece of a document in a message, cut so that a hostile one
// cannot make messages as large as itself.
//
//go:noinline
func Quote(s string) string {
	const most = 80
	if len(s) > most {
		end := most
		for end > 0 && s[end]&0xc0 == 0x80 { // within a character
			end--
		}
		s = s[:end] + "…"
	}
	return string(AppendQuoted(nil, s))
}
