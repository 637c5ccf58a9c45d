package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBothEnginesAnswerOverThePipe(t *testing.T) {
	const requests = `{"Load":{"Accounts":[]}}
{"Evaluate":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}}
`
	answers := map[string]string{}
	for _, engine := range []string{"native", "wasm"} {
		var out bytes.Buffer
		require.NoError(t, serve(t.Context(), engine, strings.NewReader(requests), &out))
		answers[engine] = out.String()
	}
	require.Contains(t, answers["native"], `"Reason":"UnknownAccount"`)
	require.Equal(t, answers["native"], answers["wasm"])
}

func TestAnUnknownEngineIsRefused(t *testing.T) {
	require.ErrorContains(t, serve(t.Context(), "Wasm", strings.NewReader(""), new(bytes.Buffer)), `unknown engine "Wasm"`)
}
