// Package flow draws how a decision was reached: all questions that an
// evaluation may ask, every end that it may come to, and the way that was
// taken through them.
package flow

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/keymoat/keymoat/abi"
)

// question is one step of the evaluation as it could go for any request.
type question struct {
	step abi.StepName
	asks string
	ends []end    // the answers that decide
	ways []string // the answers that lead on to the next question
}

type end struct {
	answer string
	effect abi.Effect
	reason abi.Reason
}

// questions is the flow of DESIGN.md, "Evaluation".
var questions = []question{
	{abi.StepCredential, "Is the credential a temporary one?", []end{
		{"temporary", abi.EffectAllow, abi.ReasonTemporaryCredential},
	}, []string{"permanent"}},
	{abi.StepService, "Is the service exempt?", []end{
		{"exempt", abi.EffectAllow, abi.ReasonExemptService},
	}, []string{"not exempt"}},
	{abi.StepOwner, "Which account owns the key?", []end{
		{"another account", abi.EffectDeny, abi.ReasonAccountMismatch},
		{"none known", abi.EffectDeny, abi.ReasonUnknownAccount},
	}, []string{"one account"}},
	{abi.StepPolicy, "Which policy is in force?", []end{
		{"none is active", abi.EffectAllow, abi.ReasonNoActivePolicy},
	}, []string{"the key's own, alone", "the account's"}},
	{abi.StepNetwork, "Which statements are about this network?", []end{
		{"VPC: no statement", abi.EffectDeny, abi.ReasonNoVPCPolicy},
		{"VPC: none for it", abi.EffectDeny, abi.ReasonVPCNotListed},
		{"public: none", abi.EffectDeny, abi.ReasonNoPublicPolicy},
	}, []string{"VPC statements", "the public statement"}},
	{abi.StepSource, "Does one of them list the address?", []end{
		{"listed", abi.EffectAllow, abi.ReasonMatched},
		{"not listed", abi.EffectDeny, abi.ReasonSourceIPNotListed},
	}, nil},
}

// path is a trace laid over the questions.
type path struct {
	trace *abi.Trace
	steps map[abi.StepName]*abi.Step
}

func newPath(t *abi.Trace) path {
	p := path{t, make(map[abi.StepName]*abi.Step, len(t.Steps))}
	for i := range t.Steps {
		p.steps[t.Steps[i].Step] = &t.Steps[i]
	}
	return p
}

// asked returns the step that answered a question, or nil.
func (p path) asked(q *question) *abi.Step { return p.steps[q.step] }

// ended reports whether the evaluation came to this end.
func (p path) ended(q *question, e *end) bool {
	return p.asked(q) != nil && p.trace.Decision.Reason == e.reason
}

// went reports whether the evaluation left a question by this way.
func (p path) went(at, way int) bool {
	q := &questions[at]
	if p.asked(q) == nil || at+1 == len(questions) || p.asked(&questions[at+1]) == nil {
		return false
	}
	switch q.step {
	case abi.StepPolicy:
		return (p.trace.Decision.Level == abi.LevelAccessKey) == (way == 0)
	case abi.StepNetwork:
		return (p.trace.Decision.Network == abi.NetworkVPC) == (way == 0)
	}
	return true
}

// statements returns every statement of the policy in force with what became
// of it in the end, if the evaluation got so far.
func (p path) statements() []abi.StatementTrace {
	network := p.steps[abi.StepNetwork]
	if network == nil {
		return nil
	}
	all := append([]abi.StatementTrace{}, network.Statements...)
	if source := p.steps[abi.StepSource]; source != nil {
		for i := range all {
			for _, s := range source.Statements {
				if s.Statement == all[i].Statement {
					all[i] = s
				}
			}
		}
	}
	return all
}

// Fact is one thing that a decision rests on.
type Fact struct{ Name, Value string }

// Facts lists the fields of the request, and the revision that judged it.
func Facts(t *abi.Trace) []Fact {
	r := &t.Request
	var facts []Fact
	for _, f := range []Fact{
		{"AccessKeyId", r.AccessKeyID}, {"SourceIp", r.SourceIP.String()}, {"VpcId", r.VPCID}, {"AccountId", r.AccountID},
		{"Service", r.Service}, {"Action", r.Action}, {"Protocol", r.Protocol}, {"Revision", t.Revision},
	} {
		if f.Value != "" {
			facts = append(facts, f)
		}
	}
	return facts
}

// Verdict says what became of a statement.
func Verdict(s *abi.StatementTrace) string {
	switch s.Verdict {
	case abi.VerdictOtherNetwork:
		return "about the other network"
	case abi.VerdictOtherVPC:
		return "about another VPC"
	case abi.VerdictApplies:
		return "applies"
	case abi.VerdictNotListed:
		return "does not list the address"
	case abi.VerdictMatched:
		return "lists the address: " + s.Entry
	}
	return string(s.Verdict)
}

func statementText(s *abi.StatementTrace) string {
	if s.Value == "" {
		return s.Type
	}
	return s.Type + " " + s.Value
}

// visible replaces what cannot be drawn: control characters, which XML
// forbids, and bytes that are no text.
func visible(s string) string {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return '\ufffd'
	}, s)
}

// em is the size of a font, in which widths are counted here.
const em = 100

// face tells how wide a character of a font is, at most: nobody knows which
// font a reader has, so these are the widest that are common (DejaVu).
type face func(r rune) int

func monospace(r rune) int {
	if r > unicode.MaxASCII {
		return foreign
	}
	return 62
}

func proportional(r rune) int {
	switch {
	case r > unicode.MaxASCII:
		return foreign
	case strings.ContainsRune("ijltfrIJ.,:;'!|()[]/\\- ", r):
		return 42
	case strings.ContainsRune("mwMW@%#+<=>~^", r):
		return em
	case unicode.IsUpper(r), r == '&':
		return 79
	}
	return 64
}

// bold is proportional in bold type.
func bold(r rune) int { return proportional(r) * 6 / 5 }

// foreign is for the characters of all other scripts, pictures included.
const foreign = 130

// wrap breaks text into lines of at most that width, between words where it can.
func wrap(s string, width int, f face) []string {
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(visible(s)) {
		if line != "" && used+f(' ')+f.width(word) > width {
			lines, line, used = append(lines, line), "", 0
		}
		if line != "" {
			line, used = line+" ", used+f(' ')
		}
		for _, r := range word {
			if used+f(r) > width {
				lines, line, used = append(lines, line), "", 0
			}
			line, used = line+string(r), used+f(r)
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

func (f face) width(s string) (n int) {
	for _, r := range s {
		n += f(r)
	}
	return n
}

// story tells the way in one paragraph, for those who do not see the picture.
func (p path) story() string {
	d := &p.trace.Decision
	var b strings.Builder
	b.WriteString("The decision is " + d.Effect.String() + ", reason " + d.Reason.String() + ".")
	for i, step := range p.trace.Steps {
		b.WriteString(" " + strconv.Itoa(i+1) + ". " + string(step.Step) + ": " + step.Answer)
	}
	return visible(b.String())
}
