package host

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/policy"
)

// evaluators are those of this package: what holds for one has to hold for all.
var evaluators = map[string]func(testing.TB) Evaluator{
	"Engine": func(t testing.TB) Evaluator { return newEngine(t) },
	"Native": func(testing.TB) Evaluator { return NewNative() },
}

func imageOf(t testing.TB, document string) []byte {
	t.Helper()
	image, _, err := policy.Compile([]byte(document))
	require.NoError(t, err)
	return image
}
