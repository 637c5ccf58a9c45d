package flow

import (
	"bytes"
	"encoding/xml"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// denied is a trace that goes all the way and ends in a denial.
func denied() *abi.Trace {
	network := []abi.StatementTrace{
		{Statement: 0, Type: abi.TypeClassic, Verdict: abi.VerdictOtherNetwork},
		{Statement: 1, Type: abi.TypeVPC, Value: "vpc-m5ekxe1zi8zwgqrtc1234", Verdict: abi.VerdictApplies},
		{Statement: 2, Type: abi.TypeVPC, Value: "vpc-bp1234567890abcdef", Verdict: abi.VerdictOtherVPC},
		{Statement: 3, Type: abi.TypeVPC, Value: abi.AllowAllVPC, Verdict: abi.VerdictApplies},
	}
	source := []abi.StatementTrace{network[1], network[3]}
	source[0].Verdict, source[1].Verdict = abi.VerdictNotListed, abi.VerdictNotListed
	return &abi.Trace{
		Request: abi.Request{
			AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("172.16.0.9"), VPCID: "vpc-m5ekxe1zi8zwgqrtc1234",
			Service: "Oss", Action: "GetObject",
		},
		Decision: abi.Decision{Effect: abi.EffectDeny, Reason: abi.ReasonSourceIPNotListed, Level: abi.LevelAccessKey, Network: abi.NetworkVPC},
		Revision: strings.Repeat("0123456789abcdef", 4),
		Steps: []abi.Step{
			{Step: abi.StepCredential, Answer: "The id has the form of a permanent AccessKey."},
			{Step: abi.StepService, Answer: "Oss GetObject is not exempt."},
			{Step: abi.StepOwner, Answer: "The key is listed under account 1000000000000001.", Account: "1000000000000001"},
			{Step: abi.StepPolicy, Answer: "The key's own policy is Active; it alone decides.", Level: "AccessKey"},
			{Step: abi.StepNetwork, Answer: `The call comes from "vpc-m5ekxe1zi8zwgqrtc1234"; 2 statements apply.`, Statements: network},
			{Step: abi.StepSource, Answer: "No entry holds 172.16.0.9.", Statements: source, Reason: "SourceIPNotListed"},
		},
	}
}

// traceOf returns a trace that ends for the given reason.
func traceOf(reason abi.Reason) *abi.Trace {
	t := denied()
	t.Decision.Reason, t.Decision.Effect = reason, abi.EffectDeny
	last := 0
	for i := range questions {
		for _, e := range questions[i].ends {
			if e.reason == reason {
				last, t.Decision.Effect = i, e.effect
			}
		}
	}
	if last < 3 {
		t.Decision.Level = abi.LevelNone
	}
	if reason == abi.ReasonNoPublicPolicy {
		t.Request.VPCID, t.Decision.Network = "", abi.NetworkPublic
	}
	t.Steps = t.Steps[:last+1]
	t.Steps[last].Reason = reason.String()
	return t
}

// evaluated lists the reasons that an evaluation may end for.
func evaluated() []abi.Reason {
	return abi.Reasons()[abi.ReasonTemporaryCredential-1:]
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.MkdirAll("testdata", 0o777))
		require.NoError(t, os.WriteFile(path, got, 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got))
}

func TestSVGLooksAsItDid(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, SVG(&out, denied()))
	golden(t, "denied.svg", out.Bytes())
}

func TestMermaidReadsAsItDid(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, Mermaid(&out, denied()))
	golden(t, "denied.mmd", out.Bytes())
}

func TestEveryReasonOfAnEvaluationIsOneEndOfTheFlow(t *testing.T) {
	ends := make(map[abi.Reason]int)
	steps := make([]abi.StepName, len(questions))
	for i := range questions {
		steps[i] = questions[i].step
		for _, e := range questions[i].ends {
			ends[e.reason]++
		}
	}
	require.Equal(t, abi.Steps(), steps)
	require.Len(t, ends, len(evaluated()))
	for _, reason := range evaluated() {
		require.Equal(t, 1, ends[reason], reason)
	}
}

// shape is what a drawing says of the way that was taken.
type shape struct{ boxes, ends, arrows int }

func TestTheWayThatWasTakenIsMarked(t *testing.T) {
	for _, reason := range evaluated() {
		t.Run(reason.String(), func(t *testing.T) {
			trace := traceOf(reason)
			steps := len(trace.Steps)
			pic := layout(trace)
			got := shape{}
			for _, b := range pic.Boxes {
				if b.Taken {
					got.boxes++
				}
				for _, e := range b.Ends {
					if e.Taken {
						got.ends++
						require.Equal(t, trace.Decision.Effect.String()+" "+reason.String(), e.Text)
					}
				}
			}
			for _, a := range pic.Arrows {
				if a.Taken {
					got.arrows++
				}
			}
			require.Equal(t, shape{steps, 1, steps}, got, "one arrow leaves each question that was asked")

			var out bytes.Buffer
			require.NoError(t, Mermaid(&out, trace))
			text := out.String()
			require.Contains(t, text, "    class "+reason.String()+" reached\n")
			require.Equal(t, steps+1, strings.Count(text, "==>"), "the way begins at the request")
		})
	}
}

