package envoytest_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// Frames of HTTP/2 (RFC 9113, section 6).
const (
	frameData      = 0x0
	frameHeaders   = 0x1
	frameRSTStream = 0x3
	frameSettings  = 0x4
	frameGoAway    = 0x7

	endStream, ack, endHeaders = 0x1, 0x1, 0x4
)

func frame(kind, flags byte, stream uint32, payload []byte) []byte {
	n := len(payload)
	b := binary.BigEndian.AppendUint32([]byte{byte(n >> 16), byte(n >> 8), byte(n), kind, flags}, stream)
	return append(b, payload...)
}

// fieldBlock writes header fields, names and values in turn, as they are: no
// client library would send what the attacks send.
func fieldBlock(fields []string) (b []byte) {
	for i, text := range fields {
		if i%2 == 0 {
			b = append(b, 0) // a literal that is not indexed (RFC 7541, section 6.2.2)
		}
		const prefix = 0x7f
		if n := len(text); n < prefix {
			b = append(b, byte(n))
		} else {
			b = binary.AppendUvarint(append(b, prefix), uint64(n-prefix))
		}
		b = append(b, text...)
	}
	return b
}

// sendHTTP2 makes one request with the fields of an HTTP/2 request. The answer
// has no status and no headers: its body tells who has answered.
func (s *site) sendHTTP2(t *testing.T, listener string, client netip.Addr, fields ...string) answer {
	t.Helper()
	before := s.reached.Load()
	c, err := net.Dial("tcp", s.addresses[listener])
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(patience)))
	request := append(envoytest.ProxyHeader(client), "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"...)
	request = append(request, frame(frameSettings, 0, 0, nil)...)
	request = append(request, frame(frameHeaders, endStream|endHeaders, 1, fieldBlock(fields))...)
	_, err = c.Write(request)
	require.NoError(t, err)
	var body []byte
	for {
		var head [9]byte
		if _, err = io.ReadFull(c, head[:]); err != nil {
			break
		}
		payload := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
		if _, err = io.ReadFull(c, payload); err != nil {
			break
		}
		kind, flags, stream := head[3], head[4], binary.BigEndian.Uint32(head[5:])
		if kind == frameSettings && flags&ack == 0 {
			_, err = c.Write(frame(frameSettings, ack, 0, nil))
			require.NoError(t, err)
		}
		if kind == frameData {
			body = append(body, payload...)
		}
		ended := stream == 1 && (kind == frameData || kind == frameHeaders) && flags&endStream != 0
		if ended || kind == frameRSTStream || kind == frameGoAway {
			break
		}
	}
	var timeout net.Error
	require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "no answer: %v", err)
	return answer{body: string(body), passed: s.reached.Load() != before}
}

func testHTTP2(t *testing.T, s *site) {
	get := func(path string, more ...string) []string {
		return append([]string{":method", "GET", ":scheme", "http", ":authority", "ecs.example.com", ":path", path}, more...)
	}
	const isOpen, isClosed = "/?AccessKeyId=" + open, "/?AccessKeyId=" + closed
	const signs = "OSS " + closed + ":c2ln"

	requireReached := func(t *testing.T, a answer) (seen http.Header) {
		t.Helper()
		require.True(t, a.passed, a.body)
		require.NoError(t, json.Unmarshal([]byte(a.body), &seen))
		return seen
	}
	// What the filter judges. From office the one key may be used.
	for name, c := range map[string]struct {
		fields  []string
		says    string
		allowed bool
	}{
		"the key that is closed":             {get(isClosed), "The source address is 203.0.113.9.", true},
		"in a header":                        {get("/", "authorization", signs), "The source address is 203.0.113.9.", true},
		"Authorization twice":                {get("/", "authorization", "OSS "+open+":c2ln", "authorization", signs), "two different access keys", false},
		"one in the query, one in a header":  {get(isOpen, "authorization", signs), "two different access keys", false},
		"a header of an id with underscores": {get(isOpen, "x_ots_accesskeyid", closed), `"Code":"InvalidAccessKeyId"`, false},
		"a VPC header from anyone":           {get(isClosed, "x-vpc-id", vpc), "The source address is 203.0.113.9.", true},
		"a VPC header with underscores":      {get(isClosed, "x_vpc_id", vpc), "The source address is 203.0.113.9.", true},
		"trailers announced":                 {get(isClosed, "te", "trailers"), "The source address is 203.0.113.9.", true},
	} {
		t.Run(name, func(t *testing.T) {
			a := s.sendHTTP2(t, "header", stranger, c.fields...)
			require.False(t, a.passed)
			require.Contains(t, a.body, c.says)
			a = s.sendHTTP2(t, "header", office, c.fields...)
			require.Equal(t, c.allowed, a.passed, a.body)
			if c.allowed {
				requireNoVPCHeader(t, requireReached(t, a))
			}
		})
	}
	// What Envoy may refuse itself. Whoever it is, the upstream must not see it.
	for name, fields := range map[string][]string{
		"a name in upper case":         get(isOpen, "Authorization", signs),
		"two paths":                    {":method", "GET", ":scheme", "http", ":authority", "x", ":path", isOpen, ":path", isClosed},
		"a fragment":                   get(isOpen + "#&AccessKeyId=" + closed),
		"an empty path":                get("", "authorization", signs),
		"no path":                      {":method", "GET", ":scheme", "http", ":authority", "x", "authorization", signs},
		"a path without a slash":       get(isClosed[1:]),
		"CONNECT":                      {":method", "CONNECT", ":authority", "x:443", "authorization", signs},
		"extended CONNECT":             {":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "x", ":path", isClosed},
		"a protocol without CONNECT":   get(isClosed, ":protocol", "websocket"),
		"a zero byte in a value":       get(isOpen, "x-a", "b\x00authorization: "+signs),
		"a line end in a value":        get(isOpen, "x-a", "b\r\nauthorization: "+signs),
		"a line end in a name":         get(isOpen, "x-a\r\nauthorization", signs),
		"a colon before a name":        get(isOpen, ":authorization", signs),
		"a pseudo header behind":       {":method", "GET", ":scheme", "http", ":authority", "x", "a", "b", ":path", isClosed},
		"another request in the path":  get(isOpen + " HTTP/1.1\r\nAuthorization: " + signs),
		"another request as method":    {":method", "GET " + isClosed + " HTTP/1.1\r\nX:", ":scheme", "http", ":authority", "x", ":path", isOpen},
		"a name that is not ASCII":     get(isOpen, "x-ots-acce\u017f\u017fkeyid", closed),
		"a header of one hop":          get(isOpen, "connection", "authorization", "authorization", signs),
		"no method":                    {":scheme", "http", ":authority", "x", ":path", isClosed},
		"a key id that is not encoded": get("/?AccessKeyId\u00a0=" + closed),
	} {
		t.Run("by whomever: "+name, func(t *testing.T) {
			a := s.sendHTTP2(t, "header", stranger, fields...)
			require.False(t, a.passed, a.body)
			require.NotContains(t, a.body, "HTTP/1.1")
		})
	}
	t.Run("another host in a header of that name changes nothing", func(t *testing.T) {
		requireReached(t, s.sendHTTP2(t, "header", stranger, get(isOpen, "host", "other.example.com")...))
		require.False(t, s.sendHTTP2(t, "header", stranger, get(isClosed, "host", "other.example.com")...).passed)
	})
}
