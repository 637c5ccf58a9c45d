package httpguard_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/httpguard"
)

// seenBy returns the address that a guard judges a request by. It is not valid
// if the guard refuses without asking.
func seenBy(t testing.TB, peer string, headers http.Header, opts ...httpguard.Option) (seen netip.Addr) {
	guard, err := httpguard.New(spy{authorize: func(r abi.HTTPRequest) { seen = r.SourceIP }}, append(opts, (&records{}).logger())...)
	require.NoError(t, err)
	r := httptest.NewRequest("GET", "/", nil)
	r.RemoteAddr = peer
	for name, values := range headers {
		r.Header[name] = values
	}
	w := httptest.NewRecorder()
	passed := false
	guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(w, r)
	require.Equal(t, seen.IsValid(), passed)
	if !passed {
		require.Contains(t, w.Body.String(), `"Code":"InvalidSourceIp"`)
	}
	return seen
}

func TestTheAddressIsTheConnectionsUnlessAProxyIsNamed(t *testing.T) {
	spoofed := http.Header{"X-Forwarded-For": {"203.0.113.1"}, "Forwarded": {"for=203.0.113.1"}, "X-Real-Ip": {"203.0.113.1"}, "True-Client-Ip": {"203.0.113.1"}}
	for peer, want := range map[string]string{
		"198.51.100.7:4711":          "198.51.100.7",
		"[2001:db8::7]:4711":         "2001:db8::7",
		"[::ffff:198.51.100.7]:4711": "198.51.100.7",
		"[fe80::1%eth0]:4711":        "fe80::1",  // the zone is an interface of this host
		"10.0.0.1:4711":              "10.0.0.1", // a private peer is nobody special
	} {
		require.Equal(t, want, seenBy(t, peer, spoofed).String())
	}
}

func TestAPeerThatCannotBeReadRefuses(t *testing.T) {
	for _, peer := range []string{"", "@", "198.51.100.7", "198.51.100.7:", "host:80", "010.0.0.1:80", "[2001:db8::7]", "/run/gateway.sock"} {
		require.False(t, seenBy(t, peer, nil).IsValid(), peer)
		require.False(t, seenBy(t, peer, http.Header{"X-Forwarded-For": {"203.0.113.1"}},
			httpguard.WithForwardedFor(networks("0.0.0.0/0", "::/0")...)).IsValid(), peer)
	}
}

