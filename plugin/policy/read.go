package policy

import (
	"bytes"
	"io"
	"strings"
	"unsafe"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keymoat/keymoat/abi"
)

// reader walks a JSON document once, front to back, and reports all that is
// wrong with it. After a fault of syntax it is failed: nothing behind that
// place can be trusted, so everything stops there.
//
// jsontext judges the syntax, of the whole document at once. To walk what it
// has found to be JSON takes no more than looking for brackets and quotes,
// and a tenth of the code that jsontext has for the same.
type reader struct {
	document []byte // up to its fault, where it has one
	at       int
	path     []string // the names and indices that lead to the value that was read last
	fault    *abi.Finding
	failed   bool
	errors   findings
	warnings findings
}

func newReader(document []byte) *reader {
	end, level := closingBracket(document, 0, abi.MaxDepth)
	if level > abi.MaxDepth {
		document = document[:end]
	}
	// Duplicate names are a finding like others here, not a fault of syntax.
	dec := jsontext.NewDecoder(bytes.NewBuffer(document), jsontext.AllowDuplicateNames(true))
	r := &reader{document: document}
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
			if level > abi.MaxDepth {
				message = "the document is nested deeper than 64 levels"
			}
		}
	} else if !whole { // io.EOF
		message = "the document is empty"
	}
	if encoding := foreignEncoding(document); encoding != "" {
		message = "the document is " + encoding + "; save it as UTF-8 without a byte order mark"
	}
	r.fault = &abi.Finding{Code: abi.CodeSyntax, Pointer: pointer, Message: message + " (at byte " + decimal(int(offset)) + ")"}
	if !whole {
		r.document = document[:offset]
	}
	return r
}

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

// here is the pointer to the value that was read last.
//
//go:noinline
func (r *reader) here() string {
	pointer := ""
	for _, token := range r.path {
		pointer += "/" + strings.ReplaceAll(strings.ReplaceAll(token, "~", "~0"), "/", "~1")
	}
	return pointer
}

// error adds an error about the value that was read last.
//
//go:noinline
func (r *reader) error(code abi.FindingCode, message string) {
	pointer := ""
	if !r.errors.full() { // else only their number matters
		pointer = r.here()
	}
	r.errors.add(code, pointer, message)
}

// cite adds an error whose message cites a piece of the document.
//
//go:noinline
func (r *reader) cite(code abi.FindingCode, before, piece, after string) {
	if !r.errors.full() { // else only their number matters
		before += quote(piece) + after
	}
	r.error(code, before)
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

// end reports the fault of syntax, if there is one. Whoever meets the end of
// the document within a value calls it too.
func (r *reader) end() {
	if r.fault != nil && !r.failed {
		r.failed = true
		r.errors.add(r.fault.Code, r.fault.Pointer, r.fault.Message)
	}
}

// peek returns the first byte of the next value, or the bracket that ends what
// it would be in.
func (r *reader) peek() byte {
	for ; r.at < len(r.document); r.at++ {
		switch c := r.document[r.at]; c {
		case ' ', '\t', '\r', '\n', ',', ':':
		default:
			return c
		}
	}
	r.end()
	return 0
}

// value reads the next value whole. It is part of the document, not a copy.
func (r *reader) value() []byte {
	kind := r.peek()
	start := r.at
	switch kind {
	case 0:
		return nil
	case '{', '[':
		// What is between them is JSON as far as it is there.
		var open int
		if r.at, open = closingBracket(r.document, r.at, abi.MaxDepth); open > 0 {
			r.end()
		}
	case '"':
		if r.at = endOfString(r.document, r.at); r.at < 0 {
			r.at = len(r.document)
			r.end()
		}
	default:
		r.skipScalar()
	}
	if r.failed {
		return nil
	}
	return r.document[start:r.at]
}

func (r *reader) skipScalar() {
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
			r.end()
		}
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

// walk goes through the members of an object, or the elements of an array.
// Loops over it are smaller on WebAssembly than functions handed to it:
//
//	for w := r.object(names, required); w.next(); {
//		... // read the value of names[w.i]
//	}
type walk struct {
	r        *reader
	names    []string // that the members of the object may have; nil in an array
	required uint     // set of indices in names
	seen     uint     // set of the names that have occurred
	i        int      // index of the name, or number of elements so far
	state    walkState
}

type walkState uint8

const (
	walkImpossible walkState = iota // there is no object or array, or not to its end
	walkInside
	walkDone // all of it has been read
)

//go:noinline
func (r *reader) object(names []string, required uint) walk {
	return walk{r: r, names: names, required: required, state: r.enter('{', "an object")}
}

//go:noinline
func (r *reader) array() walk { return walk{r: r, state: r.enter('[', "an array")} }

func (r *reader) enter(bracket byte, want string) walkState {
	if r.failed {
		return walkImpossible
	}
	if r.peek() != bracket {
		r.wrongType(want, r.value())
		return walkImpossible
	}
	r.at++
	r.path = append(r.path, "")
	return walkInside
}

// next goes on to the next value, which must then be read. At the end of an
// object it reports the required names that have not occurred.
func (w *walk) next() bool {
	r := w.r
	for w.state == walkInside && !r.failed {
		last := len(r.path) - 1
		switch kind := r.peek(); {
		case kind == 0:
			return false
		case kind == '}' || kind == ']':
			r.at++
			r.path = r.path[:last]
			w.state = walkDone
			for i, name := range w.names {
				if w.required&^w.seen&(1<<i) != 0 {
					r.cite(abi.CodeMissingField, "the field ", name, " is missing")
				}
			}
			return false
		case w.names == nil:
			r.path[last] = decimal(w.i)
			w.i++
			return true
		}
		name := unquote(r.value())
		r.path[last] = name
		w.i = indexOf(w.names, name)
		switch {
		case r.failed:
		case w.i < 0:
			r.cite(abi.CodeUnknownField, "unknown field ", name, "; the fields here are "+list2text(w.names))
			r.value()
		case w.seen&(1<<w.i) != 0:
			r.cite(abi.CodeDuplicateField, "the field ", name, " stands here a second time")
			r.value()
		default:
			w.seen |= 1 << w.i
			return true
		}
	}
	return false
}

func (w *walk) done() bool { return w.state == walkDone }

func (w *walk) saw(i int) bool { return w.seen&(1<<i) != 0 }

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

// quote cites a piece of a document in a message, cut so that a hostile one
// cannot make messages as large as itself.
//
//go:noinline
func quote(s string) string {
	const most = 80
	if len(s) > most {
		end := most
		for end > 0 && s[end]&0xc0 == 0x80 { // within a character
			end--
		}
		s = s[:end] + "…"
	}
	return string(appendQuoted(nil, s))
}
