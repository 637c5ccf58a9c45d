package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance"
)

var update = flag.Bool("update", false, "write the golden files anew")

// exampleMatrix has two groups, two hosts and every outcome.
func exampleMatrix() *matrix {
	list := conformance.Case{Group: "lists", Subject: "Lists & blocks", ID: "list-one", Title: "One <address> is listed", Covers: `DESIGN: "lists"`}
	block := conformance.Case{Group: "lists", Subject: "Lists & blocks", ID: "list-block", Title: "A block is listed", Covers: "DESIGN: blocks"}
	trace := conformance.Case{Group: "traces", Subject: "Traces", ID: "trace-one", Title: "A trace has steps", Covers: "DESIGN: traces"}
	var m matrix
	m.add("native", []conformance.Result{{Case: list}, {Case: block}, {Case: trace}})
	m.add("envoy", []conformance.Result{
		{Case: list},
		{Case: block, Outcome: conformance.Failed, Failures: []conformance.Failure{
			{Problem: "another answer is expected", Sent: `{"Evaluate":{"SourceIp":"<b>"}}`, Want: `{"Effect":"Allow"}`, Got: `{"Effect":"Deny"}`},
			{Problem: "the testee did not answer: it ended", Sent: "EvaluateRaw \"\\x00\"", Want: `{"Effect":"Allow"}`},
		}},
		{Case: trace, Outcome: conformance.NotExpressible, Reason: "it carries no traces"},
	})
	return &m
}

func TestTheMatrixPrintsAsItsGoldenFiles(t *testing.T) {
	m := exampleMatrix()
	for name, write := range map[string]func(io.Writer) error{
		"matrix.txt": m.writeText, "junit.xml": m.writeJUnit, "page.html": m.writeHTML,
	} {
		t.Run(name, func(t *testing.T) {
			var got bytes.Buffer
			require.NoError(t, write(&got))
			file := filepath.Join("testdata", name)
			if *update {
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err)
			require.Equal(t, string(want), got.String())
		})
	}
}

func TestAMatrixCountsEachOutcomeOnce(t *testing.T) {
	m := exampleMatrix()
	require.Equal(t, 1, m.failed())
	require.Equal(t, counts{Cases: 3, Passed: 1, Failed: 1, NotExpressible: 1}, m.Hosts[1].counts)
	require.Len(t, m.Groups, 2)
	require.Len(t, m.Groups[0].Rows, 2)
	require.True(t, m.Groups[0].Rows[1].Failed)
	require.False(t, m.Groups[1].Rows[0].Failed)
}

type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestAReportThatCannotBeWrittenIsAnError(t *testing.T) {
	m := exampleMatrix()
	for _, write := range []func(io.Writer) error{m.writeText, m.writeJUnit, m.writeHTML} {
		require.ErrorIs(t, write(fullDisk{}), io.ErrShortWrite)
	}
}

func TestTheEndsOfALongOutputAreKept(t *testing.T) {
	var e ends
	for range 100 {
		_, _ = e.Write([]byte("0123456789"))
	}
	_, _ = e.Write([]byte("the cause\n"))
	kept := e.String()
	require.Len(t, kept, 300+len(" … ")+300-len("\n"))
	require.True(t, strings.HasPrefix(kept, "0123456789"))
	require.True(t, strings.HasSuffix(kept, "the cause"))

	var short ends
	_, _ = short.Write([]byte("all of it\n"))
	require.Equal(t, "all of it", short.String())
}
