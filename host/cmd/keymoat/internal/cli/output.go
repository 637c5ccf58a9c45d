package cli

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keymoat/keymoat/abi"
)

// printable makes text from outside safe to show: characters that steer a
// terminal or do not show are written as escapes.
func printable(s string) string {
	clean := utf8.ValidString(s)
	for _, r := range s {
		if !clean || !unicode.IsPrint(r) {
			quoted := strconv.Quote(s)
			return strings.ReplaceAll(quoted[1:len(quoted)-1], `\"`, `"`)
		}
	}
	return s
}

// oneLine keeps an error message on its line.
func oneLine(s string) string {
	lines := strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = printable(strings.TrimSpace(lines[i]))
	}
	return strings.Join(lines, " ")
}

// counted returns n with the word for one or for many.
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return thousands(n) + " " + many
}

// thousands writes a number with commas, for people.
func thousands(n int) string {
	digits := strconv.Itoa(n)
	for at := len(digits) - 3; at > 0 && digits[at-1] != '-'; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return digits
}

// findingCount is how many findings a list is about. One that was cut tells it
// only in words, by its last, so that there are more than those before.
type findingCount struct {
	n      int
	beyond bool
}

func countOf(all []finding) findingCount {
	if last := len(all) - 1; last >= 0 && all[last].Code == abi.CodeMoreFindings {
		return findingCount{last, true}
	}
	return findingCount{n: len(all)}
}

func (c findingCount) String() string {
	if c.beyond {
		return "more than " + thousands(c.n)
	}
	return thousands(c.n)
}

// of returns the count with the word for one or for many.
func (c findingCount) of(one, many string) string {
	if c.beyond {
		return c.String() + " " + many
	}
	return counted(c.n, one, many)
}

// writeJSON writes one value as one line.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// colour is a style of the terminal.
type colour string

const (
	plain  colour = ""
	green  colour = "32"
	red    colour = "31"
	yellow colour = "33"
	bold   colour = "1"
)

// paint returns s in a colour where the console shows colours.
func (c *Console) paint(s string, in colour) string {
	if !c.Colour || in == plain {
		return s
	}
	return "\x1b[" + string(in) + "m" + s + "\x1b[0m"
}

// table writes aligned columns row by row. The widths are fixed before the
// first row, so that a table of a million rows does not wait for the last;
// a longer cell moves the rest of its row.
type table struct {
	c      *Console
	widths []int
}

type cell struct {
	text string
	in   colour
}

func newTable(c *Console, header []string, sample [][]cell) *table {
	t := &table{c: c, widths: make([]int, len(header))}
	for i, name := range header {
		t.widths[i] = utf8.RuneCountInString(name)
	}
	for _, row := range sample {
		for i, cell := range row {
			t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell.text))
		}
	}
	return t
}

func (t *table) appendHeader(b []byte, header []string) []byte {
	row := make([]cell, len(header))
	for i, name := range header {
		row[i] = cell{name, bold}
	}
	return t.appendRow(b, row)
}

func (t *table) appendRow(b []byte, row []cell) []byte {
	last := len(row) - 1
	for last > 0 && row[last].text == "" {
		last--
	}
	for i, cell := range row[:last+1] {
		b = append(b, t.c.paint(cell.text, cell.in)...)
		if i < last {
			for n := t.widths[i] - utf8.RuneCountInString(cell.text) + 2; n > 0; n-- {
				b = append(b, ' ')
			}
		}
	}
	return append(b, '\n')
}
