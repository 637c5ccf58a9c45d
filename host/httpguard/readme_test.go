package httpguard_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/httpguard"
)

func read(t *testing.T, name string) string {
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(b)
}

// unindented returns a text without the white space that lines start with.
func unindented(text string) string {
	return regexp.MustCompile(`(?m)^\s+`).ReplaceAllString(text, "")
}

func TestTheFirstExampleOfTheREADMEIsOneThatRuns(t *testing.T) {
	_, rest, ok := strings.Cut(read(t, "README.md"), "```go\n")
	require.True(t, ok)
	example, _, _ := strings.Cut(rest, "```")
	require.Contains(t, unindented(read(t, "example_test.go")), unindented(example))
}

func TestTheREADMENamesEveryCounterAndEveryOption(t *testing.T) {
	readme := read(t, "README.md")
	counts := newMeter()
	_, err := httpguard.New(host.NewNative(), httpguard.WithMeterProvider(counts))
	require.NoError(t, err)
	names := regexp.MustCompile("(?m)^\\| `(keymoat\\.[a-z_.]+)` ").FindAllStringSubmatch(readme, -1)
	var documented []string
	for _, name := range names {
		documented = append(documented, name[1])
	}
	require.ElementsMatch(t, documented, counts.names)

	for _, option := range regexp.MustCompile(`(?m)^func (\w+)\(.*\) Option `).FindAllStringSubmatch(read(t, "options.go"), -1) {
		require.Contains(t, readme, "`"+option[1])
	}
}
