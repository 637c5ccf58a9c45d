package conformance_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance"
	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host"
)

// fake is a testee that answers as Native does, except where answer changes
// that. An answer of nil ends it.
func fake(answer func(line, right string) []byte) conformance.Start {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		in, requests := io.Pipe()
		answers, out := io.Pipe()
		go func() {
			native := host.NewNative()
			for lines := bufio.NewReader(in); ; {
				line, err := lines.ReadString('\n')
				if err != nil {
					_ = out.CloseWithError(err)
					return
				}
				var right bytes.Buffer
				if err := testee.Serve(ctx, native, strings.NewReader(line), &right); err != nil {
					_ = out.CloseWithError(err)
					return
				}
				b := answer(line, right.String())
				if b == nil {
					_ = in.CloseWithError(io.ErrClosedPipe)
					_ = out.Close()
					return
				}
				if _, err := out.Write(b); err != nil {
					return
				}
			}
		}()
		return struct {
			io.Reader
			io.Writer
			io.Closer
		}{answers, requests, closers{requests, answers}}, nil
	}
}

type closers []io.Closer

func (c closers) Close() (err error) {
	for _, one := range c {
		err = errors.Join(err, one.Close())
	}
	return err
}

func right(_, right string) []byte { return []byte(right) }

// replacing answers like Native with one text replaced.
func replacing(from, to string) conformance.Start {
	return fake(func(_, right string) []byte { return []byte(strings.ReplaceAll(right, from, to)) })
}

func check(t *testing.T, start conformance.Start, exceptions ...conformance.Exception) map[string]conformance.Result {
	cases, err := conformance.Cases()
	require.NoError(t, err)
	results, err := conformance.Check(t.Context(), cases, start, exceptions)
	require.NoError(t, err)
	require.Len(t, results, len(cases))
	byID := map[string]conformance.Result{}
	for i, r := range results {
		require.Equal(t, cases[i].ID, r.Case.ID)
		require.Equal(t, r.Outcome == conformance.Failed, len(r.Failures) > 0)
		byID[r.Case.ID] = r
	}
	return byID
}

func failures(results map[string]conformance.Result) (ids []string) {
	for id, r := range results {
		if r.Outcome == conformance.Failed {
			ids = append(ids, id)
		}
	}
	return ids
}

