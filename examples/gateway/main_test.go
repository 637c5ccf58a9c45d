package main

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/policysource"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestTheExampleRuns(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out))
	golden := filepath.Join("testdata", "output.txt")
	if *update {
		require.NoError(t, os.WriteFile(golden, out.Bytes(), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), out.String())
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	require.Contains(t, string(readme), string(want))
}

func TestAGatewayWithoutRulesDoesNotStart(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	g, err := start(context.Background(), configuration{
		listener:  listener,
		balancers: netip.MustParsePrefix("127.0.0.0/8"),
		policies:  filepath.Join(t.TempDir(), "none.json"),
		logger:    slog.New(slog.DiscardHandler),
		changed:   func(policysource.Change) {},
	})
	require.ErrorIs(t, err, os.ErrNotExist)
	require.Nil(t, g)
}
