package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestACitationIsShortAndCutBetweenCharacters(t *testing.T) {
	for _, character := range []string{"a", "é", "你", "😀"} {
		for before := range 4 {
			s := Quote(strings.Repeat("x", before) + strings.Repeat(character, 100))
			require.LessOrEqual(t, len(s), 80+len(`"…"`), "%d %s", before, character)
			require.NotContains(t, s, string(utf8.RuneError))
			require.True(t, strings.HasSuffix(s, character+`…"`), s)
		}
	}
	require.Equal(t, `"short"`, Quote("short"))
	exact := strings.Repeat("a", 80)
	require.Equal(t, `"`+exact+`"`, Quote(exact))
}

func TestQuotedTextIsJSON(t *testing.T) {
	for c := range rune(0x3000) {
		want := "a" + string(c) + "b"
		var got string
		require.NoError(t, json.Unmarshal(AppendQuoted(nil, want), &got), "%q", want)
		require.Equal(t, want, got)
	}
	require.Equal(t, "\"\ufffd\"", string(AppendQuoted(nil, "\xff")))
}
