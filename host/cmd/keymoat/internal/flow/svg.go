package flow

import (
	_ "embed"
	"encoding/xml"
	"io"
	"strings"
	"text/template"

	"github.com/keymoat/keymoat/abi"
)

// The measures of the picture, in pixels.
const (
	margin     = 32
	pageWidth  = 920
	boxLeft    = margin
	boxWidth   = 480
	boxRight   = boxLeft + boxWidth
	endLeft    = 664
	endWidth   = pageWidth - margin - endLeft
	endHeight  = 34
	endGap     = 12
	lineHeight = 19
	rowGap     = 54
	boxPad     = 12

	factValue     = 100 // from its name
	answerLeft    = boxLeft + 44
	statementLeft = margin + 44
	verdictLeft   = 448
	panelPad      = 16
)

// The sizes of the fonts in the template, in pixels.
const (
	textSize = 14
	monoSize = 13
)

// ems is how wide a number of pixels is in a font of that size.
func ems(pixels, size int) int { return pixels * em / size }

//go:embed flow.svg.tmpl
var svgText string

var svgTemplate = template.Must(template.New("svg").Funcs(template.FuncMap{
	"add": func(a, b int) int { return a + b },
	// Every text goes through xml. What is not piped through it is a number
	// or a constant of this package.
	"xml": func(s string) (string, error) {
		var b strings.Builder
		err := xml.EscapeText(&b, []byte(visible(s)))
		return b.String(), err
	},
}).Parse(svgText))

// SVG writes the flow as one picture that needs nothing beside it. It follows
// the reader's choice of a light or a dark page.
func SVG(w io.Writer, t *abi.Trace) error {
	return svgTemplate.Execute(w, layout(t))
}

// picture is what the template draws. All coordinates are absolute.
type picture struct {
	Width, Height int
	Title, Story  string
	Effect        string // Allow or Deny
	Allowed       bool
	Reason        string
	Facts         []fact
	Boxes         []box
	Arrows        []arrow // the way that was taken last, so that it lies on top
	Panel         *panel
	LegendY       int
}

type fact struct {
	X, Y   int
	Name   string
	ValueX int
	Value  []string
}

type box struct {
	X, Y, W, H int
	TextY      int // top of the text
	Number     int
	Name, Asks string
	Answer     []string
	AnswerX    int
	Taken      bool
	Ends       []pill
}

type pill struct {
	X, Y, W, H int
	Text       string
	Allow      bool
	Taken      bool
}

// arrow is a straight line, to the right or down, with its label.
type arrow struct {
	X1, Y1, X2, Y2 int
	Down           bool
	Label          string
	LabelX, LabelY int
	Middle         bool // the label is centred on LabelX
	Taken          bool
}

type panel struct {
	X, Y, W, H int
	Rows       []panelRow
}

type panelRow struct {
	Y                     int
	Index                 int
	StatementX, VerdictX  int
	Statement, Verdict    []string
	Matched, Missed, Idle bool
}

func layout(t *abi.Trace) *picture {
	p := newPath(t)
	d := &t.Decision
	pic := &picture{
		Width:   pageWidth,
		Title:   "keymoat decision: " + d.Effect.String() + " " + d.Reason.String(),
		Story:   p.story(),
		Effect:  d.Effect.String(),
		Allowed: d.Allowed(),
		Reason:  d.Reason.String(),
	}
	y := margin + 64
	y = pic.facts(t, y)
	y += 24
	for i := range questions {
		y = pic.question(p, i, y)
	}
	y -= rowGap
	if rows := p.statements(); len(rows) > 0 {
		y = pic.statements(rows, y+28)
	}
	pic.LegendY = y + 36
	pic.Height = pic.LegendY + margin
	return pic
}

// facts lays the request out in two columns, long values in rows of their own.
func (pic *picture) facts(t *abi.Trace, y int) int {
	const (
		column = (pageWidth - 2*margin) / 2
		gap    = 8
	)
	short := ems(column-factValue-gap, monoSize)
	long := ems(pageWidth-2*margin-factValue, monoSize)
	x := margin
	for _, f := range Facts(t) {
		lines := wrap(f.Value, short, monospace)
		wide := len(lines) > 1
		if wide {
			lines = wrap(f.Value, long, monospace)
		}
		if wide && x != margin {
			x, y = margin, y+factHeight(1)
		}
		pic.Facts = append(pic.Facts, fact{x, y, f.Name, x + factValue, lines})
		if wide || x != margin {
			x, y = margin, y+factHeight(len(lines))
		} else {
			x += column
		}
	}
	if x != margin {
		y += factHeight(1)
	}
	return y
}