// The proxies are 10.0.0.0/8 and 2001:db8:ffff::/48. An empty want is a refusal.
var walks = []struct {
	name      string
	peer      string
	for_, rfc []string // lines of X-Forwarded-For, and of Forwarded
	want      string
}{
	{"no header: a request of the proxy's own", "10.0.0.1:80", nil, nil, "10.0.0.1"},
	{"one hop", "10.0.0.1:80", []string{"203.0.113.1"}, []string{"for=203.0.113.1"}, "203.0.113.1"},
	{"two hops", "10.0.0.1:80", []string{"203.0.113.1, 10.0.0.2"}, []string{"for=203.0.113.1, for=10.0.0.2"}, "203.0.113.1"},
	{"hops on two lines", "10.0.0.1:80", []string{"203.0.113.1", "10.0.0.2"}, []string{"for=203.0.113.1", "for=10.0.0.2"}, "203.0.113.1"},
	{"proxies all the way: the farthest is the caller", "10.0.0.1:80", []string{"10.0.0.3, 10.0.0.2"}, []string{"for=10.0.0.3, for=10.0.0.2"}, "10.0.0.3"},
	{"IPv6", "[2001:db8:ffff::1]:80", []string{"2001:db8::7, 2001:db8:ffff::2"}, []string{`for="[2001:db8::7]", for="[2001:db8:ffff::2]"`}, "2001:db8::7"},
	{"a mapped proxy is the proxy", "[::ffff:10.0.0.1]:80", []string{"203.0.113.1, ::ffff:10.0.0.2"}, []string{`for=203.0.113.1, for="[::ffff:10.0.0.2]"`}, "203.0.113.1"},
	{"a mapped caller is IPv4", "10.0.0.1:80", []string{"::ffff:203.0.113.1"}, []string{`for="[::ffff:203.0.113.1]"`}, "203.0.113.1"},
	{"ports", "10.0.0.1:80", []string{"203.0.113.1:4711, 10.0.0.2:80"}, []string{`for="203.0.113.1:4711", for="10.0.0.2:80"`}, "203.0.113.1"},
	{"IPv6 with a port", "10.0.0.1:80", []string{"[2001:db8::7]:4711"}, []string{`for="[2001:db8::7]:4711"`}, "2001:db8::7"},
	{"IPv6 in brackets", "10.0.0.1:80", []string{"[2001:db8::7]"}, []string{`for="[2001:db8::7]"`}, "2001:db8::7"},
	{"tabs and no spaces", "10.0.0.1:80", []string{"203.0.113.1,\t10.0.0.2"}, []string{"for=203.0.113.1,\tfor=10.0.0.2"}, "203.0.113.1"},

	{"spoofing: the peer is no proxy", "198.51.100.7:80", []string{"203.0.113.1"}, []string{"for=203.0.113.1"}, "198.51.100.7"},
	{"spoofing: the left-most entry is the caller's", "10.0.0.1:80", []string{"203.0.113.1, 198.51.100.7"}, []string{"for=203.0.113.1, for=198.51.100.7"}, "198.51.100.7"},
	{"spoofing: it names a proxy", "10.0.0.1:80", []string{"203.0.113.1, 10.0.0.2, 198.51.100.7"}, []string{"for=203.0.113.1, for=10.0.0.2, for=198.51.100.7"}, "198.51.100.7"},
	{"spoofing: on a line of its own", "10.0.0.1:80", []string{"203.0.113.1", "198.51.100.7"}, []string{"for=203.0.113.1", "for=198.51.100.7"}, "198.51.100.7"},
	{"spoofing: the proxy as the caller's own entry", "10.0.0.1:80", []string{"10.0.0.9, 198.51.100.7"}, []string{"for=10.0.0.9, for=198.51.100.7"}, "198.51.100.7"},
	{"rubbish beyond the caller does not count", "10.0.0.1:80", []string{"unknown, ,;, 198.51.100.7"}, []string{"for=unknown, for=_x, for=198.51.100.7"}, "198.51.100.7"},
	{"nor on another line", "10.0.0.1:80", []string{`"`, "198.51.100.7"}, []string{`"`, "for=198.51.100.7"}, "198.51.100.7"},

	{"a malformed entry", "10.0.0.1:80", []string{"203.0.113.1, bogus"}, []string{"for=203.0.113.1, for=bogus"}, ""},
	{"a malformed entry behind a proxy", "10.0.0.1:80", []string{"203.0.113.1, bogus, 10.0.0.2"}, []string{"for=203.0.113.1, for=bogus, for=10.0.0.2"}, ""},
	{"unknown", "10.0.0.1:80", []string{"unknown"}, []string{"for=unknown"}, ""},
	{"hidden", "10.0.0.1:80", []string{"_hidden"}, []string{"for=_hidden"}, ""},
	{"an empty header", "10.0.0.1:80", []string{""}, []string{""}, ""},
	{"an empty last entry", "10.0.0.1:80", []string{"203.0.113.1,"}, []string{"for=203.0.113.1,"}, ""},
	{"an empty entry between", "10.0.0.1:80", []string{"203.0.113.1,,10.0.0.2"}, []string{"for=203.0.113.1,,for=10.0.0.2"}, ""},
	{"leading zeros", "10.0.0.1:80", []string{"203.0.113.01"}, []string{"for=203.0.113.01"}, ""},
	{"hexadecimal", "10.0.0.1:80", []string{"0xcb007101"}, []string{"for=0xcb007101"}, ""},
	{"a zone", "10.0.0.1:80", []string{"fe80::1%eth0"}, []string{`for="[fe80::1%eth0]"`}, ""},
	{"a zone and a port", "10.0.0.1:80", []string{"[fe80::1%eth0]:80"}, []string{`for="[fe80::1%eth0]:80"`}, ""},
	{"IPv4 in brackets", "10.0.0.1:80", []string{"[203.0.113.1]"}, []string{`for="[203.0.113.1]"`}, ""},
	{"a block", "10.0.0.1:80", []string{"203.0.113.0/24"}, []string{"for=203.0.113.0/24"}, ""},
	{"a bad port", "10.0.0.1:80", []string{"203.0.113.1:99999"}, []string{`for="203.0.113.1:99999"`}, ""},
	{"a hidden port", "10.0.0.1:80", []string{"203.0.113.1:_x"}, []string{`for="203.0.113.1:_x"`}, ""},
	{"spaces inside", "10.0.0.1:80", []string{"203.0.113.1 10.0.0.2"}, []string{"for=203.0.113.1 for=10.0.0.2"}, ""},
	{"semicolons", "10.0.0.1:80", []string{"203.0.113.1;10.0.0.2"}, []string{"for=203.0.113.1;for=10.0.0.2"}, ""},
	{"quotes", "10.0.0.1:80", []string{`"203.0.113.1"`}, []string{`for="203.0.113.1`}, ""},
}

