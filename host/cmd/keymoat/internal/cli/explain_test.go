package cli

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func TestExplainTellsEachStep(t *testing.T) {
	for name, test := range map[string]struct {
		flags  string
		status int
	}{
		"allowed.txt":   {"--access-key-id LTAI5tExample0000000001 --source-ip 192.168.3.4 --vpc-id " + vpc, 0},
		"denied.txt":    {"--access-key-id LTAI5tExample0000000003 --source-ip 203.0.113.1 --service Oss --action GetObject", 1},
		"temporary.txt": {"--access-key-id STS.Example0000000000001 --source-ip 203.0.113.1", 0},
	} {
		args := append([]string{"explain", "--policies", policies}, strings.Fields(test.flags)...)
		r := run(t, "", args...)
		require.Equal(t, test.status, r.status, r.err)
		golden(t, "explain."+name, r.out)
		require.Equal(t, r, run(t, "", append(args, "--engine", "wasm")...))
	}
}

func TestExplainTakesTheRequestAsJSON(t *testing.T) {
	require.Equal(t,
		run(t, "", "explain", "--policies", policies, "--access-key-id", key3, "--source-ip", "203.0.113.1", "--vpc-id", vpc, "-o", "json"),
		run(t, "", "explain", "--policies", policies, "--request", `{"AccessKeyId":"`+key3+`","SourceIp":"203.0.113.1","VpcId":"`+vpc+`"}`, "-o", "json"))
}

func TestExplainAsJSONIsTheTrace(t *testing.T) {
	r := run(t, "", "explain", "--policies", policies, "--access-key-id", key1, "--source-ip", "203.0.113.1", "-o", "json")
	require.Zero(t, r.status)
	require.Equal(t, 1, strings.Count(r.out, "\n"))
	var trace abi.Trace
	require.NoError(t, json.Unmarshal([]byte(r.out), &trace))
	require.True(t, trace.Decision.Allowed())
	require.Equal(t, abi.ReasonMatched, trace.Decision.Reason)
	require.Equal(t, key1, trace.Request.AccessKeyID, "a decision that was asked for shows the whole id")
	require.Len(t, trace.Steps, len(abi.Steps()))
	require.Equal(t, "Matched", trace.Steps[5].Reason)
}

func TestExplainDrawsTheFlow(t *testing.T) {
	args := []string{"explain", "--policies", policies, "--access-key-id", key1, "--source-ip", "203.0.113.2", "-o"}
	r := run(t, "", append(args, "svg")...)
	require.Equal(t, 1, r.status)
	decoder := xml.NewDecoder(strings.NewReader(r.out))
	for {
		_, err := decoder.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
	require.Contains(t, r.out, "<title id=\"km-title\">keymoat decision: Deny SourceIPNotListed</title>")

	r = run(t, "", append(args, "mermaid")...)
	require.Equal(t, 1, r.status)
	require.Contains(t, r.out, "\nflowchart TD\n")
	require.Contains(t, r.out, "    class SourceIPNotListed reached\n")
}

func TestExplainShowsNoControlCharacters(t *testing.T) {
	request := `{"AccessKeyId":"a","SourceIp":"::1","VpcId":"\u001b[2J","Service":"\u0007\u202e"}`
	for _, format := range []string{"text", "svg", "mermaid"} {
		r := run(t, "", "explain", "--policies", policies, "--request", request, "-o", format)
		require.Equal(t, 1, r.status, r.err)
		require.NotContains(t, r.out, "\x1b")
		require.NotContains(t, r.out, "\u202e")
	}
}
