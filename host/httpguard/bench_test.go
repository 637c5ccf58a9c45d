package httpguard_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/httpguard"
)

// nobody is a response that nobody reads. Its headers are kept, as a server
// keeps them for a connection's next request.
type nobody struct{ header http.Header }

func (n nobody) Header() http.Header         { return n.header }
func (n nobody) Write(b []byte) (int, error) { return len(b), nil }
func (n nobody) WriteHeader(int)             {}

// requests of the workload as a server hands them over: 100 keys in turn, each
// with full lists, signed with ACS3.
func requests(b *testing.B, effect abi.Effect, header string) []*http.Request {
	all, answers := workload.Hundred().Requests(4000)
	var some []*http.Request
	for i, r := range all {
		if answers[i].Effect != effect || r.VPCID != "" {
			continue
		}
		hr := httptest.NewRequest("GET", "/?Action=DescribeRegions&RegionId=cn-hangzhou&Version=2014-05-26", nil)
		hr.Header.Set("Accept", "application/json")
		hr.Header.Set("User-Agent", "AlibabaCloud (Linux; amd64) Golang/1.26 Core/0.1")
		hr.Header.Set("X-Acs-Action", "DescribeRegions")
		hr.Header.Set("X-Acs-Date", "2026-11-24T12:00:00Z")
		hr.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential="+r.AccessKeyID+
			",SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0")
		hr.RemoteAddr = netip.AddrPortFrom(r.SourceIP, 50000).String()
		if header != "" {
			hr.Header.Set(header, "198.51.100.1, "+r.SourceIP.String())
			hr.RemoteAddr = "10.0.0.1:50000"
		}
		some = append(some, hr)
	}
	require.NotEmpty(b, some)
	return some
}

// What the guard adds is the difference between a row and "no guard".
func BenchmarkRequestOf100KeysWithFullLists(b *testing.B) {
	var document bytes.Buffer
	require.NoError(b, workload.Hundred().WritePolicySet(&document))
	loaded := func(e host.Evaluator) host.Evaluator {
		_, err := e.Load(b.Context(), document.Bytes())
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, e.Close(context.Background())) })
		return e
	}
	engine, err := host.New(b.Context(), host.WithCompilationCache(filepath.Join("..", "..", "build", "cache")))
	require.NoError(b, err)
	native := loaded(host.NewNative())
	logger := httpguard.WithLogger(slog.New(slog.NewJSONHandler(io.Discard, nil)))

	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	run := func(name string, handler http.Handler, requests []*http.Request) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			w := nobody{http.Header{}}
			for i := 0; b.Loop(); i++ {
				handler.ServeHTTP(w, requests[i%len(requests)])
			}
		})
	}
	guarded := func(e host.Evaluator, opts ...httpguard.Option) http.Handler {
		g, err := httpguard.New(e, append(opts, logger)...)
		require.NoError(b, err)
		return g.Handler(next)
	}
	allowed, denied := requests(b, abi.EffectAllow, ""), requests(b, abi.EffectDeny, "")
	run("no guard", next, allowed)
	run("native, allowed", guarded(native), allowed)
	run("native, allowed, X-Forwarded-For", guarded(native, httpguard.WithForwardedFor(netip.MustParsePrefix("10.0.0.0/8"))), requests(b, abi.EffectAllow, "X-Forwarded-For"))
	run("native, allowed, a candidate", guarded(native, httpguard.WithCandidate(native)), allowed)
	run("native, refused and logged", guarded(native), denied)
	run("sandbox, allowed", guarded(loaded(engine)), allowed)
}