func TestForwardedAddressesAreWalkedFromRightToLeftThroughNamedProxies(t *testing.T) {
	proxies := networks("10.0.0.0/8", "2001:db8:ffff::/48")
	text := func(a netip.Addr) string {
		if !a.IsValid() {
			return ""
		}
		return a.String()
	}
	for _, w := range walks {
		t.Run(w.name, func(t *testing.T) {
			require.Equal(t, w.want, text(seenBy(t, w.peer, http.Header{"X-Forwarded-For": w.for_}, httpguard.WithForwardedFor(proxies...))), "X-Forwarded-For")
			require.Equal(t, w.want, text(seenBy(t, w.peer, http.Header{"Forwarded": w.rfc}, httpguard.WithForwarded(proxies...))), "Forwarded")
		})
	}
}

func TestOnlyTheConfiguredHeaderIsRead(t *testing.T) {
	both := http.Header{"X-Forwarded-For": {"203.0.113.1"}, "Forwarded": {"for=203.0.113.2"}}
	require.Equal(t, "203.0.113.1", seenBy(t, "10.0.0.1:80", both, httpguard.WithForwardedFor(networks("10.0.0.0/8")...)).String())
	require.Equal(t, "203.0.113.2", seenBy(t, "10.0.0.1:80", both, httpguard.WithForwarded(networks("10.0.0.0/8")...)).String())
}

func TestForwardedIsReadAsTheStandardHasIt(t *testing.T) {
	for line, want := range map[string]string{
		"FOR=203.0.113.1":                          "203.0.113.1",
		"proto=https;for=203.0.113.1;by=10.0.0.1":  "203.0.113.1",
		`host="a, for=10.0.0.2";for=203.0.113.1`:   "203.0.113.1",
		`host="a\", for=10.0.0.2";for=203.0.113.1`: "203.0.113.1",
		`for="203.0.113\.1"`:                       "203.0.113.1",
		`for=203.0.113.1; proto=https`:             "203.0.113.1",
		"for=203.0.113.1;":                         "203.0.113.1",
		"proto=https":                              "", // the proxy does not say
		"for=203.0.113.1, proto=https":             "",
		"for=203.0.113.1;for=203.0.113.2":          "",
		"for=203.0.113.1;FOR=203.0.113.1":          "",
		"for":                                      "",
		"for=":                                     "",
		`for=""`:                                   "",
		"for =203.0.113.1":                         "",
		"for= 203.0.113.1":                         "",
		"=203.0.113.1":                             "",
		"for=[2001:db8::7]":                        "", // must be quoted
		"for=2001:db8::7":                          "",
		`for="203.0.113.1"x`:                       "",
		`for="203.0.113.1\`:                        "",
		`x="` + `, for=203.0.113.1`:                "", // a caller's open quote swallows what the proxy appends
		`x="` + `, for="203.0.113.1"`:              "",
		`x="` + `, for=203.0.113.1;host=";for=10.9.9.9;y="`:     "",
		`x="` + `, for=203.0.113.1;host="\";for=10.9.9.9;y=\""`: "",
	} {
		got := seenBy(t, "10.0.0.1:80", http.Header{"Forwarded": {line}}, httpguard.WithForwarded(networks("10.0.0.0/8")...))
		if want == "" {
			require.False(t, got.IsValid(), "%s: %s", line, got)
		} else {
			require.Equal(t, want, got.String(), line)
		}
	}
}

