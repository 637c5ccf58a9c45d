package policysource_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFirstExampleOfTheREADMEIsOneThatRuns(t *testing.T) {
	unindented := func(text []byte) string {
		return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(string(text), "")
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	code, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	require.True(t, ok)
	example, _, _ := strings.Cut(rest, "```")
	require.Contains(t, unindented(code), unindented([]byte(example)))
}
