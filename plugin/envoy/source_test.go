package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func TestAddressesOfSources(t *testing.T) {
	tests := []struct {
		text, seen, addr string
		direct           bool
	}{
		{"192.0.2.1:80", "192.0.2.1", "192.0.2.1", true},
		{"255.255.255.255:65535", "255.255.255.255", "255.255.255.255", true},
		{"0.0.0.0:1", "0.0.0.0", "0.0.0.0", true},
		{"192.0.2.1:0", "192.0.2.1", "192.0.2.1", false},
		{"[2001:db8::1]:443", "2001:db8::1", "2001:db8::1", true},
		{"[2001:db8::1]:0", "2001:db8::1", "2001:db8::1", false},
		{"[::ffff:192.0.2.1]:443", "192.0.2.1", "192.0.2.1", true},
		{"[::ffff:c000:201]:443", "192.0.2.1", "192.0.2.1", true},
		{"[::ffff:192.0.2.01]:443", "::ffff:192.0.2.01", "", true},
		{"192.0.2.1", "192.0.2.1", "", false},
		{"192.0.2.1:", "192.0.2.1", "", false},
		{"192.0.2.01:80", "192.0.2.01", "", true},
		{"192.0.2.256:80", "192.0.2.256", "", true},
		{"192.0.2:80", "192.0.2", "", true},
		{"192.0.2.1.1:80", "192.0.2.1.1", "", true},
		{"192.0..1:80", "192.0..1", "", true},
		{".192.0.2.1:80", ".192.0.2.1", "", true},
		{"[fe80::1%2]:80", "fe80::1%2", "", true},
		{"envoy.example:80", "envoy.example", "", true},
		{"/var/run/pipe", "/var/run/pipe", "", false},
		{"", "", "", false},
	}
	for _, test := range tests {
		var s source
		s.parse(test.text)
		require.Equal(t, test.seen, s.seen, test.text)
		require.Equal(t, test.direct, s.direct, test.text)
		want := netip.Addr{}
		if test.addr != "" {
			want = netip.MustParseAddr(test.addr)
		}
		require.Equal(t, want, s.addr(), test.text)
	}
}

// The short way reads nothing that the long one would not, and reads it alike.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{"192.0.2.1:80", "0.0.0.0:0", "1.2.3.4:", "01.2.3.4:5", "256.1.1.1:1", "1.2.3:4", "[::1]:1", "1.2.3.4:5:6"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var s source
		if !s.parseIPv4(text) {
			return
		}
		require.Equal(t, abi.ParseSource(s.seen), s.addr())
		require.True(t, s.addr().Is4())
		require.Equal(t, text[:len(s.seen)+1], s.seen+":")
	})
}
