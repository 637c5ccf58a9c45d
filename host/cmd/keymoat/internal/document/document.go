// Package document reads policy documents as people write them, JSON or YAML,
// and remembers where in the source each value stands, so that what the
// evaluator says about a JSON pointer can be shown as a line and a column.
package document

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"github.com/keymoat/keymoat/abi"
)

// Document is a policy document in the form that the evaluator reads.
type Document struct {
	// JSON is the document itself. If the source was JSON, it is that source,
	// valid or not; if it was YAML, it is what the YAML says.
	JSON []byte

	root *yaml.Node // of a YAML source
}

// Place is where something stands in a source. Both numbers count from 1,
// columns in characters. The zero Place is unknown.
type Place struct {
	Line   int
	Column int
}

func (p Place) String() string {
	if p.Column == 0 {
		return strconv.Itoa(p.Line)
	}
	return strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// SyntaxError says why a YAML source cannot be read as a policy document.
type SyntaxError struct {
	Place   Place // may be unknown
	Message string
}

func (e *SyntaxError) Error() string {
	if e.Place == (Place{}) {
		return e.Message
	}
	return e.Place.String() + ": " + e.Message
}

// Finding returns the error in the form that validation reports.
func (e *SyntaxError) Finding() abi.Finding {
	return abi.Finding{Code: abi.CodeSyntax, Message: e.Message}
}

// Parse reads a source. Whether it is YAML is told by the name of its file,
// else by its first character: JSON documents begin with a bracket. JSON is
// not checked here, that is the evaluator's work; the error of a YAML source
// is a *SyntaxError.
func Parse(name string, source []byte) (*Document, error) {
	if !isYAML(name, source) {
		return &Document{JSON: source}, nil
	}
	root, err := parseYAML(source)
	if err != nil {
		return nil, err
	}
	converted, err := toJSON(root)
	if err != nil {
		return nil, err
	}
	return &Document{JSON: converted, root: root}, nil
}

func isYAML(name string, source []byte) bool {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".yaml", ".yml":
		return true
	case ".json":
		return false
	}
	// An encoding other than UTF-8 is left to the JSON reader, whose message names it.
	text := bytes.TrimLeft(source, " \t\r\n")
	return len(text) > 0 && text[0] != '{' && text[0] != '[' && text[0] != 0xef && text[0] < 0xfe && text[0] != 0
}

// Places returns the place of each finding about the document.
func (d *Document) Places(findings []abi.Finding) []Place {
	if len(findings) == 0 {
		return nil
	}
	w := newWanted(findings)
	if d.root != nil {
		w.scanYAML(d.root)
	} else {
		w.scanJSON(d.JSON)
	}
	places := make([]Place, len(findings))
	for i := range findings {
		places[i] = w.place(&findings[i])
		if d.root == nil {
			if fault, ok := faultOf(&findings[i], d.JSON); ok {
				places[i] = fault
			}
		}
	}
	return places
}

// Hint returns what a person who writes YAML has to do about a finding, or "".
// YAML takes an unquoted 1000000000000001 for a number and an unquoted
// 2001:db8:: for a mapping, where the document needs a string.
func (d *Document) Hint(f *abi.Finding) string {
	if d.root == nil || f.Code != abi.CodeWrongType || !wantsString(f.Pointer) {
		return ""
	}
	node := find(d.root, tokens(f.Pointer))
	if node == nil {
		return ""
	}
	const longest = 64
	var text string
	switch {
	case node.Kind == yaml.ScalarNode && node.Value != "" && node.ShortTag() != "!!null":
		text = node.Value
	case node.Kind == yaml.MappingNode && len(node.Content) == 2 && node.Content[1].Kind == yaml.ScalarNode && node.Content[1].Value == "":
		text = node.Content[0].Value + ":"
	default:
		return ""
	}
	if utf8.RuneCountInString(text) > longest {
		return "in YAML, quote it"
	}
	return fmt.Sprintf("in YAML, quote it: %q", text)
}

// wantsString reports whether the value at the pointer may be a string.
func wantsString(pointer string) bool {
	at := tokens(pointer)
	if len(at) == 0 {
		return false
	}
	last := at[len(at)-1]
	if len(at) > 1 && at[len(at)-2] == "IPList" {
		return true
	}
	switch last {
	case "AccountId", "AccessKeyId", "UserPrincipalName", "Status", "Type", "Value", "IPList", "Service", "Action", "Protocol":
		return true
	}
	return false
}

// tokens takes an RFC 6901 pointer apart.
func tokens(pointer string) []string {
	if pointer == "" {
		return nil
	}
	at := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	for i := range at {
		at[i] = strings.ReplaceAll(strings.ReplaceAll(at[i], "~1", "/"), "~0", "~")
	}
	return at
}
