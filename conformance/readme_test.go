package conformance_test

import (
	"bytes"
	"os"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance"
	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host"
)

// The conversation in README.md is held anew; … there stands for any text.
func TestTheConversationOfTheREADMETakesPlace(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	evaluator := host.NewNative()
	exchanges := regexp.MustCompile(`(?m)^→ (.+)\n← (.+)$`).FindAllStringSubmatch(string(readme), -1)
	require.Len(t, exchanges, 5)
	for _, exchange := range exchanges {
		var answer bytes.Buffer
		require.NoError(t, testee.Serve(t.Context(), evaluator, strings.NewReader(exchange[1]), &answer))
		want := strings.ReplaceAll(regexp.QuoteMeta(exchange[2]), "…", `[^"]+`)
		require.Regexp(t, "^"+want+"\n$", answer.String())
	}
}

func TestTheREADMECountsTheCasesThatArePutToEachHost(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	cases, err := conformance.Cases()
	require.NoError(t, err)
	rows := regexp.MustCompile(`(?m)^\| ([a-z-]+) \|.*\| (\d+) \| (?:\[.+\]\((.+)\) )?\|$`).FindAllStringSubmatch(string(readme), -1)
	require.Len(t, rows, 10)
	for _, row := range rows {
		put := slices.Clone(cases)
		if file := row[3]; file != "" {
			document, err := os.ReadFile(file)
			require.NoError(t, err)
			exceptions, err := conformance.ReadExceptions(document)
			require.NoError(t, err)
			put = slices.DeleteFunc(put, func(c conformance.Case) bool {
				return slices.ContainsFunc(exceptions, func(x conformance.Exception) bool {
					excepted, _ := path.Match(x.Cases, c.ID)
					return excepted
				})
			})
		}
		require.Equal(t, strconv.Itoa(len(put)), row[2], row[1])
	}
}
