package testee_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host"
)

func ask(t *testing.T, evaluator host.Evaluator, lines ...string) []string {
	var out bytes.Buffer
	require.NoError(t, testee.Serve(t.Context(), evaluator, strings.NewReader(strings.Join(lines, "\n")), &out))
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}

func TestEveryLineGetsOneAnswerInOrder(t *testing.T) {
	answers := ask(t, host.NewNative(),
		`{"Evaluate":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}}`,
		``,
		`{"LoadRaw":"eyJBY2NvdW50cyI6W119"}`,
		`{"Evaluate":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}}`,
		`{"EvaluateRaw":"e30="}`,
		`{"Validate":{"Accounts":[{}]}}`,
		`{"Authorize":{"Target":"/","SourceIp":"203.0.113.1"}}`,
		`{"Explain":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}}`, // without a line end
	)
	require.Len(t, answers, 7, "empty lines are no requests")
	for i, want := range []string{
		`{"Error":{"Code":"NotLoaded",`,
		`{"Revision":"`,
		`{"Effect":"Deny","Reason":"UnknownAccount","Level":"None","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}`,
		`{"Error":{"Code":"InvalidAccessKeyId",`,
		`{"Valid":false,"Errors":[{"Code":"MissingField","Pointer":"/Accounts/0",`,
		`{"Effect":"Allow","Reason":"NoAccessKey","Level":"None","Network":"Public"}`,
		`{"Request":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"},"Decision":{"Effect":"Deny",`,
	} {
		require.True(t, strings.HasPrefix(answers[i], want), answers[i])
	}
}

func TestARefusedLoadCarriesItsReport(t *testing.T) {
	answers := ask(t, host.NewNative(), `{"Load":{"Accounts":[{}]}}`)
	require.Contains(t, answers[0], `{"Error":{"Code":"InvalidDocument","Message":"`)
	require.Contains(t, answers[0], `"Report":{"Valid":false,"Errors":[{"Code":"MissingField"`)
}

func TestDocumentsArriveByteForByte(t *testing.T) {
	answers := ask(t, host.NewNative(), `{"Validate":{"Accounts":[],"Accounts":[]}}`, `{"Validate": {"Version": 1.5e0, "Accounts": []}}`)
	require.Contains(t, answers[0], "DuplicateField")
	require.Contains(t, answers[1], "InvalidVersion")
}

func TestLinesThatAreNoRequestsGetAnError(t *testing.T) {
	for _, line := range []string{`{`, `[]`, `null`, `{}`, `{"Judge":{}}`, `{"Load":{},"Validate":{}}`, `{"LoadRaw":1}`, `{"LoadRaw":"*"}`, `{"load":{}}`, `{"Raw":""}`} {
		answers := ask(t, host.NewNative(), line)
		require.Len(t, answers, 1)
		require.True(t, strings.HasPrefix(answers[0], `{"Error":{"Code":"InvalidArgument","Message":"`), "%s: %s", line, answers[0])
	}
}

// broken is an evaluator that fails with an error that names no status.
type broken struct{ host.Evaluator }

func (broken) Evaluate(context.Context, abi.Request) (abi.Decision, error) {
	return abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched}, errors.New("out of order")
}

func TestAnErrorIsNeverADecision(t *testing.T) {
	answers := ask(t, broken{}, `{"Evaluate":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}}`)
	require.Equal(t, `{"Error":{"Code":"Internal","Message":"out of order"}}`, answers[0])
}

type faultyPipe struct{}

func (faultyPipe) Read([]byte) (int, error)  { return 0, io.ErrUnexpectedEOF }
func (faultyPipe) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAFaultyPipeEndsTheService(t *testing.T) {
	require.ErrorIs(t, testee.Serve(t.Context(), host.NewNative(), faultyPipe{}, io.Discard), io.ErrUnexpectedEOF)
	require.ErrorIs(t, testee.Serve(t.Context(), host.NewNative(), strings.NewReader("{}\n"), faultyPipe{}), io.ErrShortWrite)
}

func ExampleServe() {
	requests := `{"Load":{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}}
{"Evaluate":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.7"}}
{"Evaluate":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"10.0.0.300"}}
`
	answers := new(bytes.Buffer)
	if err := testee.Serve(context.Background(), host.NewNative(), strings.NewReader(requests), answers); err != nil {
		panic(err)
	}
	_, _ = answers.ReadString('\n') // the revision
	decision, _ := answers.ReadString('\n')
	_, _ = os.Stdout.WriteString(decision)
	refusal, _ := answers.ReadString('\n')
	_, _ = os.Stdout.WriteString(refusal[:len(`{"Error":{"Code":"InvalidSourceIp"`)])
	// Output:
	// {"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"203.0.113.0/24"}
	// {"Error":{"Code":"InvalidSourceIp"
}
