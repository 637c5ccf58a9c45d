package envoytest_test

import (
	"encoding/binary"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// Each attack tries to use the key closed from where it may not be used. What
// would let it through is shown beside it: the same key from where it may be.
func TestNoAttackGetsIn(t *testing.T) {
	wasm := filter(t, "")
	const tlv = `"vpc_id": {"from": "proxy_protocol_tlv", "key": "vpc_id"}`
	header := func(peers string) string {
		return configuration(`"vpc_id": {"from": "header", "name": "X-Vpc-Id", "trusted_peers": ["` + peers + `"]}`)
	}
	peer := []any{envoytest.Object{"name": "peer", "typed_config": envoytest.Object{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
		"on_request_headers": []any{envoytest.Object{
			"object_key": "keymoat.peer", "factory_key": "envoy.string",
			"format_string": envoytest.Object{"text_format_source": envoytest.Object{"inline_string": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"}},
		}}}}}
	s := start(t, envoytest.Options{Debug: true},
		func(bootstrap envoytest.Object) {
			manager(bootstrap, "large")["max_request_headers_kb"] = 256
			manager(bootstrap, "believes XFF")["use_remote_address"] = false
			manager(bootstrap, "rejects underscores")["common_http_protocol_options"] = envoytest.Object{"headers_with_underscores_action": "REJECT_REQUEST"}
		},
		envoytest.Listener{Name: "tlv", Wasm: wasm, Configuration: configuration(tlv), ProxyProtocol: true},
		envoytest.Listener{Name: "large", Wasm: wasm, Configuration: configuration(), ProxyProtocol: true},
		envoytest.Listener{Name: "forms", Wasm: wasm, Configuration: configuration(`"on_form_body": "deny"`, `"on_missing_access_key": "deny"`), ProxyProtocol: true},
		envoytest.Listener{Name: "missing", Wasm: wasm, Configuration: configuration(`"on_missing_access_key": "deny"`), ProxyProtocol: true},
		envoytest.Listener{Name: "rejects underscores", Wasm: wasm, Configuration: configuration(), ProxyProtocol: true},
		envoytest.Listener{Name: "header", Wasm: wasm, Configuration: header("10.0.0.0/8"), ProxyProtocol: true},
		envoytest.Listener{Name: "hops", Wasm: wasm, Configuration: header(`10.0.0.0/8", "fd00::/8`), ProxyProtocol: true, TrustedHops: 1},
		envoytest.Listener{Name: "believes XFF", Wasm: wasm, Configuration: header("10.0.0.0/8")},
		envoytest.Listener{Name: "knows its peer", Wasm: wasm, Configuration: header("127.0.0.1"), TrustedHops: 1, Filters: peer},
		envoytest.Listener{Name: "knows another peer", Wasm: wasm, Configuration: header("10.0.0.0/8"), TrustedHops: 1, Filters: peer},
	)
	t.Run("key ids", func(t *testing.T) { testKeyIDs(t, s) })
	t.Run("oversized headers", func(t *testing.T) { testOversizedHeaders(t, s) })
	t.Run("key ids in forms", func(t *testing.T) { testForms(t, s) })
	t.Run("HTTP/2", func(t *testing.T) { testHTTP2(t, s) })
	t.Run("source addresses", func(t *testing.T) { testSourceAddresses(t, s) })
	t.Run("X-Forwarded-For", func(t *testing.T) { testForwardedFor(t, s) })
	t.Run("VPC ids in TLVs", func(t *testing.T) { testVPCInTLV(t, s) })
	t.Run("VPC ids in headers", func(t *testing.T) { testVPCInHeader(t, s) })
	t.Run("no whole key id is in the log, at the level debug either", func(t *testing.T) {
		require.Contains(t, s.Log(), `"AccessKeyId":"LTAI5t…0002"`)
		require.NotContains(t, s.Log(), open)
		require.NotContains(t, s.Log(), closed)
	})
}

func testKeyIDs(t *testing.T, s *site) {
	expand := strings.NewReplacer("OPEN", open, "CLOSED", closed).Replace
	same := strings.NewReplacer("OPEN", closed, "CLOSED", closed).Replace

	// Two different ids: refused from everywhere. With one id in both places the
	// request is judged by it, so it is the second id that was seen.
	for _, c := range []struct {
		name    string
		target  string
		headers []string
	}{
		{"one in the query, one in a header", "/?AccessKeyId=OPEN", []string{"Authorization: ACS3-HMAC-SHA256 Credential=CLOSED,Signature=00"}},
		{"two headers", "/", []string{"x-ots-accesskeyid: OPEN", "Authorization: acs CLOSED:c2ln"}},
		{"the SDKs' own header and Authorization", "/", []string{"X-Acs-AccessKey-Id: OPEN", "Authorization: ACS3-HMAC-SHA256 Credential=CLOSED,Signature=00"}},
		{"Authorization twice", "/", []string{"Authorization: OSS OPEN:c2ln", "Authorization: OSS CLOSED:c2ln"}},
		{"Authorization twice, the open one last", "/", []string{"Authorization: OSS CLOSED:c2ln", "Authorization: OSS OPEN:c2ln"}},
		{"Authorization twice, in other case and of other schemes", "/", []string{"Authorization: LOG OPEN:c2ln", "aUTHORIZATION: ACS3-HMAC-SHA256 Credential=CLOSED,Signature=00"}},
		{"Authorization three times", "/", []string{"Authorization: OSS OPEN:c2ln", "X-Other: 1", "Authorization: OSS OPEN:c2ln", "Authorization: OSS CLOSED:c2ln"}},
		{"Authorization twice, the first of nothing known", "/?AccessKeyId=OPEN", []string{"Authorization: Bearer abc", "Authorization: OSS CLOSED:c2ln"}},
		{"joined by a comma", "/", []string{"Authorization: OSS OPEN:c2ln, OSS CLOSED:c2ln"}},
		{"joined by a comma without a space", "/", []string{"Authorization: OSS OPEN:c2ln,acs CLOSED:c2ln"}},
		{"joined behind parameters", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Signature=00,OSS CLOSED:c2ln"}},
		{"Credential twice", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Credential=CLOSED,Signature=00"}},
		{"a parameter twice", "/?AccessKeyId=OPEN&AccessKeyId=CLOSED", nil},
		{"a parameter twice, the open one last", "/?AccessKeyId=CLOSED&AccessKeyId=OPEN", nil},
		{"a parameter twice, one name partly encoded", "/?AccessKeyId=OPEN&%41ccessKeyId=CLOSED", nil},
		{"a parameter twice, one name wholly encoded", "/?AccessKeyId=OPEN&%41%63%63%65%73%73%4b%65%79%49%64=CLOSED", nil},
		{"a parameter twice, one name in other case", "/?AccessKeyId=OPEN&accesskeyid=CLOSED", nil},
		{"a parameter twice, one behind a plus sign", "/?AccessKeyId=OPEN&+AccessKeyId=CLOSED", nil},
		{"a parameter twice, one equals sign encoded", "/?AccessKeyId=OPEN&AccessKeyId%3DCLOSED", nil},
		{"a parameter twice, parted by a semicolon", "/?AccessKeyId=OPEN;AccessKeyId=CLOSED", nil},
		{"a parameter twice, behind another question mark", "/?AccessKeyId=OPEN?AccessKeyId=CLOSED", nil},
		{"a parameter twice, behind two question marks", "/??AccessKeyId=CLOSED&AccessKeyId=OPEN", nil},
		{"an absolute target", "http://ecs.example.com/?AccessKeyId=OPEN&AccessKeyId=CLOSED", nil},
		{"two kinds of presigned URL", "/o?OSSAccessKeyId=OPEN&x-oss-credential=CLOSED%2F20261102%2Fcn-hangzhou%2Foss%2Faliyun_v4_request", nil},
	} {
		t.Run("two: "+c.name, func(t *testing.T) {
			headers, sameHeaders := make([]string, len(c.headers)), make([]string, len(c.headers))
			for i, h := range c.headers {
				headers[i], sameHeaders[i] = expand(h), same(h)
			}
			for _, client := range []netip.Addr{stranger, office} {
				requireRefused(t, s.from(t, "tlv", client, request(expand(c.target), headers...)), "The request names two different access keys.")
			}
			requireRefused(t, s.from(t, "tlv", stranger, request(same(c.target), sameHeaders...)), "The source address is 203.0.113.9.")
			requireAllowed(t, s.from(t, "tlv", office, request(same(c.target), sameHeaders...)))
		})
	}

	// One id in disguise: judged by it.
	for name, c := range map[string]struct{ target, header string }{
		"not disguised":                  {"/?AccessKeyId=CLOSED", ""},
		"a letter of the name encoded":   {"/?%41ccessKeyId=CLOSED", ""},
		"the last letter encoded":        {"/?AccessKeyI%64=CLOSED", ""},
		"the equals sign encoded":        {"/?AccessKeyId%3dCLOSED", ""},
		"the name in other case":         {"/?ACCESSKEYID=CLOSED", ""},
		"letters of the id encoded":      {"/?AccessKeyId=%4cTAI5tExample00000%3000%302", ""},
		"the scope encoded":              {"/o?X-Amz-Credential=CLOSED%2f20261102%2fr%2fs3%2faws4_request", ""},
		"empty parameters around":        {"/?&&AccessKeyId=CLOSED&&", ""},
		"a semicolon behind":             {"/?AccessKeyId=CLOSED;jsessionid=1", ""},
		"an absolute target":             {"http://ecs.example.com/?AccessKeyId=CLOSED", ""},
		"a scheme in other case":         {"/", "Authorization: oSs CLOSED:c2ln"},
		"a tab behind the scheme":        {"/", "Authorization: acs\tCLOSED:c2ln"},
		"a token that is not looked at":  {"/?SecurityToken=x", "Authorization: acs CLOSED:c2ln\r\nx-acs-security-token: STS.x"},
		"behind a scheme of another one": {"/", "Authorization: Bearer abc, OSS CLOSED:c2ln"},
	} {
		t.Run("one: "+name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = []string{expand(c.header)}
			}
			requireRefused(t, s.from(t, "tlv", stranger, request(expand(c.target), headers...)), "The source address is 203.0.113.9.")
			requireAllowed(t, s.from(t, "tlv", office, request(expand(c.target), headers...)))
		})
	}

	// A place that cannot be read for sure: refused from everywhere, and never
	// taken for a request without a key, which this configuration would let pass.
	for name, c := range map[string]struct{ target, header string }{
		"an encoded zero byte":           {"/?AccessKeyId=CLOSED%00", ""},
		"encoded twice":                  {"/?AccessKeyId=%254cTAI5tExample0000000002", ""},
		"half an escape":                 {"/?AccessKeyId=CLOSED%4", ""},
		"no escape":                      {"/?AccessKeyId=CLOSED%zz", ""},
		"a space encoded":                {"/?AccessKeyId=%20CLOSED", ""},
		"two ids in one value":           {"/?AccessKeyId=OPEN,CLOSED", ""},
		"an empty value":                 {"/?AccessKeyId=", ""},
		"two ids before the signature":   {"/", "Authorization: OSS OPEN CLOSED:c2ln"},
		"an id between quotes":           {"/", `Authorization: ACS3-HMAC-SHA256 Credential="CLOSED",Signature=00`},
		"an id in the scope":             {"/", "Authorization: AWS4-HMAC-SHA256 Credential=OPEN/CLOSED/20261102/us-east-1/s3/aws4_request,Signature=00"},
		"no id":                          {"/", "Authorization: acs"},
		"a version that nobody knows":    {"/", "Authorization: ACS5-HMAC-SHA256 Credential=OPEN,Signature=00"},
		"bytes that are not ASCII":       {"/", "Authorization: OSS CLO\u00a0SED:c2ln"},
		"an empty header of an id":       {"/", "x-ots-accesskeyid:"},
		"a readable id beside it, open":  {"/?AccessKeyId=OPEN", "x-ots-accesskeyid: OPEN CLOSED"},
		"a Kelvin sign in the name":      {"/?Access%E2%84%AAeyId=CLOSED", ""},
		"long s in the name":             {"/?Acce%C5%BF%C5%BFKeyId=CLOSED", ""},
		"a no-break space in the name":   {"/?AccessKeyId%C2%A0=CLOSED", ""},
		"the same in Latin-1":            {"/?AccessKeyId%A0=CLOSED", ""},
		"a no-break space in Credential": {"/", "Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Credential\xa0=CLOSED,Signature=00"},
		"long s in the word":             {"/?AccessKeyId=OPEN", "Authorization: O\u017fS CLOSED:c2ln"},
		"underscores in the header":      {"/", "x_ots_accesskeyid: CLOSED"},
		"underscores, an open one":       {"/?AccessKeyId=OPEN", "X_ACS_AccessKey_Id: CLOSED"},
		"other marks in the header":      {"/", "x.ots.accesskeyid: CLOSED"},
		"other marks, an open one":       {"/?AccessKeyId=OPEN", "x!acs~accesskey+id: CLOSED"},
		"an id of 129 bytes":             {"/?AccessKeyId=" + strings.Repeat("a", 129), ""},
	} {
		t.Run("unreadable: "+name, func(t *testing.T) {
			var headers []string
			if c.header != "" {
				headers = []string{expand(c.header)}
			}
			for _, client := range []netip.Addr{stranger, office} {
				requireRefused(t, s.from(t, "tlv", client, request(expand(c.target), headers...)), `"Code":"InvalidAccessKeyId"`)
			}
		})
	}

	// What Envoy itself may refuse, or take apart in its own way. Whoever it is
	// that refuses, the upstream must not see it.
	for name, raw := range map[string]string{
		"a fragment":                        request("/?AccessKeyId=OPEN#&AccessKeyId=CLOSED"),
		"a fragment in the path":            request("/#/?AccessKeyId=OPEN&AccessKeyId=CLOSED"),
		"a folded header":                   request("/", "Authorization: OSS OPEN:c2ln,", " OSS CLOSED:c2ln"),
		"a space before the colon":          request("/?AccessKeyId=OPEN", "Authorization : OSS CLOSED:c2ln"),
		"a zero byte in a value":            request("/?AccessKeyId=OPEN", "Authorization: OSS\x00CLOSED:c2ln"),
		"a line feed alone":                 request("/?AccessKeyId=OPEN", "X-A: b\nAuthorization: OSS CLOSED:c2ln"),
		"a space in the target":             request("/?AccessKeyId=OPEN &AccessKeyId=CLOSED"),
		"no host":                           "GET /?AccessKeyId=OPEN&AccessKeyId=CLOSED HTTP/1.1\r\n\r\n",
		"a Kelvin sign that is not encoded": request("/?AccessKeyId=OPEN&Access\u212aeyId=CLOSED"),
		"a header's name that is not ASCII": request("/?AccessKeyId=OPEN", "x-ots-acce\u017f\u017fkeyid: CLOSED"),
		"HTTP/1.0":                          "GET /?AccessKeyId=OPEN&AccessKeyId=CLOSED HTTP/1.0\r\n\r\n",
		"CONNECT":                           "CONNECT ecs.example.com:443 HTTP/1.1\r\nHost: ecs.example.com:443\r\nAuthorization: OSS CLOSED:c2ln\r\n\r\n",
		"an upgrade":                        signed(closed, "Connection: Upgrade", "Upgrade: websocket"),
		"a length and chunks":               signed(closed, "Content-Length: 5", "Transfer-Encoding: chunked"),
		"a path header of Envoy's":          request("/?AccessKeyId=CLOSED", "X-Envoy-Original-Path: /", ":path: /"),
		"a request that rewrites itself":    signed(closed, "X-HTTP-Method-Override: OPTIONS"),
	} {
		t.Run("by whomever: "+name, func(t *testing.T) {
			a := s.from(t, "tlv", stranger, expand(raw))
			require.False(t, a.passed, a.body)
			require.NotEqual(t, 200, a.status)
		})
	}

	// What Envoy takes away before anyone looks: it must be away for the upstream too.
	for name, headers := range map[string][]string{
		"a header of this hop alone":   {"Authorization: OSS CLOSED:c2ln", "Connection: authorization"},
		"a carriage return in a value": {"X-A: b\rAuthorization: OSS CLOSED:c2ln"},
	} {
		t.Run("taken away: "+name, func(t *testing.T) {
			for i := range headers {
				headers[i] = expand(headers[i])
			}
			if a := s.from(t, "tlv", stranger, request("/", headers...)); a.passed {
				require.NotContains(t, requireAllowed(t, a), "Authorization")
			}
		})
	}
}

// The body of a form is not seen. The caller signs with the id in it and names
// another one, or none, where the service does not look.
func testForms(t *testing.T, s *site) {
	post := func(target, contentType string, headers ...string) string {
		const form = "AccessKeyId=" + closed + "&Action=DescribeRegions&Signature=c2ln"
		head := request(target, append(headers, "Content-Type: "+contentType, "Content-Length: "+strconv.Itoa(len(form)))...)
		return "POST" + strings.TrimPrefix(head, "GET") + form
	}
	const urlencoded = "application/x-www-form-urlencoded"
	decoys := map[string]func(contentType string) string{
		"a temporary id in a header":  func(c string) string { return post("/", c, "x-ots-accesskeyid: STS.x") },
		"a temporary id in the query": func(c string) string { return post("/?x-oss-access-key-id=STS.x", c) },
		"an open key's id":            func(c string) string { return post("/", c, "Authorization: acs "+open+":c2ln") },
	}
	for name, decoy := range decoys {
		t.Run(name, func(t *testing.T) {
			requireAllowed(t, s.from(t, "missing", stranger, decoy(urlencoded))) // why on_missing_access_key is no remedy
			requireAllowed(t, s.from(t, "forms", stranger, decoy("application/json")))
			for _, contentType := range []string{urlencoded, "Application/X-WWW-Form-Urlencoded;charset=utf-8", "multipart/form-data; boundary=b",
				"text/plain\r\nContent-Type: " + urlencoded, urlencoded + "\r\nContent-Type: text/plain"} {
				requireRefused(t, s.from(t, "forms", stranger, decoy(contentType)), `"Code":"InvalidAccessKeyId"`)
			}
		})
	}
	t.Run("no decoy", func(t *testing.T) {
		requireRefused(t, s.from(t, "forms", stranger, post("/", urlencoded)), `"Code":"InvalidAccessKeyId"`)
		requireRefused(t, s.from(t, "missing", stranger, post("/", urlencoded)), "The request names no access key.")
	})
}

func testOversizedHeaders(t *testing.T, s *site) {
	// Many headers, or one of that many bytes, before and behind the key.
	const one = "X-Padding: "
	for name, c := range map[string]struct {
		listener string
		size     int
	}{
		"as many as Envoy takes by default":            {"tlv", 58 << 10},
		"more than the memory that the filter keeps":   {"large", 200 << 10},
		"as many as that memory has, or a little more": {"large", 64<<10 - 100},
	} {
		t.Run(name, func(t *testing.T) {
			padding := one + strings.Repeat("x", c.size)
			for _, around := range []string{
				request("/", padding, "Authorization: OSS "+closed+":c2ln"),
				request("/", "Authorization: OSS "+closed+":c2ln", padding),
				request("/?" + strings.Repeat("a=b&", c.size/4) + "AccessKeyId=" + closed),
			} {
				requireRefused(t, s.from(t, c.listener, stranger, around), "The source address is 203.0.113.9.")
				requireAllowed(t, s.from(t, c.listener, office, around))
			}
			requireRefused(t, s.from(t, c.listener, office, request("/?AccessKeyId="+open, padding, "Authorization: OSS "+closed+":c2ln")), "two different access keys")
			long := "Authorization: OSS " + open + ":" + strings.Repeat("x", c.size) + ", OSS " + closed + ":c2ln"
			requireRefused(t, s.from(t, c.listener, office, request("/", long)), "two different access keys")
		})
	}
	t.Run("too many for Envoy", func(t *testing.T) {
		for _, listener := range []string{"tlv", "large"} {
			a := s.from(t, listener, office, signed(closed, one+strings.Repeat("x", 300<<10)))
			require.False(t, a.passed)
			require.Contains(t, []int{0, 431}, a.status)
		}
	})
	t.Run("too many headers for Envoy", func(t *testing.T) {
		a := s.from(t, "tlv", office, signed(closed, strings.Split(strings.Repeat("X-Padding: x\n", 150), "\n")[:150]...))
		require.False(t, a.passed)
		require.Contains(t, []int{0, 431}, a.status)
	})
	t.Run("nearly too many headers", func(t *testing.T) {
		padding := strings.Split(strings.Repeat("X-Padding: x\n", 80), "\n")[:80]
		requireRefused(t, s.from(t, "tlv", stranger, signed(closed, padding...)))
		requireAllowed(t, s.from(t, "tlv", office, signed(closed, padding...)))
	})
}

func testSourceAddresses(t *testing.T, s *site) {
	mapped := func(a netip.Addr) netip.Addr { return netip.AddrFrom16(a.As16()) }
	for name, c := range map[string]struct {
		allowed, refused netip.Addr
		seen             string
	}{
		"IPv4":                    {office, stranger, "203.0.113.9"},
		"a neighbour":             {office, netip.MustParseAddr("198.51.100.8"), "198.51.100.8"},
		"IPv6":                    {officeV6, netip.MustParseAddr("2001:db8::8"), "2001:db8::8"},
		"IPv4 mapped to IPv6":     {mapped(office), mapped(stranger), "203.0.113.9"},
		"IPv4 compatible to IPv6": {officeV6, netip.MustParseAddr("::198.51.100.7"), "::"},
		"IPv4 behind NAT64":       {officeV6, netip.MustParseAddr("64:ff9b::198.51.100.7"), "64:ff9b::"},
	} {
		t.Run(name, func(t *testing.T) {
			requireAllowed(t, s.from(t, "tlv", c.allowed, signed(closed)))
			requireRefused(t, s.from(t, "tlv", c.refused, signed(closed)), "The source address is "+c.seen)
		})
	}

	body := append(append(office.AsSlice(), 192, 0, 2, 10), 0x30, 0x39, 0x01, 0xbb)
	t.Run("version 1 of the PROXY protocol", func(t *testing.T) {
		requireAllowed(t, s.send(t, "tlv", []byte("PROXY TCP4 198.51.100.7 192.0.2.10 12345 443\r\n"), signed(closed)))
		requireRefused(t, s.send(t, "tlv", []byte("PROXY TCP4 203.0.113.9 192.0.2.10 12345 443\r\n"), signed(closed)), "203.0.113.9")
		requireRefused(t, s.send(t, "tlv", []byte("PROXY UNKNOWN 198.51.100.7 192.0.2.10 12345 443\r\n"), signed(closed)), "127.0.0.1")
	})
	t.Run("LOCAL command: the addresses in it are not the client's", func(t *testing.T) {
		requireAllowed(t, s.send(t, "tlv", envoytest.RawProxyHeader(0x21, 0x11, body), signed(closed)))
		requireRefused(t, s.send(t, "tlv", envoytest.RawProxyHeader(0x20, 0x11, body), signed(closed)), "The source address is 127.0.0.1")
		requireRefused(t, s.send(t, "tlv", envoytest.RawProxyHeader(0x20, 0x00, nil), signed(closed)), "The source address is 127.0.0.1")
	})
	t.Run("no family", func(t *testing.T) {
		a := s.send(t, "tlv", envoytest.RawProxyHeader(0x21, 0x00, body), signed(closed))
		require.False(t, a.passed)
		require.NotEqual(t, 200, a.status)
	})
	for name, head := range map[string][]byte{
		"no PROXY header":          nil,
		"an address cut short":     envoytest.RawProxyHeader(0x21, 0x11, body[:6]),
		"IPv6 with IPv4's length":  envoytest.RawProxyHeader(0x21, 0x21, body),
		"an unknown version":       envoytest.RawProxyHeader(0x31, 0x11, body),
		"an unknown command":       envoytest.RawProxyHeader(0x22, 0x11, body),
		"a socket of the system's": envoytest.RawProxyHeader(0x21, 0x31, append(make([]byte, 216), body...)),
	} {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, "tlv", head, signed(closed))
			require.False(t, a.passed, a.body)
			require.NotEqual(t, 200, a.status)
		})
	}
}

