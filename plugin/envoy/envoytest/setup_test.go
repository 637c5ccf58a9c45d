package envoytest_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

const (
	open   = "LTAI5tExample0000000001" // may be used from anywhere on the public network
	closed = "LTAI5tExample0000000002" // only from office, and from inVPC by way of vpc
	vpc    = "vpc-m5ekxe1zi8zwgqrtc1234"
)

var (
	office   = netip.MustParseAddr("198.51.100.7")
	officeV6 = netip.MustParseAddr("2001:db8::7")
	stranger = netip.MustParseAddr("203.0.113.9")
	inVPC    = netip.MustParseAddr("192.168.1.7")
	balancer = netip.MustParseAddr("10.1.2.3")
)

// policySet has the two keys above.
const policySet = `{"Accounts": [{"AccountId": "1000000000000001", "AccessKeys": [
	{"AccessKeyId": "` + open + `", "AccessKeyPolicy": {"Status": "Active", "Statements": [
		{"Type": "ClassicWhiteList", "IPList": ["0.0.0.0/0", "::/0"]}]}},
	{"AccessKeyId": "` + closed + `", "AccessKeyPolicy": {"Status": "Active", "Statements": [
		{"Type": "ClassicWhiteList", "IPList": ["198.51.100.7", "2001:db8::7"]},
		{"Type": "VPCWhiteList", "Value": "` + vpc + `", "IPList": ["192.168.0.0/16", "10.0.0.0/8", "fd00::/8"]}]}}]}]}`

// configuration is a plugin configuration with policySet and further members.
func configuration(members ...string) string {
	return "{" + strings.Join(append([]string{`"policy_set": ` + policySet}, members...), ", ") + "}"
}

var scratch string // for the filters, which all tests share