// Each testee is wrong in one way. Some case that is about it must fail, and
// one that is not must pass.
func TestAWrongAnswerIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		start   conformance.Start
		failed  string
		passed  string
		problem string
	}{
		"another effect":                 {replacing(`"Effect":"Deny","Reason":"NoPublicPolicy"`, `"Effect":"Allow","Reason":"NoPublicPolicy"`), "scenario-4-no-public", "scenario-7-account-lists", "another answer"},
		"another reason":                 {replacing("VPCNotListed", "NoVPCPolicy"), "vpc-not-listed", "source-ipv4", "another answer"},
		"another level":                  {replacing(`"Level":"Account"`, `"Level":"AccessKey"`), "scenario-7-account-lists", "scenario-1-no-control", "another answer"},
		"another network":                {replacing(`"Network":"VPC"`, `"Network":"Public"`), "vpc-lists-are-apart", "source-ipv4", "another answer"},
		"another statement":              {replacing(`"Statement":1`, `"Statement":0`), "scenario-7-account-lists", "source-ipv4", "another answer"},
		"another entry":                  {replacing(`"203.0.113.1/32"`, `"203.0.113.1"`), "scenario-8-key-lists", "scenario-2-all-public-by-key", "another answer"},
		"a field too many":               {replacing(`"Effect":"Allow"`, `"Effect":"Allow","Note":""`), "scenario-1-no-control", "warning-host-bits", "another answer"},
		"a field too few":                {replacing(`,"Code":"InvalidAccessKeyId.AccessPolicyDenied"`, ``), "vpc-not-listed", "source-ipv4", "another answer"},
		"a field twice":                  {replacing(`{"Effect":"Allow"`, `{"Effect":"Deny","Effect":"Allow"`), "scenario-1-no-control", "source-port", "another answer"},
		"something behind the answer":    {replacing("}\n", "} {}\n"), "scenario-1-no-control", "", "not JSON"},
		"no JSON":                        {replacing(`{"Effect":"Allow"`, `{Effect:"Allow"`), "scenario-1-no-control", "source-port", "not JSON"},
		"another error":                  {replacing("InvalidSourceIp", "InvalidRequest"), "source-port", "source-ipv4", "another answer"},
		"a decision for an error":        {fake(decideErrors), "source-missing", "source-ipv4", "another answer"},
		"an error for a decision":        {replacing(`{"Effect":"Allow","Reason":"TemporaryCredential","Level":"None","Network":"Public"}`, `{"Error":{"Code":"Internal","Message":"m"}}`), "temporary-by-prefix", "source-ipv4", "another answer"},
		"an error without a message":     {fake(silence), "source-port", "source-ipv4", "no message"},
		"a refusal without a report":     {replacing(`"Report":`, `"Findings":`), "invalid-status", "source-ipv4", "another answer"},
		"another revision":               {fake(otherRevision), "image-decides-as-the-document", "nothing-loaded", "revision"},
		"no revision":                    {replacing(`{"Revision":`, `{"Version":`), "load-the-same-again", "nothing-loaded", "another answer"},
		"a revision in capitals":         {fake(shoutedRevision), "load-the-same-again", "nothing-loaded", "lower-case"},
		"another revision in a trace":    {replacing(`"Revision":"`, `"Revision":"0`), "explain-not-listed", "nothing-loaded", ""},
		"a finding at another place":     {replacing(`"Pointer":"/Statements/0/Value"`, `"Pointer":"/Statements/0"`), "invalid-value", "invalid-type", "is missing"},
		"another code":                   {replacing(`"InvalidType"`, `"WrongType"`), "invalid-type", "invalid-value", "is missing"},
		"a finding too few":              {replacing(`"Errors":[{"Code":"InvalidVersion"`, `"Errors":[],"x":[{"Code":"InvalidVersion"`), "invalid-version", "invalid-value", "another answer"},
		"findings that are null":         {replacing(`"Warnings":[]`, `"Warnings":null`), "no-warning", "source-ipv4", "another answer"},
		"valid though it has errors":     {replacing(`"Valid":false`, `"Valid":true`), "invalid-value", "no-warning", "another answer"},
		"a warning untold":               {replacing(`"Warnings":[{"Code":"NoStatements"`, `"Warnings":[],"x":[{"Code":"NoStatements"`), "warning-no-statements", "no-warning", "another answer"},
		"a trace without its last step":  {replacing(`,{"Step":"Source"`, `],"x":[{"Step":"Source"`), "explain-not-listed", "explain-owner-refusals", "another answer"},
		"a step without an answer":       {replacing(`"The id has the form of a permanent AccessKey."`, `""`), "explain-not-listed", "explain-temporary-credential", "no answer"},
		"a trace that decides otherwise": {replacing(`"Decision":{"Effect":"Deny"`, `"Decision":{"Effect":"Allow"`), "explain-not-listed", "explain-matched-vpc", "another decision"},
		"a trace of another request":     {replacing(`"Request":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"192.0.2.1"`, `"Request":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"192.0.2.2"`), "explain-not-listed", "explain-matched-public", "another request"},
		"rules lost on a refused load":   {forgetful(), "refused-document-keeps-the-rules", "scenario-1-no-control", "another answer"},
	} {
		t.Run(name, func(t *testing.T) {
			// Two cases with reports of a megabyte would take most of the time.
			results := check(t, c.start, conformance.Exception{Cases: "limit-findings*", Reason: "they are large"})
			require.Equal(t, conformance.Failed, results[c.failed].Outcome, c.failed)
			require.Contains(t, results[c.failed].Failures[0].Problem, c.problem)
			if c.passed != "" {
				require.Equal(t, conformance.Passed, results[c.passed].Outcome, "%s: %v", c.passed, results[c.passed].Failures)
			}
		})
	}
}

func decideErrors(_, right string) []byte {
	if strings.HasPrefix(right, `{"Error":{"Code":"InvalidSourceIp"`) {
		return []byte(`{"Effect":"Deny","Reason":"SourceIPNotListed","Level":"None","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}` + "\n")
	}
	return []byte(right)
}

func silence(_, right string) []byte {
	if code, _, ok := strings.Cut(right, `","Message":`); ok && strings.HasPrefix(right, `{"Error":`) {
		return []byte(code + `","Message":""}}` + "\n")
	}
	return []byte(right)
}

func otherRevision(_, right string) []byte {
	if strings.HasPrefix(right, `{"Revision":`) {
		return []byte(`{"Revision":"` + strings.Repeat("0", 64) + `"}` + "\n")
	}
	return []byte(right)
}

