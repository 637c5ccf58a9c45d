package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v4"

	"github.com/keymoat/keymoat/abi"
)

// Limits of a YAML source. The library makes a node of every value, which takes
// up to 1,200 times the memory of the text; README.md has the figures. Anchors and
// aliases let a small file stand for an enormous document.
const (
	maxYAML         = 256 << 10 // bytes of the source
	maxAliasedBytes = 64 << 20  // of JSON, written for aliases
)

// parseYAML reads the one document of a source.
func parseYAML(source []byte) (*yaml.Node, error) {
	if len(source) > maxYAML {
		return nil, &SyntaxError{Message: fmt.Sprintf(
			"YAML is read up to %d bytes, and this has %d; write so large a document as JSON", maxYAML, len(source))}
	}
	if err := checkText(source); err != nil {
		return nil, err
	}
	loader, err := yaml.NewLoader(bytes.NewReader(source))
	if err != nil {
		return nil, yamlError(err)
	}
	var document, second yaml.Node
	if err := loader.Load(&document); err != nil && !errors.Is(err, io.EOF) {
		return nil, yamlError(err)
	}
	// The library takes a lone document marker for null, on a line that is not there.
	if len(document.Content) == 0 || isNothing(document.Content[0]) {
		return nil, &SyntaxError{Message: "the file holds no document, only space or comments"}
	}
	switch err := loader.Load(&second); {
	case err == nil:
		return nil, &SyntaxError{
			Place:   placeOf(&second),
			Message: "a second YAML document begins here; put each document into a file of its own",
		}
	case !errors.Is(err, io.EOF):
		return nil, yamlError(err)
	}
	return document.Content[0], nil
}

func isNothing(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.Value == "" && node.ShortTag() == "!!null"
}

// checkText refuses what is not text, and says where: the YAML reader would
// only say that it is somewhere.
func checkText(source []byte) error {
	line, column := 1, 1
	for at := 0; at < len(source); {
		r, size := utf8.DecodeRune(source[at:])
		switch {
		case r == utf8.RuneError && size == 1:
			return &SyntaxError{Place{line, column}, fmt.Sprintf("byte %#02x is not UTF-8; save the file as UTF-8", source[at])}
		case r < ' ' && r != '\t' && r != '\n' && r != '\r', r == 0x7f:
			return &SyntaxError{Place{line, column}, fmt.Sprintf("control character %U is not allowed in YAML", r)}
		}
		at += size
		if r == '\n' {
			line, column = line+1, 1
		} else {
			column++
		}
	}
	return nil
}

func yamlError(err error) error {
	var load *yaml.LoadError
	if !errors.As(err, &load) {
		return &SyntaxError{Message: strings.TrimPrefix(err.Error(), "yaml: ")}
	}
	e := &SyntaxError{Place: Place{load.Mark.Line, load.Mark.Column}, Message: load.Message}
	if load.ContextMsg != "" {
		e.Message += " " + load.ContextMsg
		if load.ContextMark.Line > 0 {
			e.Message += " that begins at " + Place{load.ContextMark.Line, load.ContextMark.Column}.String()
		}
	}
	return e
}

// toJSON writes what a YAML document says as JSON. It keeps duplicate names,
// for the evaluator to report, and refuses what JSON has no form for.
func toJSON(root *yaml.Node) ([]byte, error) {
	c := converter{open: make(map[*yaml.Node]bool)}
	if err := c.value(root, 0); err != nil {
		return nil, err
	}
	return c.out, nil
}

type converter struct {
	out     []byte
	open    map[*yaml.Node]bool // the aliased nodes that we are inside of
	began   int                 // where the outermost of them began in out
	aliased int                 // bytes written for those before it
}

func refuse(node *yaml.Node, message string) error {
	return &SyntaxError{Place: placeOf(node), Message: message}
}

