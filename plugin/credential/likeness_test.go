package credential

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTheFamiliesAreThoseOfTheSchemes(t *testing.T) {
	known := map[string]bool{}
	for _, family := range families {
		known[family] = true
		require.NotEqual(t, foreign, familyWord([]byte(family)).kind, family)
	}
	for s := range schemeNames {
		scheme := Scheme(s)
		if scheme == SchemeUnknown || scheme == SchemeRPC || scheme == SchemeOTS { // which have no word
			continue
		}
		family := strings.TrimRight(strings.ToLower(scheme.String()), "0123456789")
		require.True(t, known[family], "%s is of no family", scheme)
	}
}
