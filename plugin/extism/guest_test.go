package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

const (
	ruled    = `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}`
	reversed = `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["198.51.100.0/24"]}]}`
	question = `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.7"}`
	allowed  = `{"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"203.0.113.0/24"}`
	denied   = `{"Effect":"Deny","Reason":"SourceIPNotListed","Level":"Account","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}`
)

// functions are the exports by name.
var functions = map[string]function{
	"load": (*guest).load, "validate": (*guest).validate, "compile": (*guest).compile, "evaluate": (*guest).evaluate,
	"evaluate_batch": (*guest).evaluateBatch, "explain": (*guest).explain, "authorize": (*guest).authorize, "revision": (*guest).revision,
}

func newGuest(policySet string) *guest { return &guest{config: func() string { return policySet }} }

// ask calls a function as an export does.
func ask(g *guest, name, input string) (string, abi.Status) {
	answer, status := g.answer(functions[name], nil, []byte(input))
	return strings.TrimRight(string(answer), " "), status
}

func requireAnswer(t *testing.T, g *guest, want, name, input string) {
	t.Helper()
	answer, status := ask(g, name, input)
	require.Equal(t, abi.StatusOK, status, answer)
	require.Equal(t, want, answer)
}

func requireError(t *testing.T, g *guest, want abi.Status, name, input string) {
	t.Helper()
	text, status := ask(g, name, input)
	require.Equal(t, want, status, text)
	var answer struct {
		Error struct {
			Code, Message string
			Report        *abi.Report
		}
	}
	require.NoError(t, json.Unmarshal([]byte(text), &answer), text)
	require.Equal(t, want.String(), answer.Error.Code)
	require.NotEmpty(t, answer.Error.Message)
	require.Equal(t, want == abi.StatusInvalidDocument, answer.Error.Report != nil)
}

func TestWithNothingLoadedEveryQuestionIsAnError(t *testing.T) {
	g := newGuest("")
	for name := range functions {
		if name != "load" && name != "validate" && name != "compile" {
			requireError(t, g, abi.StatusNotLoaded, name, question)
		}
	}
}

func TestRulesComeFromALoad(t *testing.T) {
	g := newGuest("")
	e, err := policy.Load([]byte(ruled))
	require.NoError(t, err)
	revision := `{"Revision":"` + e.Revision() + `"}`
	requireAnswer(t, g, revision, "load", ruled)
	requireAnswer(t, g, revision, "revision", "")
	requireAnswer(t, g, allowed, "evaluate", question)
	for input, status := range map[string]abi.Status{"": abi.StatusInvalidDocument, "{}": abi.StatusInvalidDocument, string(e.Image()[:40]): abi.StatusInvalidImage} {
		requireError(t, g, status, "load", input)
		requireAnswer(t, g, allowed, "evaluate", question)
	}
	image, status := g.answer((*guest).compile, nil, []byte(reversed))
	require.Equal(t, abi.StatusOK, status)
	requireAnswer(t, g, allowed, "evaluate", question)
	_, status = ask(g, "load", string(image))
	require.Equal(t, abi.StatusOK, status)
	requireAnswer(t, g, denied, "evaluate", question)
}

func TestRulesComeFromTheManifestUntilALoad(t *testing.T) {
	g := newGuest(ruled)
	requireAnswer(t, g, allowed, "evaluate", question)
	_, status := ask(g, "load", reversed)
	require.Equal(t, abi.StatusOK, status)
	requireAnswer(t, g, denied, "evaluate", question)

	g = newGuest(ruled)
	_, status = ask(g, "load", reversed)
	require.Equal(t, abi.StatusOK, status)
	requireAnswer(t, g, denied, "evaluate", question)
}

func TestAManifestThatIsWrongIsAnErrorUntilALoad(t *testing.T) {
	g := newGuest(`{"Accounts":[{}]}`)
	for range 2 {
		requireError(t, g, abi.StatusInvalidDocument, "evaluate", question)
		requireError(t, g, abi.StatusInvalidDocument, "revision", "")
	}
	_, status := ask(g, "load", ruled)
	require.Equal(t, abi.StatusOK, status)
	requireAnswer(t, g, allowed, "evaluate", question)
}

func TestAnInvalidDocumentIsValidatedAndNotCompiled(t *testing.T) {
	g := newGuest("")
	report := policy.Validate([]byte("{}"))
	requireAnswer(t, g, string(policy.AppendReport(nil, &report)), "validate", "{}")
	requireError(t, g, abi.StatusInvalidDocument, "compile", "{}")
}

func TestABatchAnswersEachLineInOrder(t *testing.T) {
	g := newGuest(ruled)
	other := strings.Replace(question, "203.0.113.7", "198.51.100.7", 1)
	answer, status := ask(g, "evaluate_batch", question+"\n\n"+other+"   \n["+question+"]\n"+question)
	require.Equal(t, abi.StatusOK, status)
	lines := strings.SplitAfter(answer, "\n")
	require.Len(t, lines, 6)
	require.Equal(t, allowed+"\n", lines[0])
	require.Contains(t, lines[1], `{"Error":{"Code":"InvalidRequest","Message":`)
	require.Equal(t, denied+"\n", lines[2])
	require.Contains(t, lines[3], `{"Error":{"Code":"InvalidRequest","Message":`)
	require.Equal(t, allowed+"\n", lines[4])
	require.Empty(t, lines[5])
	requireAnswer(t, g, "", "evaluate_batch", "")
	requireAnswer(t, g, allowed+"\n", "evaluate_batch", question+"\n       ")
	requireAnswer(t, g, "", "evaluate_batch", "   ")
}

func TestAnswersFillWholeWords(t *testing.T) {
	g := newGuest(ruled)
	for name, input := range map[string]string{"evaluate": question, "authorize": `{"Target":"/","SourceIp":"203.0.113.7"}`} {
		answer, status := g.answer(functions[name], nil, []byte(input))
		require.Equal(t, abi.StatusOK, status)
		require.Zero(t, len(answer)%8)
		require.True(t, json.Valid(answer))
	}
}

func TestAPanicBecomesAnError(t *testing.T) {
	for name := range functions {
		if name != "validate" && name != "compile" { // they need no guest
			var g *guest
			input := question
			if name == "load" {
				input = ruled
			}
			requireError(t, g, abi.StatusInternal, name, input)
		}
	}
	g := newGuest(ruled)
	g.evaluator = &policy.Evaluator{} // without an image
	requireError(t, g, abi.StatusInternal, "evaluate", question)
	g.evaluator = nil
	requireAnswer(t, g, allowed, "evaluate", question)
}