func factHeight(lines int) int { return lines*lineHeight + 3 }

// question lays out one row: the question on the left, its ends on the right.
func (pic *picture) question(p path, at, y int) (next int) {
	const inBox = boxRight - boxPad - answerLeft
	q := &questions[at]
	step := p.asked(q)
	b := box{X: boxLeft, Y: y, W: boxWidth, Number: at + 1, Name: string(q.step), Asks: q.asks, AnswerX: answerLeft, Taken: step != nil}
	if step != nil {
		b.Answer = wrap(step.Answer, ems(inBox, textSize), proportional)
	}
	stack := len(q.ends)*(endHeight+endGap) - endGap
	text := lineHeight * (1 + len(b.Answer))
	b.H = max(2*boxPad+text, stack)
	b.TextY = y + (b.H-text)/2
	endY := y + (b.H-stack)/2
	for i := range q.ends {
		e := &q.ends[i]
		end := pill{endLeft, endY, endWidth, endHeight, e.effect.String() + " " + e.reason.String(), e.effect == abi.EffectAllow, p.ended(q, e)}
		b.Ends = append(b.Ends, end)
		middle := endY + endHeight/2
		pic.arrow(arrow{
			X1: boxRight, Y1: middle, X2: endLeft, Y2: middle,
			Label: e.answer, LabelX: (boxRight + endLeft - 8) / 2, LabelY: middle - 7, Middle: true, Taken: end.Taken,
		})
		endY += endHeight + endGap
	}
	pic.Boxes = append(pic.Boxes, b)
	bottom := y + b.H
	for i, way := range q.ways {
		x := boxLeft + boxWidth*(2*i+1)/(2*len(q.ways))
		pic.arrow(arrow{
			X1: x, Y1: bottom, X2: x, Y2: bottom + rowGap, Down: true,
			Label: way, LabelX: x + 12, LabelY: bottom + rowGap/2 + 2, Taken: p.went(at, i),
		})
	}
	return bottom + rowGap
}

// arrow adds an arrow; those that were taken come last.
func (pic *picture) arrow(a arrow) {
	if a.Taken {
		pic.Arrows = append(pic.Arrows, a)
		return
	}
	pic.Arrows = append([]arrow{a}, pic.Arrows...)
}

func (pic *picture) statements(all []abi.StatementTrace, y int) int {
	const (
		rowGap = 7
		head   = 40
		right  = pageWidth - margin - panelPad
	)
	pic.Panel = &panel{X: margin, Y: y, W: pageWidth - 2*margin}
	y += head
	for i := range all {
		s := &all[i]
		row := panelRow{
			Y: y + 16, Index: s.Statement,
			StatementX: statementLeft, VerdictX: verdictLeft,
			Statement: wrap(statementText(s), ems(verdictLeft-panelPad-statementLeft, monoSize), monospace),
			Verdict:   wrap(Verdict(s), ems(right-verdictLeft, textSize), bold),
			Matched:   s.Verdict == abi.VerdictMatched,
			Missed:    s.Verdict == abi.VerdictNotListed,
			Idle:      s.Verdict == abi.VerdictOtherNetwork || s.Verdict == abi.VerdictOtherVPC,
		}
		pic.Panel.Rows = append(pic.Panel.Rows, row)
		y += rowGap + lineHeight*max(len(row.Statement), len(row.Verdict), 1)
	}
	pic.Panel.H = y + 8 - pic.Panel.Y
	return y + 8
}

// LineY returns the base line of a line of the answer.
func (b box) LineY(line int) int { return b.TextY + lineHeight*(line+2) - 4 }

// LineY returns the base line of a line of the value.
func (f fact) LineY(line int) int { return f.Y + lineHeight*line }

// LineY returns the base line of a line of the row.
func (r panelRow) LineY(line int) int { return r.Y + lineHeight*line }

// CentreX is where the text of a pill is centred.
func (p pill) CentreX() int { return p.X + p.W/2 }
