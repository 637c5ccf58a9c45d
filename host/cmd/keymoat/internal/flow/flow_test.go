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
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
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

// The advance widths of the characters from space to tilde in DejaVu Sans, in
// thousandths of its size. It is among the widest fonts that a page is shown in.
var (
	dejaVu = [...]int{
		318, 401, 460, 838, 636, 950, 780, 275, 390, 390, 500, 838, 318, 361, 318, 337, 636, 636, 636, 636, 636, 636, 636, 636, 636, 636, 337, 337, 838, 838, 838, 531,
		1000, 684, 686, 698, 770, 632, 575, 775, 752, 295, 295, 656, 557, 863, 748, 787, 603, 787, 695, 635, 611, 732, 684, 989, 685, 611, 685, 390, 337, 390, 838, 500,
		500, 613, 635, 550, 635, 615, 352, 635, 634, 278, 278, 579, 278, 974, 634, 612, 635, 635, 411, 521, 392, 634, 592, 818, 592, 592, 525, 636, 337, 636, 838,
	}
	dejaVuBold = [...]int{
		348, 456, 521, 838, 696, 1002, 872, 306, 457, 457, 523, 838, 380, 415, 380, 365, 696, 696, 696, 696, 696, 696, 696, 696, 696, 696, 400, 400, 838, 838, 838, 580,
		1000, 774, 762, 734, 830, 683, 683, 821, 837, 372, 372, 775, 637, 995, 837, 850, 733, 850, 770, 720, 682, 812, 774, 1103, 771, 724, 725, 457, 365, 457, 838, 500,
		500, 675, 716, 593, 716, 678, 435, 716, 712, 343, 343, 665, 343, 1042, 712, 687, 716, 716, 493, 595, 478, 712, 652, 924, 645, 652, 582, 712, 365, 712, 838,
	}
)

const dejaVuMono = 602

func TestACharacterIsTakenForAtLeastAsWideAsItIs(t *testing.T) {
	for i := range dejaVu {
		r := rune(' ' + i)
		require.GreaterOrEqual(t, 10*proportional(r), dejaVu[i], "%c", r)
		require.GreaterOrEqual(t, 10*bold(r), dejaVuBold[i], "%c, bold", r)
		require.GreaterOrEqual(t, 10*monospace(r), dejaVuMono)
	}
}

// area is a part of a picture, in pixels.
type area struct {
	x1, y1, x2, y2 float64
	text           string // "" for a box
}

// drawn returns the boxes and the pieces of text of a picture.
func drawn(t *testing.T, svg []byte) (boxes, texts []area) {
	t.Helper()
	decoder := xml.NewDecoder(bytes.NewReader(svg))
	var (
		inherited = []map[string]string{{}}
		x, y      float64
	)
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			return boxes, texts
		}
		require.NoError(t, err)
		switch token := token.(type) {
		case xml.StartElement:
			own := make(map[string]string)
			for _, a := range token.Attr {
				own[a.Name.Local] = a.Value
			}
			number := func(name string, otherwise float64) float64 {
				if own[name] == "" {
					return otherwise
				}
				n, err := strconv.ParseFloat(own[name], 64)
				require.NoError(t, err)
				return n
			}
			switch token.Name.Local {
			case "text", "tspan":
				x, y = number("x", x)+number("dx", 0), number("y", y)
			case "rect":
				left, top := number("x", 0), number("y", 0)
				boxes = append(boxes, area{left, top, left + number("width", 0), top + number("height", 0), ""})
			}
			own["element"] = token.Name.Local
			own["class"] += " " + inherited[len(inherited)-1]["class"]
			inherited = append(inherited, own)
		case xml.EndElement:
			inherited = inherited[:len(inherited)-1]
		case xml.CharData:
			style := inherited[len(inherited)-1]
			if style["element"] != "text" && style["element"] != "tspan" {
				continue
			}
			if strings.TrimSpace(string(token)) == "" {
				x += widthOf(" ", strings.Fields(style["class"]))
				continue
			}
			width := widthOf(string(token), strings.Fields(style["class"]))
			left := x
			if strings.Contains(style["class"], "centre") {
				left -= width / 2
			}
			x = left + width
			texts = append(texts, area{left, y - 10, x, y + 3, string(token)})
		}
	}
}

// widthOf measures text as the template styles it.
func widthOf(text string, classes []string) (width float64) {
	has := func(class string) bool { return slices.Contains(classes, class) }
	size := 14.0
	switch {
	case has("mono"):
		size = 13
	case has("small"):
		size = 12.5
	case has("head"):
		size = 24
	}
	for _, r := range text {
		switch {
		case r > '~': // a check mark, or an ellipsis
			width += size
		case has("mono"):
			width += size * dejaVuMono / 1000
		case has("name"), has("digit"), has("head"):
			width += size * float64(dejaVuBold[r-' ']) / 1000
		default:
			width += size * float64(dejaVu[r-' ']) / 1000
		}
	}
	return width
}

