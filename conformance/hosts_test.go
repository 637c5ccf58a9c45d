package conformance_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance"
	"github.com/keymoat/keymoat/host"
)

func TestNativeConforms(t *testing.T) {
	conformance.Run(t, host.NewNative())
}

func TestEngineConforms(t *testing.T) {
	engine, err := host.New(t.Context())
	require.NoError(t, err)
	defer engine.Close(t.Context())
	conformance.Run(t, engine)
}