func testForwardedFor(t *testing.T, s *site) {
	spoofs := []string{
		"X-Forwarded-For: 198.51.100.7", "X-Forwarded-For: 198.51.100.7, 198.51.100.7", "X-Forwarded-For: 198.51.100.7:4444",
		"X-Real-IP: 198.51.100.7", "Forwarded: for=198.51.100.7", "X-Envoy-External-Address: 198.51.100.7",
		"True-Client-IP: 198.51.100.7", "X-Client-IP: 198.51.100.7", "X-Envoy-Internal: true",
	}
	t.Run("is not believed without trusted hops", func(t *testing.T) {
		for _, spoof := range spoofs {
			requireRefused(t, s.from(t, "tlv", stranger, signed(closed, spoof)), "The source address is 203.0.113.9.")
			requireAllowed(t, s.from(t, "tlv", office, signed(closed, strings.ReplaceAll(spoof, "198.51.100.7", "203.0.113.9"))))
		}
	})
	t.Run("only the hop that the balancer wrote is believed", func(t *testing.T) {
		for _, header := range []string{
			"X-Forwarded-For: 198.51.100.7, 203.0.113.9",
			"X-Forwarded-For: 198.51.100.7\r\nX-Forwarded-For: 203.0.113.9",
			"X-Forwarded-For: 198.51.100.7,198.51.100.7 ,  203.0.113.9",
			"X-Forwarded-For: 203.0.113.9\r\nX-Real-IP: 198.51.100.7\r\nX-Envoy-External-Address: 198.51.100.7",
		} {
			requireRefused(t, s.from(t, "hops", balancer, signed(closed, header)), "The source address is 203.0.113.9.")
			swapped := strings.NewReplacer("198.51.100.7", "203.0.113.9", "203.0.113.9", "198.51.100.7").Replace(header)
			requireAllowed(t, s.from(t, "hops", balancer, signed(closed, swapped)))
		}
	})
	t.Run("without a hop the peer is the source", func(t *testing.T) {
		for _, header := range []string{"X-Other: 1", "X-Forwarded-For:", "X-Forwarded-For: ,", "X-Forwarded-For: 198.51.100.7, unknown",
			"X-Forwarded-For: 198.51.100.7,", "X-Forwarded-For: 198.51.100.07", "X-Forwarded-For: 198.51.100.7/32"} {
			requireRefused(t, s.from(t, "hops", balancer, signed(closed, header)), "The source address is 10.1.2.3.")
		}
	})
}