func shoutedRevision(_, right string) []byte {
	if revision, ok := strings.CutPrefix(right, `{"Revision":`); ok {
		return []byte(`{"Revision":` + strings.ToUpper(revision))
	}
	return []byte(right)
}

// forgetful answers as if nothing were loaded after a load was refused.
func forgetful() conformance.Start {
	lost := false
	return fake(func(line, right string) []byte {
		switch {
		case strings.HasPrefix(line, `{"Load`):
			lost = strings.HasPrefix(right, `{"Error"`)
		case lost && strings.HasPrefix(line, `{"Evaluate"`):
			return []byte(`{"Error":{"Code":"NotLoaded","Message":"m"}}` + "\n")
		}
		return []byte(right)
	})
}

func TestARightTesteePasses(t *testing.T) {
	require.Empty(t, failures(check(t, fake(right))))
}

func TestAnotherRevisionIsToldOnceForEachSet(t *testing.T) {
	results := check(t, fake(otherRevision))
	require.Equal(t, conformance.Failed, results["scenario-6-one-open-key"].Outcome)
	require.Len(t, results["scenario-6-one-open-key"].Failures, 1, "the decisions are still asked for")
	require.Equal(t, conformance.Failed, results["source-ipv4"].Outcome)
	require.Equal(t, conformance.Passed, results["source-ipv6"].Outcome, "its set is that of source-ipv4")
}

func TestATesteeThatEndsIsStartedAnew(t *testing.T) {
	results := check(t, fake(func(line, right string) []byte {
		if strings.Contains(line, `"SourceIp":"fe80::1%eth0"`) {
			return nil
		}
		return []byte(right)
	}))
	require.ElementsMatch(t, []string{"source-zone", "http-unreadable-source"}, failures(results))
	require.Contains(t, results["source-zone"].Failures[0].Problem, "did not answer")
	require.Len(t, results["source-zone"].Failures, 1, "the rest of the case would be asked without its policy set")
}

func TestATesteeThatNeverAnswersIsGivenUp(t *testing.T) {
	starts := 0
	mute := fake(func(string, string) []byte { return nil })
	results := check(t, func(ctx context.Context) (io.ReadWriteCloser, error) {
		starts++
		return mute(ctx)
	})
	require.Len(t, failures(results), len(results))
	require.Equal(t, 1, starts)
}

func TestATesteeThatDoesNotStartIsAnError(t *testing.T) {
	cases, err := conformance.Cases()
	require.NoError(t, err)
	broken := errors.New("no such program")
	_, err = conformance.Check(t.Context(), cases, func(context.Context) (io.ReadWriteCloser, error) { return nil, broken }, nil)
	require.ErrorIs(t, err, broken)
}

func TestACancelledCheckIsAnError(t *testing.T) {
	cases, err := conformance.Cases()
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = conformance.Check(ctx, cases, fake(right), nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestExceptedCasesAreNotPut(t *testing.T) {
	const reason = "it carries no traces"
	results := check(t, fake(func(line, right string) []byte {
		if strings.HasPrefix(line, `{"Explain"`) && !strings.Contains(right, "NotLoaded") {
			return nil
		}
		return []byte(right)
	}), conformance.Exception{Cases: "explain-*", Reason: reason})
	require.Empty(t, failures(results))
	require.Equal(t, conformance.NotExpressible, results["explain-errors"].Outcome)
	require.Equal(t, reason, results["explain-errors"].Reason)
	require.Equal(t, conformance.Passed, results["nothing-loaded"].Outcome)
}

func TestExceptionsMustBeMeant(t *testing.T) {
	cases, err := conformance.Cases()
	require.NoError(t, err)
	for name, x := range map[string]conformance.Exception{
		"about no case":          {Cases: "no-such-*", Reason: "r"},
		"without a reason":       {Cases: "explain-errors", Reason: " "},
		"a pattern that is none": {Cases: "[", Reason: "r"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := conformance.Check(t.Context(), cases, fake(right), []conformance.Exception{x})
			require.Error(t, err)
		})
	}
}

func TestReadExceptions(t *testing.T) {
	got, err := conformance.ReadExceptions([]byte(`[{"Cases": "explain-*", "Reason": "it carries no traces"}]`))
	require.NoError(t, err)
	require.Equal(t, []conformance.Exception{{Cases: "explain-*", Reason: "it carries no traces"}}, got)
	for _, bad := range []string{``, `{}`, `[{"Case":"a"}]`, `[] []`} {
		_, err := conformance.ReadExceptions([]byte(bad))
		require.Error(t, err, bad)
	}
}
