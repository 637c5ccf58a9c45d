package abi_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func httpRequests() map[string]abi.HTTPRequest {
	source := netip.MustParseAddr("203.0.113.1")
	f := full()
	return map[string]abi.HTTPRequest{
		"nothing but an address": {SourceIP: source},
		"a target":               {SourceIP: source, Target: "/?AccessKeyId=LTAI5tExample0000000001"},
		"a flag":                 {SourceIP: source, Target: "/", DenyMissingAccessKey: true},
		"IPv6":                   {SourceIP: netip.MustParseAddr("2001:db8::1"), Target: "/"},
		"headers": {SourceIP: source, Target: "/", Headers: []abi.HTTPHeader{
			{Name: "Authorization", Value: "OSS LTAI5tExample0000000001:signature"}, {Name: "", Value: ""}, {Name: "Authorization", Value: "again"}}},
		"all fields": {SourceIP: f.SourceIP, Target: strings.Repeat("/", 5000), VPCID: f.VPCID, AccountID: f.AccountID,
			Service: f.Service, Action: f.Action, Protocol: f.Protocol, DenyMissingAccessKey: true,
			Headers: []abi.HTTPHeader{{Name: strings.Repeat("n", 300), Value: strings.Repeat("v", 70_000)}}},
	}
}

func TestAnHTTPRequestSurvivesItsBinaryForm(t *testing.T) {
	for name, r := range httpRequests() {
		t.Run(name, func(t *testing.T) {
			b, status := abi.AppendHTTPRequest([]byte("before"), &r)
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, "before", string(b[:6]))
			b = b[6:]
			kept := bytes.Clone(b)
			got, status := abi.DecodeHTTPRequest(b, nil)
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, r, got)
			require.Equal(t, kept, b, "reading changes nothing")
		})
	}
}

func TestHeadersAreReadIntoTheGivenSlice(t *testing.T) {
	r := httpRequests()["headers"]
	b, _ := abi.AppendHTTPRequest(nil, &r)
	space := make([]abi.HTTPHeader, 0, 8)
	got, status := abi.DecodeHTTPRequest(b, space)
	require.Equal(t, abi.StatusOK, status)
	require.Same(t, &space[:1][0], &got.Headers[0])
}

func TestAnHTTPRequestThatCannotBeSentIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		request abi.HTTPRequest
		want    abi.Status
	}{
		"no address":   {abi.HTTPRequest{Target: "/"}, abi.StatusInvalidSourceIP},
		"a zone":       {abi.HTTPRequest{SourceIP: netip.MustParseAddr("fe80::1%eth0")}, abi.StatusInvalidSourceIP},
		"a long field": {abi.HTTPRequest{SourceIP: netip.MustParseAddr("::1"), VPCID: strings.Repeat("x", 256)}, abi.StatusInvalidRequest},
	} {
		t.Run(name, func(t *testing.T) {
			b, status := abi.AppendHTTPRequest([]byte("before"), &c.request)
			require.Equal(t, c.want, status)
			require.Equal(t, "before", string(b))
		})
	}
}

func TestAnHTTPRequestMustFillItsBytes(t *testing.T) {
	r := httpRequests()["headers"]
	b, _ := abi.AppendHTTPRequest(nil, &r)
	for n := range b {
		_, status := abi.DecodeHTTPRequest(b[:n], nil)
		require.Equal(t, abi.StatusInvalidRequest, status, "%d bytes", n)
	}
	_, status := abi.DecodeHTTPRequest(append(b, 0), nil)
	require.Equal(t, abi.StatusInvalidRequest, status, "one more byte")
}

func TestAnUnknownFlagIsRefused(t *testing.T) {
	r := httpRequests()["a target"]
	b, _ := abi.AppendHTTPRequest(nil, &r)
	for flags := range 256 {
		b[2] = byte(flags)
		got, status := abi.DecodeHTTPRequest(b, nil)
		if flags > abi.HTTPFlagDenyMissing|abi.HTTPFlagDenyFormBody {
			require.Equal(t, abi.StatusInvalidRequest, status, "flags %d", flags)
			continue
		}
		require.Equal(t, abi.StatusOK, status)
		require.Equal(t, flags&abi.HTTPFlagDenyMissing != 0, got.DenyMissingAccessKey)
		require.Equal(t, flags&abi.HTTPFlagDenyFormBody != 0, got.DenyFormBody)
		again, status := abi.AppendHTTPRequest(nil, &got)
		require.Equal(t, abi.StatusOK, status)
		require.Equal(t, b, again)
	}
}

func TestALengthBeyondTheEndIsRefused(t *testing.T) {
	r := abi.HTTPRequest{SourceIP: netip.MustParseAddr("203.0.113.1"), Target: "/", Headers: []abi.HTTPHeader{{Name: "n", Value: "v"}}}
	b, _ := abi.AppendHTTPRequest(nil, &r)
	for _, at := range []int{abi.RequestHeaderSize, abi.RequestHeaderSize + 5, abi.RequestHeaderSize + 9, abi.RequestHeaderSize + 13} {
		for _, length := range [][]byte{{0xff, 0xff, 0xff, 0xff}, {0, 0, 0, 0x80}, {100, 0, 0, 0}} {
			hostile := bytes.Clone(b)
			copy(hostile[at:], length)
			_, status := abi.DecodeHTTPRequest(hostile, nil)
			require.Equal(t, abi.StatusInvalidRequest, status, "%x at %d", length, at)
		}
	}
}

func FuzzDecodeHTTPRequest(f *testing.F) {
	for _, r := range httpRequests() {
		b, _ := abi.AppendHTTPRequest(nil, &r)
		if len(b) < 4096 {
			f.Add(b)
			f.Add(b[:len(b)-1])
		}
	}
	f.Add(append(withSource(abi.SourceText, "203.0.113.1"), 0, 0, 0, 0, 0, 0, 0, 0))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, status := abi.DecodeHTTPRequest(b, nil)
		if status != abi.StatusOK {
			require.Equal(t, abi.StatusInvalidRequest, status)
			require.Zero(t, r)
			return
		}
		require.LessOrEqual(t, 8*len(r.Headers), len(b), "what is read takes no more than its share of memory")
		again, status := abi.AppendHTTPRequest(nil, &r)
		if !r.SourceIP.IsValid() {
			require.Equal(t, abi.StatusInvalidSourceIP, status)
			return
		}
		require.Equal(t, abi.StatusOK, status)
		same, status := abi.DecodeHTTPRequest(again, nil)
		require.Equal(t, abi.StatusOK, status)
		require.Equal(t, r, same)
	})
}