func testVPCInTLV(t *testing.T, s *site) {
	t.Run("allows by the VPC's list alone", func(t *testing.T) {
		requireAllowed(t, s.from(t, "tlv", inVPC, signed(closed), envoytest.VPC(vpc)))
		requireRefused(t, s.from(t, "tlv", inVPC, signed(closed)), "192.168.1.7.")
		requireRefused(t, s.from(t, "tlv", office, signed(closed), envoytest.VPC(vpc)), "198.51.100.7 in "+vpc)
		requireRefused(t, s.from(t, "tlv", inVPC, signed(closed), envoytest.VPC("vpc-another")), "192.168.1.7 in vpc-another")
		requireRefused(t, s.from(t, "tlv", inVPC, signed(open), envoytest.VPC(vpc)), "192.168.1.7 in "+vpc)
	})
	t.Run("a TLV of another type says nothing", func(t *testing.T) {
		for _, kind := range []byte{0xea, 0x01, 0x04, 0xe0, 0xe2} {
			tlv := envoytest.TLV{Type: kind, Value: "\x01" + vpc}
			requireRefused(t, s.from(t, "tlv", inVPC, signed(closed), tlv), "192.168.1.7.")
			requireAllowed(t, s.from(t, "tlv", office, signed(closed), tlv))
		}
	})
	// Refused from both: neither is the VPC believed, nor is the request taken
	// for a public one, which office may make.
	for name, tlvs := range map[string][]envoytest.TLV{
		"another subtype":             {{Type: envoytest.TLVAlibaba, Value: "\x02" + vpc}},
		"subtype zero":                {{Type: envoytest.TLVAlibaba, Value: "\x00" + vpc}},
		"no subtype":                  {{Type: envoytest.TLVAlibaba, Value: vpc}},
		"the subtype as a digit":      {{Type: envoytest.TLVAlibaba, Value: "1" + vpc}},
		"an empty TLV":                {{Type: envoytest.TLVAlibaba, Value: ""}},
		"the subtype alone":           {envoytest.VPC("")},
		"the prefix alone":            {envoytest.VPC("vpc-")},
		"upper case":                  {envoytest.VPC(strings.ToUpper(vpc))},
		"a byte too many":             {envoytest.VPC(vpc + "\x00")},
		"a space in front":            {envoytest.VPC(" " + vpc)},
		"two ids":                     {envoytest.VPC(vpc + "," + vpc)},
		"bytes that are no text":      {envoytest.VPC(vpc + "\xff")},
		"an id too long":              {envoytest.VPC("vpc-" + strings.Repeat("a", 65))},
		"the word for every VPC":      {envoytest.VPC("AllowAllVPC")},
		"another subtype behind it":   {envoytest.VPC(vpc), {Type: envoytest.TLVAlibaba, Value: "\x02ep-1"}},
		"an empty one behind it":      {envoytest.VPC(vpc), {Type: envoytest.TLVAlibaba, Value: ""}},
		"a subtype twice in one TLV":  {{Type: envoytest.TLVAlibaba, Value: "\x01\x01" + vpc}},
		"sixty thousand bytes of one": {envoytest.VPC(strings.Repeat("a", 60000))},
	} {
		t.Run(name, func(t *testing.T) {
			for _, client := range []netip.Addr{inVPC, office} {
				requireRefused(t, s.from(t, "tlv", client, signed(closed), tlvs...), `"Code":"InvalidVpcId"`)
			}
		})
	}
	// TLVs that end too early. Envoy may close the connection.
	addresses := append(append(inVPC.AsSlice(), 192, 0, 2, 10), 0x30, 0x39, 0x01, 0xbb)
	value := "\x01" + vpc
	tlv := append(binary.BigEndian.AppendUint16([]byte{envoytest.TLVAlibaba}, uint16(len(value))), value...)
	t.Run("a TLV in one piece", func(t *testing.T) {
		requireAllowed(t, s.send(t, "tlv", envoytest.RawProxyHeader(0x21, 0x11, append(addresses[:12:12], tlv...)), signed(closed)))
	})
	for name, damaged := range map[string][]byte{
		"a TLV of one byte":          tlv[:1],
		"a TLV of a type and half":   tlv[:2],
		"a TLV without its value":    tlv[:3],
		"a TLV without its last":     tlv[:len(tlv)-1],
		"a TLV longer than it is":    append([]byte{envoytest.TLVAlibaba, 0xff, 0xff}, value...),
		"a TLV shorter than it is":   append([]byte{envoytest.TLVAlibaba, 0, 5}, value...),
		"two TLVs, the second short": append(append([]byte{}, tlv...), tlv[:3]...),
	} {
		t.Run(name, func(t *testing.T) {
			a := s.send(t, "tlv", envoytest.RawProxyHeader(0x21, 0x11, append(addresses[:12:12], damaged...)), signed(closed))
			require.False(t, a.passed, a.body)
			require.NotEqual(t, 200, a.status)
		})
	}
	t.Run("LOCAL command: the TLV in it is not believed with the addresses in it", func(t *testing.T) {
		a := s.send(t, "tlv", envoytest.RawProxyHeader(0x20, 0x11, append(addresses[:12:12], tlv...)), signed(closed))
		requireRefused(t, a, "127.0.0.1")
	})
	t.Run("a header named like the key is not believed", func(t *testing.T) {
		requireRefused(t, s.from(t, "tlv", inVPC, signed(closed, "vpc_id: "+vpc, "X-Vpc-Id: "+vpc)), "192.168.1.7.")
	})
}

