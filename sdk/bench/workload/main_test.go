package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
	"github.com/keymoat/keymoat/plugin/policy"
)

func TestTheFilesHoldRequestsWithTheAnswersOfTheirPolicySet(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	require.NoError(t, write(dir, workload.Hundred(), workload.Cycle))

	for _, name := range []string{"policy-set.json", "policy-set.image"} {
		t.Run(name, func(t *testing.T) {
			set, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			evaluator, err := policy.Load(set)
			require.NoError(t, err)

			lines, err := os.ReadFile(filepath.Join(dir, "requests.ndjson"))
			require.NoError(t, err)
			all := bytes.Split(bytes.TrimSpace(lines), []byte("\n"))
			require.Len(t, all, workload.Cycle)
			for _, line := range all {
				var l struct{ Evaluate, Expect json.RawMessage }
				require.NoError(t, json.Unmarshal(line, &l))
				request, err := policy.ParseRequest(l.Evaluate)
				require.NoError(t, err)
				decision, status := evaluator.Evaluate(&request).Decision(request.SourceIP)
				require.Equal(t, abi.StatusOK, status)
				got, err := json.Marshal(decision)
				require.NoError(t, err)
				require.JSONEq(t, string(l.Expect), string(got))
			}
		})
	}
}
