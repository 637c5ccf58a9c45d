package flow

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/keymoat/keymoat/abi"
)

// Mermaid writes the flow as a Mermaid flowchart, with the nodes of the way
// that was taken in the class "taken".
func Mermaid(w io.Writer, t *abi.Trace) error {
	m := mermaid{path: newPath(t)}
	m.line("---")
	m.line("title: %s", strconv.Quote("keymoat: "+t.Decision.Effect.String()+" "+t.Decision.Reason.String()))
	m.line("---")
	m.line("flowchart TD")
	m.line("    accTitle: How the decision was reached")
	m.line("    accDescr: %s", accText.Replace(m.path.story()))
	var facts []string
	for _, f := range Facts(t) {
		value := f.Value
		if f.Name == "Revision" && len(value) > 12 {
			value = value[:12] + "…" // as far as anyone compares it
		}
		facts = append(facts, f.Name+" "+value)
	}
	m.node("Request", `(["%s"])`, facts, true)
	for i := range questions {
		m.question(i)
	}
	m.edge("Request", id(&questions[0]), "", true)
	for i := range questions {
		q := &questions[i]
		for j := range q.ends {
			e := &q.ends[j]
			m.edge(id(q), endID(e), e.answer, m.path.ended(q, e))
		}
		for j, way := range q.ways {
			m.edge(id(q), id(&questions[i+1]), way, m.path.went(i, j))
		}
	}
	m.line("    classDef default fill:#f6f8fa,stroke:#818b98,color:#59636e")
	m.line("    classDef taken fill:#ddf4ff,stroke:#0969da,stroke-width:3px,color:#1f2328")
	m.line("    classDef allow fill:#dafbe1,stroke:#1a7f37,color:#116329")
	m.line("    classDef deny fill:#ffebe9,stroke:#cf222e,color:#a40e26")
	m.line("    classDef reached stroke-width:4px,font-weight:bold")
	m.class("taken", m.taken)
	m.class("allow", m.allow)
	m.class("deny", m.deny)
	m.class("reached", m.reached)
	if len(m.thick) > 0 {
		m.line("    linkStyle %s stroke:#0969da,stroke-width:4px", strings.Join(m.thick, ","))
	}
	_, err := io.WriteString(w, m.text.String())
	return err
}

type mermaid struct {
	path  path
	text  strings.Builder
	edges int
	thick []string // numbers of the edges that were taken

	taken, allow, deny, reached []string // nodes by class
}

func (m *mermaid) line(format string, args ...any) { fmt.Fprintf(&m.text, format+"\n", args...) }

func (m *mermaid) question(at int) {
	q := &questions[at]
	label := []string{strconv.Itoa(at+1) + " " + string(q.step), q.asks}
	step := m.path.asked(q)
	if step != nil {
		label = append(label, wrap(step.Answer, 36*em, proportional)...)
		if q.step == abi.StepNetwork {
			for _, s := range m.path.statements() {
				label = append(label, strconv.Itoa(s.Statement)+" "+statementText(&s)+": "+Verdict(&s))
			}
		}
	}
	m.node(id(q), `["%s"]`, label, step != nil)
	for i := range q.ends {
		e := &q.ends[i]
		m.line(`    %s(["%s %s"])`, endID(e), e.effect, e.reason)
		if e.effect == abi.EffectAllow {
			m.allow = append(m.allow, endID(e))
		} else {
			m.deny = append(m.deny, endID(e))
		}
		if m.path.ended(q, e) {
			m.reached = append(m.reached, endID(e))
		}
	}
}

func (m *mermaid) node(id, shape string, label []string, taken bool) {
	for i := range label {
		label[i] = mermaidText(label[i])
	}
	m.line("    "+id+shape, strings.Join(label, "<br/>"))
	if taken {
		m.taken = append(m.taken, id)
	}
}

func (m *mermaid) edge(from, to, label string, taken bool) {
	arrow := "-.->"
	if taken {
		arrow = "==>"
		m.thick = append(m.thick, strconv.Itoa(m.edges))
	}
	m.edges++
	if label != "" {
		label = `|"` + mermaidText(label) + `"|`
	}
	m.line("    %s %s%s %s", from, arrow, label, to)
}

func (m *mermaid) class(name string, nodes []string) {
	if len(nodes) > 0 {
		m.line("    class %s %s", strings.Join(nodes, ","), name)
	}
}

// The nodes are named as the steps and the reasons are.
func id(q *question) string { return string(q.step) }
func endID(e *end) string   { return e.reason.String() }

// mermaidText writes text so that Mermaid takes none of it for syntax: its
// entities begin with # and end with a semicolon.
func mermaidText(s string) string {
	var b strings.Builder
	for _, r := range visible(s) {
		switch r {
		case '"', '#', '&', '<', '>', '`', ';', '\\', '*', '_', '~', '|', '{', '}', '[', ']', '(', ')', '$', '%':
			fmt.Fprintf(&b, "#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// accText is for the description, where Mermaid knows no entities.
var accText = strings.NewReplacer("#", "", ";", ",", "{", "(", "}", ")", "<", "(", ">", ")")
