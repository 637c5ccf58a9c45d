package httpguard_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/httpguard"
)

const (
	open   = "LTAI5tExample0000000001" // may be used from everywhere
	closed = "LTAI5tExample0000000002" // from the office, and from one network of one VPC
	vpc    = "vpc-m5ekxe1zi8zwgqrtc1234"
)

const policySet = `{
  "Accounts": [{"AccountId": "1000000000000001", "AccessKeys": [
    {"AccessKeyId": "` + open + `", "AccessKeyPolicy": {"Status": "Active", "Statements": [
      {"Type": "ClassicWhiteList", "IPList": ["0.0.0.0/0", "::/0"]},
      {"Type": "VPCWhiteList", "Value": "AllowAllVPC", "IPList": ["0.0.0.0/0", "::/0"]}]}},
    {"AccessKeyId": "` + closed + `", "AccessKeyPolicy": {"Status": "Active", "Statements": [
      {"Type": "ClassicWhiteList", "IPList": ["203.0.113.0/24", "2001:db8::/32"]},
      {"Type": "VPCWhiteList", "Value": "` + vpc + `", "IPList": ["192.168.0.0/16"]}]}}]}]}`

// everywhereClosed refuses the open key, too.
var everywhereClosed = strings.ReplaceAll(strings.ReplaceAll(policySet, `"0.0.0.0/0"`, `"203.0.113.0/24"`), `, "::/0"`, ``)

func native(t testing.TB, document string) *host.Native {
	e := host.NewNative()
	_, err := e.Load(t.Context(), []byte(document))
	require.NoError(t, err)
	return e
}

func networks(all ...string) (prefixes []netip.Prefix) {
	for _, s := range all {
		prefixes = append(prefixes, netip.MustParsePrefix(s))
	}
	return prefixes
}

// records is a log that can be read.
type records struct {
	mu    sync.Mutex
	lines bytes.Buffer
}

func (l *records) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.Write(b)
}

func (l *records) logger() httpguard.Option {
	return httpguard.WithLogger(slog.New(slog.NewJSONHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug})))
}

func (l *records) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lines.String()
}

// all returns the records without their times. A name that occurs twice in one is an error.
func (l *records) all(t testing.TB) (all []map[string]any) {
	for line := range strings.Lines(l.String()) {
		var record map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &record))
		delete(record, "time")
		all = append(all, record)
	}
	return all
}

// server is a real one, on loopback, behind a guard.
type server struct {
	address string
	log     *records
	counts  *meter

	mu      sync.Mutex
	through []*http.Request // those that were passed on
}

func serve(t testing.TB, evaluator host.Evaluator, opts ...httpguard.Option) *server {
	return serveWith(t, &http.Server{}, evaluator, opts...)
}

func serveWith(t testing.TB, srv *http.Server, evaluator host.Evaluator, opts ...httpguard.Option) *server {
	s := &server{log: &records{}, counts: newMeter()}
	guard, err := httpguard.New(evaluator, append([]httpguard.Option{s.log.logger(), httpguard.WithMeterProvider(s.counts)}, opts...)...)
	require.NoError(t, err)
	srv.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	srv.ConnContext = guard.ConnContext
	srv.Handler = guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.through = append(s.through, r)
		s.mu.Unlock()
		_, _ = io.WriteString(w, "through")
	}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.address = listener.Addr().String()
	ended := make(chan error)
	go func() {
		if srv.TLSConfig != nil {
			ended <- srv.ServeTLS(guard.Listener(listener), "", "")
		} else {
			ended <- srv.Serve(guard.Listener(listener))
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, srv.Close())
		require.ErrorIs(t, <-ended, http.ErrServerClosed)
	})
	return s
}

// served returns how many requests were passed on, and the last of them.
func (s *server) served() (int, *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.through); n > 0 {
		return n, s.through[n-1]
	}
	return 0, nil
}

type answer struct {
	*http.Response
	body string
}

// errNoAnswer says that the server closed the connection instead.
var errNoAnswer = errors.New("no answer")

// exchange writes bytes on a connection of its own and reads one answer.
func (s *server) exchange(t testing.TB, raw string) (answer, error) {
	c, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
	go func() { _, _ = io.WriteString(c, raw) }() // the server may answer before it has read all
	return readAnswer(bufio.NewReader(c))
}

func readAnswer(from *bufio.Reader) (answer, error) {
	r, err := http.ReadResponse(from, nil)
	if err != nil {
		return answer{}, errors.Join(errNoAnswer, err)
	}
	body, err := io.ReadAll(r.Body)
	return answer{r, string(body)}, err
}

// get sends a request with these header lines behind a prefix, such as a PROXY
// protocol header.
func (s *server) get(t testing.TB, prefix, target string, lines ...string) answer {
	a, err := s.exchange(t, prefix+message(target, lines...))
	require.NoError(t, err)
	return a
}

func message(target string, lines ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: ecs.example.com\r\n" + strings.Join(append(lines, "", ""), "\r\n")
}

func signedBy(id string) string {
	return "Authorization: ACS3-HMAC-SHA256 Credential=" + id + ",SignedHeaders=host,Signature=0655"
}