// wide returns traces whose texts are as long as they can be.
func wide(t *testing.T) (traces []*abi.Trace) {
	t.Helper()
	const (
		address = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff"
		other   = "2001:db8:aaaa:bbbb:cccc:dddd:eeee:fffe"
	)
	account, key := strings.Repeat("1", 64), strings.Repeat("W", abi.MaxAccessKeyID)
	vpc, field := "vpc-"+strings.Repeat("m", 64), strings.Repeat("W", abi.MaxField)
	evaluator, err := policy.Load([]byte(`{"Accounts":[{"AccountId":"` + account + `","AccessKeyPolicy":{"Status":"Active","Statements":[
		{"Type":"VPCWhiteList","Value":"` + vpc + `","IPList":["` + address + `"]},
		{"Type":"VPCWhiteList","Value":"AllowAllVPC","IPList":["10.0.0.0/8"]},
		{"Type":"ClassicWhiteList","IPList":["` + address + `"]}]}}]}`))
	require.NoError(t, err)
	for _, request := range []abi.Request{
		{SourceIP: abi.ParseSource(address), VPCID: vpc},
		{SourceIP: abi.ParseSource(other), VPCID: vpc, Service: field, Action: field, Protocol: field},
		{SourceIP: abi.ParseSource(other), VPCID: field},
		{SourceIP: abi.ParseSource(address)},
		{SourceIP: abi.ParseSource(other), AccountID: account},
		{SourceIP: abi.ParseSource(other), AccountID: field},
		{SourceIP: abi.ParseSource(other), VPCID: strings.Repeat("m ", 127), AccountID: account},
	} {
		request.AccessKeyID = key
		trace, err := evaluator.Explain(request)
		require.NoError(t, err)
		traces = append(traces, &trace)
	}
	return traces
}

// TestEveryTextStaysInItsPlace measures the picture as a browser with a wide
// font would show it.
func TestEveryTextStaysInItsPlace(t *testing.T) {
	traces := append(wide(t), denied())
	for _, reason := range evaluated() {
		traces = append(traces, traceOf(reason))
	}
	for _, trace := range traces {
		var out bytes.Buffer
		require.NoError(t, SVG(&out, trace))
		boxes, texts := drawn(t, out.Bytes())
		page := boxes[0]
		require.Greater(t, len(texts), 30)
		for i, text := range texts {
			require.GreaterOrEqual(t, text.x1, page.x1+margin, text.text)
			require.LessOrEqual(t, text.x2, page.x2-margin, text.text)
			for _, box := range boxes[1:] {
				if text.y2 < box.y1 || text.y1 > box.y2 {
					continue
				}
				inside := text.x1 > box.x1+4 && text.x2 < box.x2-4 && text.y1 > box.y1 && text.y2 < box.y2
				beside := text.x2 < box.x1 || text.x1 > box.x2
				require.True(t, inside || beside, "%q runs over the border of a box", text.text)
			}
			for _, other := range texts[:i] {
				apart := text.x2 < other.x1 || other.x2 < text.x1 || text.y2 < other.y1 || other.y2 < text.y1
				require.True(t, apart, "%q lies on %q", text.text, other.text)
			}
		}
	}
}

func TestNothingOfALongTextIsLost(t *testing.T) {
	trace := wide(t)[0]
	pic := layout(trace)
	require.Equal(t, "VPCWhiteList"+trace.Request.VPCID, strings.Join(strings.Fields(strings.Join(pic.Panel.Rows[0].Statement, "")), ""))
	require.Equal(t, "lists the address: 2001:db8:aaaa:bbbb:cccc:dddd:eeee:ffff/128", strings.Join(pic.Panel.Rows[0].Verdict, " "))
	for _, f := range pic.Facts {
		if f.Name == "VpcId" {
			require.Equal(t, trace.Request.VPCID, strings.Join(f.Value, ""))
		}
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
		{"a bcdefghknopq s", []string{"a", "bcdefghk", "nopq s"}},
		{"éèêë1", []string{"éèê", "ë1"}},
		{"LTAE LTAE x", []string{"LTAE", "LTAE x"}},
		{"iiiiiiiiiiiii", []string{"iiiiiiiiiiii", "i"}},
		{"网络访问控", []string{"网络访", "问控"}},
	} {
		require.Equal(t, test.want, wrap(test.text, 512, proportional), "%q", test.text)
	}
	require.Equal(t, []string{"iiiiiiii", "ii"}, wrap("iiiiiiiiii", 512, monospace))
}
