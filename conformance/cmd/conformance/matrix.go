package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"github.com/keymoat/keymoat/conformance"
)

// matrix is cases by hosts, the cases in groups.
type matrix struct {
	Hosts  []column
	Groups []group
}

// column is what one host made of all cases.
type column struct {
	Name string
	counts
	results []conformance.Result
}

// group is the rows that one file of cases makes.
type group struct {
	Name, Subject string
	Hosts         []counts
	Rows          []row
}

type row struct {
	Case   conformance.Case
	Cells  []conformance.Result // host by host
	Failed bool
}

type counts struct{ Cases, Passed, Failed, NotExpressible int }

func (c *counts) add(o conformance.Outcome) {
	c.Cases++
	switch o {
	case conformance.Passed:
		c.Passed++
	case conformance.NotExpressible:
		c.NotExpressible++
	default:
		c.Failed++
	}
}

// String prints the cases that passed, and the others where there are any.
func (c counts) String() string {
	text := fmt.Sprint(c.Passed)
	if c.Failed > 0 {
		text += fmt.Sprintf(" ✗%d", c.Failed)
	}
	if c.NotExpressible > 0 {
		text += fmt.Sprintf(" –%d", c.NotExpressible)
	}
	return text
}

// add adds a column. All hosts have results of the same cases in the same order.
func (m *matrix) add(name string, results []conformance.Result) {
	h := column{Name: name, results: results}
	g, r := -1, 0
	for _, result := range results {
		if g < 0 || m.Groups[g].Name != result.Case.Group {
			g, r = g+1, 0
			if g == len(m.Groups) {
				m.Groups = append(m.Groups, group{Name: result.Case.Group, Subject: result.Case.Subject})
			}
			m.Groups[g].Hosts = append(m.Groups[g].Hosts, counts{})
		}
		in := &m.Groups[g]
		if r == len(in.Rows) {
			in.Rows = append(in.Rows, row{Case: result.Case})
		}
		in.Rows[r].Cells = append(in.Rows[r].Cells, result)
		in.Rows[r].Failed = in.Rows[r].Failed || result.Outcome == conformance.Failed
		in.Hosts[len(in.Hosts)-1].add(result.Outcome)
		h.add(result.Outcome)
		r++
	}
	m.Hosts = append(m.Hosts, h)
}

func (m *matrix) failed() (n int) {
	for _, h := range m.Hosts {
		n += h.Failed
	}
	return n
}

func (m *matrix) writeText(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	cells := func(first string, cases int, columns []counts) {
		fmt.Fprintf(table, "%s\t%d", first, cases)
		for _, c := range columns {
			fmt.Fprintf(table, "\t%s", c)
		}
		fmt.Fprintln(table)
	}
	fmt.Fprint(table, "subject\tcases")
	var totals []counts
	for _, h := range m.Hosts {
		fmt.Fprintf(table, "\t%s", h.Name)
		totals = append(totals, h.counts)
	}
	fmt.Fprintln(table)
	all := 0
	for _, g := range m.Groups {
		cells(g.Subject, len(g.Rows), g.Hosts)
		all += len(g.Rows)
	}
	cells("all", all, totals)
	if err := table.Flush(); err != nil {
		return err
	}

	var text strings.Builder
	for _, h := range m.Hosts {
		for _, r := range h.results {
			for _, failure := range r.Failures {
				fmt.Fprintf(&text, "\n✗ %s: %s (%s)\n  %s\n", h.Name, r.Case.ID, r.Case.Title, failure)
			}
		}
	}
	for _, h := range m.Hosts {
		reason := ""
		for _, r := range h.results {
			if r.Outcome != conformance.NotExpressible {
				continue
			}
			if r.Reason != reason {
				reason = r.Reason
				fmt.Fprintf(&text, "\n– %s cannot express, because %s:\n", h.Name, reason)
			}
			fmt.Fprintf(&text, "  %s\n", r.Case.ID)
		}
	}
	_, err := io.WriteString(out, text.String())
	return err
}
