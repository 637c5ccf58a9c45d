package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/schema"
	"github.com/keymoat/keymoat/plugin/denial"
)

func TestTheREADMENamesEveryFieldCounterAndEvent(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	readme := string(b)

	document, err := schema.FS.ReadFile("plugin-config.json")
	require.NoError(t, err)
	var described struct {
		Properties map[string]any `json:"properties"`
	}
	require.NoError(t, json.Unmarshal(document, &described))
	require.NotEmpty(t, described.Properties)
	for field := range described.Properties {
		if field != "denial" { // its members have a row each
			require.Contains(t, readme, "| `"+field+"` |")
		}
	}
	for _, format := range denial.Formats() {
		require.Contains(t, readme, "`"+format.String()+"`")
	}
	for _, problem := range denial.Problems() {
		require.Contains(t, readme, problem.String())
	}
	for _, e := range events {
		require.Contains(t, readme, "`"+e.name+"`")
	}
	var c counters
	h := &fakeHost{counters: map[string]int{}}
	require.True(t, c.define(h))
	for _, name := range h.names {
		name = strings.TrimPrefix(name, "keymoat.")
		if !strings.HasPrefix(name, "decision.") && !strings.HasPrefix(name, "error.") {
			require.Contains(t, readme, "`"+name+"`")
		}
	}
	require.Contains(t, readme, abi.DenialCode)
}
