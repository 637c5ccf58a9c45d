package main

import (
	_ "embed"
	"html/template"
	"io"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance"
)

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"percent": func(part, whole int) int {
		if whole == 0 {
			return 0
		}
		return part * 100 / whole
	},
	"mark": func(o conformance.Outcome) mark {
		switch o {
		case conformance.Passed:
			return mark{"pass", "✓", "passed"}
		case conformance.NotExpressible:
			return mark{"none", "–", "not expressible"}
		}
		return mark{"fail", "✗", "failed"}
	},
}).Parse(pageText))

// mark is how an outcome looks.
type mark struct{ Class, Sign, Text string }

// writeHTML writes a page that needs nothing beside it.
func (m *matrix) writeHTML(out io.Writer) error {
	cases := 0
	for _, g := range m.Groups {
		cases += len(g.Rows)
	}
	return page.Execute(out, struct {
		*matrix
		Release string
		Cases   int
		Failed  int
	}{m, abi.Release, cases, m.failed()})
}
