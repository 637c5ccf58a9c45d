package httpguard_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/httpguard"
	"github.com/keymoat/keymoat/plugin/denial"
)

func newRequest(target, peer string) *http.Request {
	r := httptest.NewRequest("GET", target, nil)
	r.RemoteAddr = peer
	return r
}

func TestTheAnswerHasTheFormThatIsConfigured(t *testing.T) {
	want := denial.Denial{Reason: abi.ReasonSourceIPNotListed, SourceIP: "198.51.100.7", RequestID: "8906582E-0001", Host: "ecs.example.com"}
	for _, format := range denial.Formats() {
		for _, status := range []int{0, 401, 503} {
			s := serve(t, native(t, policySet), balancer, httpguard.WithDenial(format, status))
			a := s.get(t, proxied("198.51.100.7"), "/", signedBy(closed), "X-Request-Id: 8906582E-0001")
			if status == 0 {
				status = format.Status()
			}
			require.Equal(t, status, a.StatusCode)
			require.Equal(t, format.ContentType(), a.Header.Get("Content-Type"))
			require.Equal(t, string(format.Append(nil, &want)), a.body)
			require.Equal(t, int64(len(a.body)), a.ContentLength)
		}
	}
}

func TestWhatACallerSendsIsEscaped(t *testing.T) {
	s := serve(t, native(t, policySet), httpguard.WithDenial(denial.OSSXML, 0))
	a := s.get(t, "", "/", signedBy(closed), "X-Request-Id: </RequestId><Code>OK</Code>")
	require.Contains(t, a.body, "<RequestId>&lt;/RequestId&gt;&lt;Code&gt;OK&lt;/Code&gt;</RequestId>")
}

func TestAGRPCCallGetsAGRPCStatus(t *testing.T) {
	srv := &http.Server{Protocols: new(http.Protocols)}
	srv.Protocols.SetUnencryptedHTTP2(true)
	s := serveWith(t, srv, native(t, policySet), balancer)
	call := func(contentType, source string) *http.Response {
		transport := &http.Transport{Protocols: srv.Protocols, DialContext: func(context.Context, string, string) (net.Conn, error) {
			c, err := net.Dial("tcp", s.address)
			if err == nil {
				_, err = c.Write([]byte(proxied(source)))
			}
			return c, err
		}}
		defer transport.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+s.address+"/keymoat.Test/Call", strings.NewReader("\x00\x00\x00\x00\x00"))
		require.NoError(t, err)
		r.Header.Set("Content-Type", contentType)
		r.Header.Set("Authorization", strings.TrimPrefix(signedBy(closed), "Authorization: "))
		a, err := transport.RoundTrip(r)
		require.NoError(t, err)
		require.NoError(t, a.Body.Close())
		require.Equal(t, 2, a.ProtoMajor)
		return a
	}
	for _, contentType := range []string{"application/grpc", "application/grpc+proto", "application/grpc; charset=utf-8", "application/grpc+json"} {
		a := call(contentType, "198.51.100.7")
		require.Equal(t, 200, a.StatusCode)
		require.Equal(t, "application/grpc", a.Header.Get("Content-Type"))
		require.Equal(t, "7", a.Header.Get("Grpc-Status"), "PERMISSION_DENIED")
		require.Equal(t, "Specified access key denied due to access policy. The source address is 198.51.100.7.", a.Header.Get("Grpc-Message"))
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		require.Zero(t, a.ContentLength)
	}
	for _, contentType := range []string{"application/grpc-web", "application/grpcx", "application/json", "text/plain; x=application/grpc"} {
		a := call(contentType, "198.51.100.7")
		require.Equal(t, 403, a.StatusCode)
		require.Empty(t, a.Header.Get("Grpc-Status"))
	}
	require.Empty(t, call("application/grpc", "203.0.113.1").Header.Get("Grpc-Status"), "what is allowed is the service's to answer")
}

func TestAGRPCMessageIsEncoded(t *testing.T) {
	guard, err := httpguard.New(native(t, policySet), (&records{}).logger(), httpguard.WithForwardedFor(networks("10.0.0.0/8")...))
	require.NoError(t, err)
	r := newRequest("/", "10.0.0.1:80")
	r.Header.Set("Content-Type", "application/grpc")
	r.Header.Set("X-Forwarded-For", "100%\x80ä")
	w := httptest.NewRecorder()
	guard.Handler(http.NotFoundHandler()).ServeHTTP(w, r)
	got := w.Header().Get("Grpc-Message")
	require.Equal(t, "The source address of the request cannot be read. It was given as 100%25%EF%BF%BD%C3%A4.", got)
	plain, err := url.PathUnescape(got)
	require.NoError(t, err)
	require.Contains(t, plain, "100%\uFFFDä")
}
