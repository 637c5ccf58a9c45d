package conformance_test

import (
	"bytes"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

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