func (c *converter) value(node *yaml.Node, depth int) error {
	if depth == abi.MaxDepth && (node.Kind == yaml.MappingNode || node.Kind == yaml.SequenceNode) {
		return refuse(node, "nested deeper than "+strconv.Itoa(abi.MaxDepth)+" levels")
	}
	if len(c.open) > 0 && c.aliased+len(c.out)-c.began > maxAliasedBytes {
		return refuse(node, "aliases repeat more than "+strconv.Itoa(maxAliasedBytes>>20)+" MiB; write such a document as JSON")
	}
	switch node.Kind {
	case yaml.AliasNode:
		return c.alias(node, depth)
	case yaml.MappingNode:
		if node.ShortTag() != "!!map" {
			return unknownTag(node)
		}
		return c.mapping(node, depth)
	case yaml.SequenceNode:
		if node.ShortTag() != "!!seq" {
			return unknownTag(node)
		}
		c.out = append(c.out, '[')
		for i, element := range node.Content {
			if i > 0 {
				c.out = append(c.out, ',')
			}
			if err := c.value(element, depth+1); err != nil {
				return err
			}
		}
		c.out = append(c.out, ']')
		return nil
	case yaml.ScalarNode:
		return c.scalar(node)
	}
	return refuse(node, "this is no value that a policy document can hold")
}

func (c *converter) alias(node *yaml.Node, depth int) error {
	target := node.Alias
	if c.open[target] {
		return refuse(node, "the alias *"+node.Value+" stands inside of what it repeats")
	}
	if len(c.open) == 0 {
		c.began = len(c.out)
	}
	c.open[target] = true
	err := c.value(target, depth)
	delete(c.open, target)
	if len(c.open) == 0 {
		c.aliased += len(c.out) - c.began
	}
	return err
}

func (c *converter) mapping(node *yaml.Node, depth int) error {
	c.out = append(c.out, '{')
	for i := 0; i+1 < len(node.Content); i += 2 {
		name := node.Content[i]
		switch {
		case name.Kind == yaml.ScalarNode && name.ShortTag() == "!!merge":
			return refuse(name, "the merge key << is not supported; repeat the fields, or use an alias for a whole value")
		case name.Kind != yaml.ScalarNode:
			return refuse(name, "a field's name must be a plain string")
		case name.ShortTag() != "!!str":
			return refuse(name, "a field's name must be a string, and YAML does not take "+name.Value+" for one")
		}
		if i > 0 {
			c.out = append(c.out, ',')
		}
		if err := c.text(name); err != nil {
			return err
		}
		c.out = append(c.out, ':')
		if err := c.value(node.Content[i+1], depth+1); err != nil {
			return err
		}
	}
	c.out = append(c.out, '}')
	return nil
}

func (c *converter) scalar(node *yaml.Node) error {
	tagged := node.Style&yaml.TaggedStyle != 0
	switch tag := node.ShortTag(); {
	case tag == "!!str":
		return c.text(node)
	case tagged:
		return unknownTag(node)
	case tag == "!!null":
		c.out = append(c.out, "null"...)
	case tag == "!!bool":
		c.out = append(c.out, strings.ToLower(node.Value)...)
	case (tag == "!!int" || tag == "!!float") && isJSONNumber(node.Value):
		c.out = append(c.out, node.Value...)
	default:
		// A date, or a number that only YAML can write, such as 0x10: taken
		// as it is written, as the document holds no such things.
		return c.text(node)
	}
	return nil
}

func (c *converter) text(node *yaml.Node) error {
	var err error
	if c.out, err = jsontext.AppendQuote(c.out, node.Value); err != nil {
		return refuse(node, "this string is not UTF-8")
	}
	return nil
}

func unknownTag(node *yaml.Node) error {
	return refuse(node, "the tag "+node.ShortTag()+" means nothing in a policy document; remove it")
}

func isJSONNumber(s string) bool {
	v := jsontext.Value(s)
	return v.IsValid() && v.Kind() == '0'
}

// follow returns what an alias stands for, and any other node itself.
func follow(node *yaml.Node) *yaml.Node {
	for node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	return node
}

// find returns the node that the tokens lead to, or nil.
func find(node *yaml.Node, at []string) *yaml.Node {
	node = follow(node)
	if len(at) == 0 {
		return node
	}
	switch node.Kind {
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(at[0]); err == nil && i >= 0 && i < len(node.Content) {
			return find(node.Content[i], at[1:])
		}
	case yaml.MappingNode:
		for i := 0; i+1 < len(node.Content); i += 2 {
			if node.Content[i].Value == at[0] {
				return find(node.Content[i+1], at[1:])
			}
		}
	}
	return nil
}
