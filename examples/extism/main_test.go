package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheExampleSaysWhatTheReadmeShows(t *testing.T) {
	wasm := filepath.Join(t.TempDir(), "keymoat-extism.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", wasm, ".")
	build.Dir = "../../plugin/extism"
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)

	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, want, ok := strings.Cut(string(readme), "```text\n")
	require.True(t, ok)
	want, _, _ = strings.Cut(want, "```")

	var out bytes.Buffer
	require.NoError(t, run(t.Context(), wasm, &out))
	var got strings.Builder
	for line := range strings.Lines(out.String()) { // answers may end with white space
		got.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	require.Equal(t, want, got.String())
}

func TestAMissingPluginIsAnError(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), "nowhere.wasm", &bytes.Buffer{}), "nowhere.wasm")
}