func testVPCInHeader(t *testing.T, s *site) {
	const header = "X-Vpc-Id: " + vpc
	t.Run("from a trusted peer it is believed and passed on", func(t *testing.T) {
		seen := requireAllowed(t, s.from(t, "header", balancer, signed(closed, header)))
		require.Equal(t, []string{vpc}, seen["X-Vpc-Id"])
		requireRefused(t, s.from(t, "header", balancer, signed(closed)), "10.1.2.3.")
		requireRefused(t, s.from(t, "header", balancer, signed(closed, "X-Vpc-Id: vpc-another")), "10.1.2.3 in vpc-another")
	})
	t.Run("from a trusted peer it has to be readable", func(t *testing.T) {
		for _, value := range []string{"X-Vpc-Id:", "X-Vpc-Id: vpc-", "X-Vpc-Id: " + vpc + ", " + vpc, header + "\r\n" + header,
			header + "\r\nX-Vpc-Id: vpc-another", "X-Vpc-Id: " + strings.ToUpper(vpc), "X-Vpc-Id: \x01" + vpc, "X-Vpc-Id: AllowAllVPC"} {
			a := s.from(t, "header", balancer, signed(closed, value))
			require.False(t, a.passed, value)
			require.Contains(t, []int{400, 403}, a.status, value)
			a = s.from(t, "header", balancer, signed(open, value)) // not taken for a public request either
			require.False(t, a.passed, value)
			require.Contains(t, []int{400, 403}, a.status, value)
		}
	})
	t.Run("from anyone else it is not believed and removed", func(t *testing.T) {
		removed := s.counts(t, "vpc_header_removed")
		const underscores = "X_Vpc_Id: " + vpc
		spoofs := []string{underscores, "x_VPC-id: " + vpc, header + "\r\n" + underscores, underscores + "\r\nX_Vpc_Id: vpc-another", header, "x-VPC-id: " + vpc, header + "\r\nX-VPC-ID: vpc-another", "X-Vpc-Id:", "X-Vpc-Id: rubbish",
			"X.Vpc.Id: " + vpc, "x+vpc~id: " + vpc, header + "\r\nx!vpc-id: " + vpc}
		for _, spoof := range spoofs {
			requireRefused(t, s.from(t, "header", inVPC, signed(closed, spoof)), "The source address is 192.168.1.7.")
			seen := requireAllowed(t, s.from(t, "header", office, signed(closed, spoof, "X-Kept: 1")))
			requireNoVPCHeader(t, seen)
			require.Contains(t, seen, "X-Kept")
			requireNoVPCHeader(t, requireAllowed(t, s.from(t, "header", stranger, request("/", spoof))))
		}
		removed(3 * len(spoofs))
	})
	t.Run("with underscores it is removed, from a trusted peer too", func(t *testing.T) {
		removed := s.counts(t, "vpc_header_removed")
		requireRefused(t, s.from(t, "header", balancer, signed(closed, "X_Vpc_Id: "+vpc)), "10.1.2.3.")
		seen := requireAllowed(t, s.from(t, "header", balancer, signed(closed, "X_Vpc_Id: vpc-another", header)))
		require.Equal(t, []string{vpc}, seen["X-Vpc-Id"])
		delete(seen, "X-Vpc-Id")
		requireNoVPCHeader(t, seen)
		removed(2)
	})
	t.Run("Envoy can refuse all underscores, as the example has it do", func(t *testing.T) {
		a := s.from(t, "rejects underscores", office, signed(closed, "X_Other: 1"))
		require.Equal(t, 400, a.status)
		require.False(t, a.passed)
		requireAllowed(t, s.from(t, "rejects underscores", office, signed(closed, "X-Other: 1")))
	})
	t.Run("X-Forwarded-For does not make a peer trusted", func(t *testing.T) {
		// The client is in the VPC's list, and in trusted_peers, but no peer.
		for _, forwarded := range []string{"10.9.9.9", "10.9.9.9:4444", "192.168.1.7", `"10.9.9.9:4444"`, "fd00::1", "[fd00::1]", "[fd00::1]:4444", "fd00::1%25eth0",
			"::ffff:10.9.9.9", "[::ffff:10.9.9.9]", "[::ffff:10.9.9.9]:443"} {
			a := s.from(t, "hops", stranger, signed(closed, header, "X-Forwarded-For: "+forwarded))
			requireRefused(t, a)
			require.NotContains(t, a.body, vpc)
		}
		requireAllowed(t, s.from(t, "hops", balancer, signed(closed, header))) // a peer indeed
	})
	t.Run("nor where Envoy believes it from everyone", func(t *testing.T) {
		seen := requireAllowed(t, s.send(t, "believes XFF", nil, signed(closed, header, "X-Forwarded-For: 198.51.100.7")))
		require.NotContains(t, seen, "X-Vpc-Id")
		for _, forwarded := range []string{"10.9.9.9", "10.9.9.9:4444", "10.9.9.9, 10.9.9.9"} {
			requireRefused(t, s.send(t, "believes XFF", nil, signed(closed, header, "X-Forwarded-For: "+forwarded)))
		}
	})
	t.Run("an operator can name the peer behind X-Forwarded-For", func(t *testing.T) {
		call := signed(closed, header, "X-Forwarded-For: 192.168.1.7")
		seen := requireAllowed(t, s.send(t, "knows its peer", nil, call))
		require.Equal(t, []string{vpc}, seen["X-Vpc-Id"])
		requireRefused(t, s.send(t, "knows another peer", nil, call), "The source address is 192.168.1.7.")
	})
}

// requireNoVPCHeader requires that the upstream sees no VPC id, in no spelling.
func requireNoVPCHeader(t *testing.T, seen http.Header) {
	t.Helper()
	for name := range seen {
		require.NotEqual(t, "x-vpc-id", strings.ToLower(strings.ReplaceAll(name, "_", "-")), name)
	}
}
