package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// encode is what encoding/json makes of a value, less the escapes that only
// HTML needs.
func encode(t *testing.T, v any) string {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	require.NoError(t, e.Encode(v))
	return strings.TrimSuffix(b.String(), "\n")
}

// requireWritten checks what was written for v: the bytes of encoding/json, and
// again v when it is read.
func requireWritten[T any](t *testing.T, v T, written []byte) {
	t.Helper()
	require.Equal(t, encode(t, v), string(written))
	var same T
	require.NoError(t, json.Unmarshal(written, &same))
	require.Equal(t, v, same)
}

var awkward = []string{"", "plain", `"quotes" and \backslashes\`, "tab\tline\nreturn\rbell\x07null\x00del\x7f", "<&>", "é…😀", strings.Repeat("long", 1000)}

func TestAReportIsWrittenAsEncodingJSONWould(t *testing.T) {
	requireWritten(t, abi.Report{Valid: true, Errors: []abi.Finding{}, Warnings: []abi.Finding{}},
		AppendReport(nil, &abi.Report{Valid: true}))
	for _, text := range awkward {
		r := abi.Report{Errors: []abi.Finding{{Code: abi.CodeSyntax, Pointer: text, Message: text}, {Code: abi.CodeMoreFindings}},
			Warnings: []abi.Finding{{Code: abi.CodeHostBits, Pointer: "/" + text, Message: text}}}
		requireWritten(t, r, AppendReport(nil, &r))
	}
	for _, document := range readCorpus(t).documents {
		r := Validate(document)
		requireWritten(t, r, AppendReport(nil, &r))
	}
}

func TestATraceIsWrittenAsEncodingJSONWould(t *testing.T) {
	for _, text := range awkward {
		trace := abi.Trace{
			Request: abi.Request{AccessKeyID: text, SourceIP: netip.MustParseAddr("2001:db8::1"), VPCID: text, AccountID: text, Service: text, Action: text, Protocol: text},
			Decision: abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched, Level: abi.LevelAccount, Statement: 2,
				Entry: netip.MustParsePrefix("2001:db8::/32")},
			Revision: text,
			Steps: []abi.Step{
				{Step: abi.StepOwner, Answer: text, Account: text},
				{Step: abi.StepPolicy, Answer: text, Level: text},
				{Step: abi.StepSource, Answer: text, Reason: text, Statements: []abi.StatementTrace{
					{Statement: 0, Type: abi.TypeVPC, Value: text, Verdict: abi.VerdictNotListed},
					{Statement: 7, Type: abi.TypeClassic, Verdict: abi.VerdictMatched, Entry: text},
				}},
			},
		}
		requireWritten(t, trace, AppendTrace(nil, &trace))
	}

	c := readCorpus(t)
	requests := c.parsed()
	for i, image := range c.images() {
		e, err := Open(image)
		require.NoError(t, err)
		for n := range 10 {
			if trace, err := e.Explain(requests[(10*i+n)%len(requests)]); err == nil {
				requireWritten(t, trace, AppendTrace(nil, &trace))
			}
		}
	}
}

func TestTextThatIsNotUTF8IsStillWrittenAsJSON(t *testing.T) {
	b := AppendReport(nil, &abi.Report{Errors: []abi.Finding{{Message: "a\xffb\xed\xa0\x80"}}})
	require.True(t, json.Valid(b))
	require.Contains(t, string(b), "a\ufffdb")
}

// errorJSON is the form of an error as encoding/json would write it.
type errorJSON struct {
	Error struct {
		Code    string
		Message string
		Report  *abi.Report `json:",omitempty"`
	}
}

func TestAnErrorIsWrittenAsEncodingJSONWould(t *testing.T) {
	report := &abi.Report{Errors: []abi.Finding{{Code: abi.CodeMissingField, Message: "x"}}, Warnings: []abi.Finding{}}
	for _, c := range []struct {
		err     error
		code    string
		message string
		report  *abi.Report
	}{
		{abi.StatusNotLoaded, "NotLoaded", abi.StatusNotLoaded.Error(), nil},
		{&abi.Error{Status: abi.StatusInvalidImage}, "InvalidImage", abi.StatusInvalidImage.Error(), nil},
		{&abi.Error{Status: abi.StatusInvalidRequest, Message: `/SourceIp: "a" is not readable`}, "InvalidRequest", `/SourceIp: "a" is not readable`, nil},
		{&abi.Error{Status: abi.StatusInvalidDocument, Message: "m", Report: report}, "InvalidDocument", "m", report},
		{errors.New("anything else"), "Internal", "anything else", nil},
		{abi.Status(200), "Status(200)", "Status(200)", nil},
	} {
		var want errorJSON
		want.Error.Code, want.Error.Message, want.Error.Report = c.code, c.message, c.report
		got, status := AppendError(nil, c.err)
		requireWritten(t, want, got)
		require.Equal(t, c.code, status.String())
	}
}

func appendedError(b []byte, err error) []byte {
	b, _ = AppendError(b, err)
	return b
}

func TestInfoTellsWhatIsLoaded(t *testing.T) {
	version := fmt.Sprintf("%d.%d", abi.VersionMajor, abi.VersionMinor)
	require.Equal(t, encode(t, struct {
		Release, ABI string
		Loaded       bool
	}{abi.Release, version, false}), string(AppendInfo(nil, nil)))

	e, err := Load([]byte(smallSet))
	require.NoError(t, err)
	require.Equal(t, encode(t, struct {
		Release, ABI                     string
		Loaded                           bool
		Accounts, AccessKeys, ImageBytes int
	}{abi.Release, version, true, 2, 3, len(e.Image())}), string(AppendInfo(nil, e)))
}

func TestWritersAppend(t *testing.T) {
	e, err := Load([]byte(smallSet))
	require.NoError(t, err)
	trace, err := e.Explain(smallRequests()[0])
	require.NoError(t, err)
	for _, appended := range [][]byte{
		AppendReport([]byte("before"), &abi.Report{}), appendedError([]byte("before"), abi.StatusNotLoaded),
		AppendTrace([]byte("before"), &trace), AppendInfo([]byte("before"), e),
	} {
		rest, ok := bytes.CutPrefix(appended, []byte("before"))
		require.True(t, ok)
		require.True(t, json.Valid(rest))
	}
}
