package denial_test

import (
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/denial"
)

func TestTheREADMEIsTrue(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	code, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(readme), "```go\n")
	require.True(t, ok)
	example, _, _ := strings.Cut(rest, "```")
	require.Contains(t, regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(string(code), ""), example, "the first example must be one that runs")

	for _, format := range denial.Formats() {
		require.Regexp(t, "(?m)^\\| `"+format.String()+"` \\| "+strconv.Itoa(format.Status())+" \\| `"+regexp.QuoteMeta(format.ContentType())+"` ", string(readme))
	}
	for _, problem := range denial.Problems() {
		require.Contains(t, string(readme), "`"+problem.String()+"`")
	}
}
