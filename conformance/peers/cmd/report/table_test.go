package main

import (
	"flag"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance/peers"
)

var update = flag.Bool("update", false, "write the golden file")

func TestTheTableSaysWhichTargetsAreReached(t *testing.T) {
	figures := table{
		machine: "a machine",
		method:  "median of 3 rounds of 1s, ± half the range",
		parts: []part{
			{"hundred", "one evaluation, 100 keys", []row{
				{peers.KeymoatWasm, peers.Figure{NsPerOp: 199.6, Spread: 0.034}},
				{peers.KeymoatBatch, peers.Figure{NsPerOp: 120.4, Spread: 0.01}},
				{peers.KeymoatNative, peers.Figure{NsPerOp: 50, AllocsPerOp: 1}},
				{peers.OPAContains, peers.Figure{NsPerOp: 66_000, Spread: 0.2, AllocsPerOp: 233}},
				{peers.CedarByKey, peers.Figure{NsPerOp: 4_000, AllocsPerOp: 10}},
				{peers.CasbinByKey, peers.Figure{NsPerOp: 1_234_567, AllocsPerOp: 600}},
				{peers.Bart, peers.Figure{NsPerOp: 58}},
			}},
			{"million", "one evaluation, a million keys", []row{
				{peers.KeymoatWasm, peers.Figure{NsPerOp: 360}},
				{peers.Bart, peers.Figure{NsPerOp: 9}},
			}},
			{"small", "start and load", []row{{peers.KeymoatWasm, peers.Figure{NsPerOp: 30e6}}}},
		},
	}
	compare(t, "testdata/table.md", figures)
}

func TestAMillionKeysAloneCannotBeComparedWithAHundred(t *testing.T) {
	compare(t, "testdata/million.md", table{parts: []part{
		{"million", "a million keys", []row{{peers.KeymoatWasm, peers.Figure{NsPerOp: 1}}}},
	}})
}

func compare(t *testing.T, golden string, got table) {
	t.Helper()
	if *update {
		require.NoError(t, os.WriteFile(golden, []byte(got.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), got.String())
}

func TestNumbersArePrintedForPeople(t *testing.T) {
	for value, want := range map[float64]string{0: "0.0", 999.94: "999.9", 999.96: "1,000", 1_234_567: "1,234,567"} {
		require.Equal(t, want, thousands(value))
	}
	for ratio, want := range map[float64]string{330.4: "330×", 9.876: "9.88×", 0.25: "0.25×", 0.0051: "0.01×", 0.00012: "< 0.01×"} {
		require.Equal(t, want, times(ratio))
	}
}

func TestWrongFlagsAreRefusedBeforeAnythingIsMeasured(t *testing.T) {
	require.ErrorContains(t, run(0, 1, nil), "-rounds")
	require.ErrorContains(t, run(1, 1, []string{"huge"}), "-workloads huge")
}
