package document

import (
	"bytes"
	"regexp"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"

	"github.com/keymoat/keymoat/abi"
)

// wanted is a tree of the places that are looked for, one level for each
// token of their pointers. One walk through the source fills it in, however
// large the source and however many the places.
type wanted struct {
	root spot
	// duplicates counts, by pointer, the duplicate fields told so far: the
	// first is about the second occurrence, and so on.
	duplicates map[string]int
}

type spot struct {
	below map[string]*spot
	// found holds each occurrence: a name may stand twice in an object.
	found []occurrence
}

type occurrence struct{ name, value Place }

func newWanted(findings []abi.Finding) *wanted {
	w := &wanted{duplicates: make(map[string]int)}
	for i := range findings {
		at := &w.root
		for _, token := range tokens(findings[i].Pointer) {
			next := at.below[token]
			if next == nil {
				if at.below == nil {
					at.below = make(map[string]*spot)
				}
				next = &spot{}
				at.below[token] = next
			}
			at = next
		}
	}
	return w
}

// place returns the place of a finding. Findings must be asked for in their order.
func (w *wanted) place(f *abi.Finding) Place {
	at := &w.root
	exact := true
	for _, token := range tokens(f.Pointer) {
		next := at.below[token]
		if next == nil || len(next.found) == 0 {
			exact = false // it is absent; the nearest thing around it has a place
			break
		}
		at = next
	}
	if len(at.found) == 0 {
		return Place{}
	}
	n := 0
	if f.Code == abi.CodeDuplicateField {
		w.duplicates[f.Pointer]++
		n = min(w.duplicates[f.Pointer], len(at.found)-1)
	}
	o := at.found[n]
	if exact && (f.Code == abi.CodeDuplicateField || f.Code == abi.CodeUnknownField) {
		return o.name
	}
	return o.value
}

// scanJSON fills the tree from a JSON source, up to where that is faulty.
func (w *wanted) scanJSON(source []byte) {
	s := jsonScan{
		source: source,
		dec:    jsontext.NewDecoder(bytes.NewBuffer(source), jsontext.AllowDuplicateNames(true)),
		line:   1, column: 1,
	}
	_ = s.value(&w.root, nil) // the evaluator tells the fault, and its place
}

// atByte is how the evaluator ends what it says about a fault of syntax.
var atByte = regexp.MustCompile(`\(at byte (\d+)\)$`)

// faultOf returns the place of the byte that a finding about syntax names, if
// it names one. The pointer leads to the value around it at best.
func faultOf(f *abi.Finding, source []byte) (Place, bool) {
	named := atByte.FindStringSubmatch(f.Message)
	if f.Code != abi.CodeSyntax || named == nil {
		return Place{}, false
	}
	offset, err := strconv.Atoi(named[1])
	if err != nil {
		return Place{}, false
	}
	s := jsonScan{source: source, line: 1, column: 1}
	return s.here(offset), true
}

// jsonScan walks a JSON source and counts lines as it goes: places are asked
// for in ascending order, so each byte is counted once.
type jsonScan struct {
	source       []byte
	dec          *jsontext.Decoder
	start        int // offset of the token that was peeked at last
	offset       int // of line and column
	line, column int
}

func (s *jsonScan) here(offset int) Place {
	offset = min(offset, len(s.source))
	if offset > s.offset {
		passed := s.source[s.offset:offset]
		if lines := bytes.Count(passed, []byte{'\n'}); lines > 0 {
			s.line += lines
			s.column = 1
			passed = passed[bytes.LastIndexByte(passed, '\n')+1:]
		}
		s.column += utf8.RuneCount(passed)
		s.offset = offset
	}
	return Place{s.line, s.column}
}

// peek returns the kind of the next token and notes where it begins.
func (s *jsonScan) peek() jsontext.Kind {
	kind := s.dec.PeekKind()
	at := int(s.dec.InputOffset())
	for at < len(s.source) {
		switch s.source[at] {
		case ' ', '\t', '\r', '\n', ',', ':':
			at++
			continue
		}
		break
	}
	s.start = at
	return kind
}

// value passes one value and notes what is wanted of it. Name is the place of
// its name, if it has one.
func (s *jsonScan) value(at *spot, name *Place) error {
	kind := s.peek()
	if at == nil {
		return s.dec.SkipValue()
	}
	place := s.here(s.start)
	o := occurrence{name: place, value: place}
	if name != nil {
		o.name = *name
	}
	at.found = append(at.found, o)
	if len(at.below) == 0 || (kind != '{' && kind != '[') {
		return s.dec.SkipValue()
	}
	if _, err := s.dec.ReadToken(); err != nil {
		return err
	}
	for i := 0; ; i++ {
		if next := s.peek(); next == '}' || next == ']' {
			_, err := s.dec.ReadToken()
			return err
		}
		if kind == '[' {
			if err := s.value(at.below[strconv.Itoa(i)], nil); err != nil {
				return err
			}
			continue
		}
		nameOffset := s.start
		token, err := s.dec.ReadToken()
		if err != nil {
			return err
		}
		below := at.below[token.String()]
		var name Place
		if below != nil {
			name = s.here(nameOffset)
		}
		if err := s.value(below, &name); err != nil {
			return err
		}
	}
}

// scanYAML fills the tree from a YAML source.
func (w *wanted) scanYAML(root *yaml.Node) {
	place := placeOf(root)
	w.root.scan(root, occurrence{place, place})
}

func (at *spot) scan(node *yaml.Node, o occurrence) {
	node = follow(node)
	at.found = append(at.found, o)
	if len(at.below) == 0 {
		return
	}
	switch node.Kind {
	case yaml.SequenceNode:
		for i, element := range node.Content {
			if below := at.below[strconv.Itoa(i)]; below != nil {
				place := placeOf(follow(element))
				below.scan(element, occurrence{place, place})
			}
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			name, value := node.Content[i], node.Content[i+1]
			if below := at.below[name.Value]; below != nil {
				o := occurrence{name: placeOf(name), value: placeOf(follow(value))}
				if isNothing(value) {
					o.value = o.name // where nothing stands, the library names the next thing's place
				}
				below.scan(value, o)
			}
		}
	}
}

func placeOf(node *yaml.Node) Place { return Place{node.Line, node.Column} }