func TestAnAddressThatCannotBeReadIsNamedInTheAnswer(t *testing.T) {
	s := serve(t, native(t, policySet), httpguard.WithForwardedFor(networks("127.0.0.0/8")...))
	a := s.get(t, "", "/", signedBy(open), `X-Forwarded-For: 203.0.113.1, "</script>`)
	require.Equal(t, 403, a.StatusCode)
	require.Equal(t, `{"Code":"InvalidSourceIp","Message":"The source address of the request cannot be read. It was given as \"</script>.","SourceIp":"\"</script>"}`+"\n", a.body)

	a = s.get(t, "", "/", signedBy(open), "X-Forwarded-For: "+strings.Repeat("x", 100_000))
	require.Equal(t, 403, a.StatusCode)
	require.Less(t, len(a.body), 1000)
	require.Less(t, len(s.log.String()), 5000)
}

// A naive twin of the walk, for X-Forwarded-For and for what proxies write into Forwarded.
func naiveWalk(peer netip.Addr, entries []string, trusted func(netip.Addr) bool) netip.Addr {
	seen := peer
	for i := len(entries) - 1; i >= 0 && trusted(seen); i-- {
		s := strings.Trim(entries[i], " \t")
		if host, port, err := net.SplitHostPort(s); err == nil && port != "" && strings.Trim(port, "0123456789") == "" {
			if _, err := netip.ParseAddrPort(s); err != nil { // a port out of range, IPv4 in brackets
				return netip.Addr{}
			}
			s = host
		} else if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' && strings.Contains(s, ":") {
			s = s[1 : len(s)-1]
		}
		seen = abi.ParseSource(s)
	}
	return seen
}

func FuzzForwardedFor(f *testing.F) {
	for _, w := range walks {
		f.Add(w.peer, strings.Join(w.for_, "\n"))
	}
	proxies := networks("10.0.0.0/8", "2001:db8:ffff::/48")
	trusted := func(ip netip.Addr) bool { return proxies[0].Contains(ip) || proxies[1].Contains(ip) }
	f.Fuzz(func(t *testing.T, peer, header string) {
		at, err := netip.ParseAddrPort(peer)
		if err != nil {
			t.Skip()
		}
		var lines []string
		if header != "" {
			lines = strings.Split(header, "\n")
		}
		want := naiveWalk(at.Addr().Unmap().WithZone(""), strings.Split(strings.Join(lines, ","), ","), trusted)
		if lines == nil {
			want = at.Addr().Unmap().WithZone("")
		}
		require.Equal(t, want, seenBy(t, peer, http.Header{"X-Forwarded-For": lines}, httpguard.WithForwardedFor(proxies...)))
	})
}

// Whatever a caller puts in front, the address that the proxy appends is the
// one that counts, or the request is refused.
func FuzzForwarded(f *testing.F) {
	for _, w := range walks {
		f.Add(strings.Join(w.rfc, ","), "ecs.example.com")
	}
	f.Add(`x="`, `;for=10.9.9.9;y=`)
	f.Add(`x="\`, `";for=10.9.9.9;y="`)
	f.Fuzz(func(t *testing.T, callers, host string) {
		quoted := `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(host) + `"`
		for _, line := range []string{
			callers + ", for=198.51.100.7",
			callers + ",for=198.51.100.7;host=" + quoted,
			callers + ", host=" + quoted + `;for="198.51.100.7:80";proto=https`,
		} {
			got := seenBy(t, "10.0.0.1:80", http.Header{"Forwarded": {line}}, httpguard.WithForwarded(networks("10.0.0.0/8")...))
			if got.IsValid() {
				require.Equal(t, "198.51.100.7", got.String(), line)
			}
		}
	})
}
