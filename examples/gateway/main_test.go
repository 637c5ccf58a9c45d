package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/policysource"
	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

var update = flag.Bool("update", false, "write the golden file anew")

func TestTheExampleRuns(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), &out, true))
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

// The service behind it takes the key id from the form, and not the decoy in the header.
func TestAFormWithADecoyBesideItIsRefusedUnlessFormsAreAllowed(t *testing.T) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.FormValue("AccessKeyId")) }))
	defer api.Close()
	upstream, err := url.Parse(api.URL)
	require.NoError(t, err)
	policies, err := filepath.Abs("policies.json")
	require.NoError(t, err)
	post := func(denyForms bool) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		g, err := start(t.Context(), configuration{
			listener: listener, balancers: netip.MustParsePrefix("127.0.0.0/8"), upstream: upstream, policies: policies,
			denyForms: denyForms, logger: slog.New(slog.DiscardHandler), changed: func(policysource.Change) {},
		})
		require.NoError(t, err)
		defer func() { require.NoError(t, g.close(context.Background())) }()
		c, err := net.Dial("tcp", listener.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		r, err := http.NewRequest(http.MethodPost, "http://ecs.example.com/", strings.NewReader(url.Values{"AccessKeyId": {alice}}.Encode()))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("X-Ots-AccessKeyId", "STS.x")
		r.Close = true
		_, err = c.Write(envoytest.ProxyHeader(netip.MustParseAddr(home)))
		require.NoError(t, err)
		require.NoError(t, r.Write(c))
		answer, err := io.ReadAll(c)
		require.NoError(t, err)
		return string(answer)
	}
	require.Contains(t, post(false), alice, "it is what the flag is against")
	refused := post(true)
	require.Contains(t, refused, `"Code":"InvalidAccessKeyId"`)
	require.NotContains(t, refused, alice)
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