func TestTheWayFollowsLevelAndNetwork(t *testing.T) {
	for _, test := range []struct {
		level   abi.Level
		network abi.Network
		policy  string
		source  string
	}{
		{abi.LevelAccessKey, abi.NetworkVPC, "the key's own, alone", "VPC statements"},
		{abi.LevelAccount, abi.NetworkPublic, "the account's", "the public statement"},
	} {
		trace := denied()
		trace.Decision.Level, trace.Decision.Network = test.level, test.network
		var taken []string
		for _, a := range layout(trace).Arrows {
			if a.Taken && a.Down {
				taken = append(taken, a.Label)
			}
		}
		require.Equal(t, []string{"permanent", "not exempt", "one account", test.policy, test.source}, taken)
	}
}

// hostile is text that would end an attribute, an element, a label or a line.
const hostile = "\"]--><script>alert(1)</script>&amp;#quot;`%%\n---\n\x00\x1b[31m\u202e\xff'"

func hostileTrace() *abi.Trace {
	t := denied()
	t.Request.AccessKeyID, t.Request.VPCID, t.Request.AccountID = hostile, hostile, hostile
	t.Request.Service, t.Request.Action, t.Request.Protocol, t.Revision = hostile, hostile, hostile, hostile
	for i := range t.Steps {
		t.Steps[i].Answer = strings.Repeat(hostile, 5)
		for j := range t.Steps[i].Statements {
			t.Steps[i].Statements[j].Type, t.Steps[i].Statements[j].Value, t.Steps[i].Statements[j].Entry = hostile, hostile, hostile
		}
	}
	return t
}

func TestSVGIsWellFormedWhateverTheTextSays(t *testing.T) {
	traces := []*abi.Trace{hostileTrace()}
	for _, reason := range evaluated() {
		traces = append(traces, traceOf(reason))
	}
	for _, trace := range traces {
		var out bytes.Buffer
		require.NoError(t, SVG(&out, trace))
		elements := make(map[string]int)
		decoder := xml.NewDecoder(&out)
		for {
			token, err := decoder.Token()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			if start, ok := token.(xml.StartElement); ok {
				elements[start.Name.Local]++
				for _, attribute := range start.Attr {
					require.False(t, strings.HasPrefix(attribute.Name.Local, "on"))
					require.NotEqual(t, "href", attribute.Name.Local)
				}
			}
		}
		require.Equal(t, 1, elements["title"])
		require.Equal(t, 1, elements["desc"])
		require.Zero(t, elements["script"])
	}
}

func TestMermaidKeepsItsLinesWhateverTheTextSays(t *testing.T) {
	line := regexp.MustCompile(`^(---|title: "[^"]*"|flowchart TD|    acc(Title|Descr): [^#;{}<>]*` +
		`|    \w+(\(\["[^"<>]*(<br/>[^"<>]*)*"\]\)|\["[^"<>]*(<br/>[^"<>]*)*"\])` +
		`|    \w+ (==>|-\.->)(\|"[^"]*"\|)? \w+|    (classDef|class|linkStyle) [\w,#: -]+)$`)
	for _, trace := range []*abi.Trace{denied(), hostileTrace()} {
		var out bytes.Buffer
		require.NoError(t, Mermaid(&out, trace))
		for _, text := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
			require.Regexp(t, line, text)
		}
	}
}

func TestNothingIsDrawnOutsideOfThePage(t *testing.T) {
	for _, trace := range []*abi.Trace{denied(), hostileTrace(), traceOf(abi.ReasonTemporaryCredential)} {
		pic := layout(trace)
		bottom := 0
		for _, b := range pic.Boxes {
			require.Greater(t, b.Y, bottom, "boxes do not overlap")
			bottom = b.Y + b.H
			require.LessOrEqual(t, b.LineY(len(b.Answer)-1), bottom)
			for _, e := range b.Ends {
				require.LessOrEqual(t, e.X+e.W, pic.Width-margin)
				require.GreaterOrEqual(t, e.Y, b.Y)
				require.LessOrEqual(t, e.Y+e.H, bottom)
			}
		}
		if pic.Panel != nil {
			require.Greater(t, pic.Panel.Y, bottom)
			bottom = pic.Panel.Y + pic.Panel.H
			for _, row := range pic.Panel.Rows {
				require.Less(t, row.Y, bottom)
			}
		}
		require.Greater(t, pic.LegendY, bottom)
		require.Greater(t, pic.Height, pic.LegendY)
	}
}

func TestWrapBreaksBetweenWordsWhereItCan(t *testing.T) {
	for _, test := range []struct {
		text string
		want []string
	}{
		{"", nil},
		{"one two", []string{"one two"}},
		{"one two three", []string{"one two", "three"}},
		{"a bcdefghijklnop q", []string{"a", "bcdefghi", "jklnop q"}},
		{"éèêëìíîï1", []string{"éèêëìíîï", "1"}},
		{"LTAI LTAI l", []string{"LTAI", "LTAI l"}},
		{"policy", []string{"policy"}},
		{"网络访问控", []string{"网络访问", "控"}},
	} {
		require.Equal(t, test.want, wrap(test.text, 16), "%q", test.text)
	}
}