func TestMain(m *testing.M) {
	var err error
	if scratch, err = os.MkdirTemp("", "envoytest"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	os.RemoveAll(scratch)
	os.Exit(status)
}

var builds = map[string]func() (string, error){
	"":       sync.OnceValues(func() (string, error) { return build("keymoat-envoy.wasm") }),
	"faults": sync.OnceValues(func() (string, error) { return build("keymoat-envoy-faults.wasm", "faults") }),
}

func build(name string, tags ...string) (string, error) {
	file := filepath.Join(scratch, name)
	if err := lookAtSources(); err != nil {
		return "", err
	}
	return file, envoytest.BuildFilter(context.Background(), file, tags...)
}

// lookAtSources touches what the filter is built from. `go test` takes an old
// result as long as the files that the test itself has looked at stay the same,
// and knows nothing of those that a compiler reads in another process.
func lookAtSources() error {
	root, err := envoytest.Root()
	if err != nil {
		return err
	}
	for _, folder := range []string{"abi", "plugin"} {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, _ fs.DirEntry, err error) error {
			if err == nil && filepath.Ext(path) == ".go" {
				_, err = os.Stat(path)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// filter returns the file of the filter, built with a tag or without.
func filter(t *testing.T, tag string) string {
	t.Helper()
	envoytest.Require(t)
	file, err := builds[tag]()
	require.NoError(t, err)
	return file
}

// site is an Envoy before an upstream that tells what reached it.
type site struct {
	*envoytest.Envoy
	addresses map[string]string
	reached   *atomic.Int64 // requests that the upstream has seen
}

// start starts an Envoy with these listeners, each before the same upstream.
// The bootstrap may be changed before.
func start(t *testing.T, o envoytest.Options, change func(envoytest.Object), listeners ...envoytest.Listener) *site {
	t.Helper()
	s := &site{addresses: map[string]string{}, reached: new(atomic.Int64)}
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.reached.Add(1)
		w.Header().Set("X-Upstream", "reached")
		json.NewEncoder(w).Encode(r.Header)
	}))
	t.Cleanup(upstream.Close)
	for i := range listeners {
		listeners[i].Upstream = upstream.Listener.Addr().String()
	}
	bootstrap, err := envoytest.Bootstrap(listeners...)
	require.NoError(t, err)
	if change != nil {
		change(bootstrap)
	}
	o.Bootstrap, o.Dir = bootstrap, t.TempDir()
	s.Envoy, err = envoytest.Start(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(s.Close)
	for _, l := range listeners {
		s.addresses[l.Name], err = s.Address(t.Context(), l.Name)
		require.NoError(t, err)
	}
	return s
}

// manager is the HTTP connection manager of a listener, to change it.
func manager(bootstrap envoytest.Object, listener string) envoytest.Object {
	for _, l := range bootstrap["static_resources"].(envoytest.Object)["listeners"].([]any) {
		if l := l.(envoytest.Object); l["name"] == listener {
			chain := l["filter_chains"].([]any)[0].(envoytest.Object)
			return chain["filters"].([]any)[0].(envoytest.Object)["typed_config"].(envoytest.Object)
		}
	}
	panic("no listener " + listener)
}

// answer is what came back. Its status is 0 if the connection was closed instead.
type answer struct {
	status int
	header http.Header
	body   string
	passed bool // the upstream has seen the request
}

// patience bounds one request. It is generous, since nothing waits longer than it must.
const patience = 60 * time.Second

// send opens a connection, writes what is given byte by byte, so that no client
// library tidies anything up, and reads one answer.
func (s *site) send(t *testing.T, listener string, proxyHeader []byte, request string) answer {
	t.Helper()
	before := s.reached.Load()
	c, err := net.Dial("tcp", s.addresses[listener])
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	// Envoy may answer and close before all is written: its answer counts.
	go io.WriteString(c, string(proxyHeader)+request)
	r := bufio.NewReader(c)
	res, err := http.ReadResponse(r, nil)
	for err == nil && res.StatusCode == http.StatusContinue {
		res, err = http.ReadResponse(r, nil)
	}
	if err != nil {
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "no answer: %v", err)
		return answer{passed: s.reached.Load() != before}
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	return answer{res.StatusCode, res.Header, string(body), s.reached.Load() != before}
}

// from is send by way of a load balancer that names the client.
func (s *site) from(t *testing.T, listener string, client netip.Addr, request string, tlvs ...envoytest.TLV) answer {
	t.Helper()
	return s.send(t, listener, envoytest.ProxyHeader(client, tlvs...), request)
}

// request is a request with header lines of the form "name: value".
func request(target string, headers ...string) string {
	var b strings.Builder
	b.WriteString("GET " + target + " HTTP/1.1\r\nHost: ecs.example.com\r\nConnection: close\r\n")
	for _, h := range headers {
		b.WriteString(h + "\r\n")
	}
	return b.String() + "\r\n"
}

// signed is a request in the name of a key.
func signed(key string, headers ...string) string {
	return request("/", append([]string{"Authorization: ACS3-HMAC-SHA256 Credential=" + key + ",SignedHeaders=host,Signature=00"}, headers...)...)
}

// requireAllowed requires that a request has reached the upstream. It returns
// the headers that the upstream has seen.
func requireAllowed(t *testing.T, a answer) http.Header {
	t.Helper()
	require.Equal(t, http.StatusOK, a.status, a.body)
	require.True(t, a.passed)
	require.Equal(t, "reached", a.header.Get("X-Upstream"))
	var seen http.Header
	require.NoError(t, json.Unmarshal([]byte(a.body), &seen))
	return seen
}

// requireRefused requires that the filter itself has refused, in the format
// json, with these texts in the answer, and that the upstream has seen nothing.
func requireRefused(t *testing.T, a answer, texts ...string) {
	t.Helper()
	require.False(t, a.passed, "the request reached the upstream")
	require.Equal(t, http.StatusForbidden, a.status, a.body)
	require.True(t, json.Valid([]byte(a.body)), a.body)
	for _, text := range texts {
		require.Contains(t, a.body, text)
	}
}

// counter is the value of one counter of the filter. It has to exist.
func (s *site) counter(t *testing.T, name string) int {
	t.Helper()
	name = "wasmcustom.keymoat." + name
	stats, err := s.Stats(t.Context(), "^"+strings.ReplaceAll(name, ".", `\.`)+"$")
	require.NoError(t, err)
	require.Contains(t, stats, name)
	return stats[name]
}

// counts returns a function that waits until a counter has grown by n. Counts
// of allowed requests reach Envoy within a second.
func (s *site) counts(t *testing.T, name string) func(n int) {
	t.Helper()
	before := s.counter(t, name)
	return func(n int) {
		t.Helper()
		require.NoError(t, s.Wait(t.Context(), name, func() bool { return s.counter(t, name) >= before+n }))
		require.Equal(t, before+n, s.counter(t, name), name)
	}
}
