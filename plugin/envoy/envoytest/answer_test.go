package envoytest_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

const (
	vpcOnly = "LTAI5tExample0000000003" // its policy has no public list
	other   = "LTAI5tExample0000000009" // no policy set has it
)

// levels has an account with a policy of its own, and one key below it.
const levels = `{"policy_set": {"Accounts": [{"AccountId": "1000000000000001",
	"AccessKeyPolicy": {"Status": "Active", "Statements": [
		{"Type": "ClassicWhiteList", "IPList": ["198.51.100.7"]}, {"Type": "VPCWhiteList", "Value": "` + vpc + `", "IPList": ["192.168.0.0/16"]}]},
	"AccessKeys": [{"AccessKeyId": "` + vpcOnly + `", "AccessKeyPolicy": {"Status": "Active", "Statements": [
		{"Type": "VPCWhiteList", "Value": "` + vpc + `", "IPList": ["192.168.0.0/16"]}]}}]}]},
	"vpc_id": {"from": "proxy_protocol_tlv", "key": "vpc_id"}}`

// accountOf has an account without a public list, or without a VPC list.
func accountOf(kind string) string {
	value := ""
	if kind == "VPCWhiteList" {
		value = `"Value": "` + vpc + `", `
	}
	return `{"policy_set": {"Accounts": [{"AccountId": "1000000000000001", "AccessKeyPolicy": {"Status": "Active", "Statements": [
		{"Type": "` + kind + `", ` + value + `"IPList": ["192.168.0.0/16"]}]}}]}, "vpc_id": {"from": "proxy_protocol_tlv", "key": "vpc_id"}}`
}

// turned lets the key closed in from where it may not be used, and not from office.
const turned = `{"Accounts": [{"AccountId": "1000000000000001", "AccessKeys": [
	{"AccessKeyId": "` + closed + `", "AccessKeyPolicy": {"Status": "Active", "Statements": [{"Type": "ClassicWhiteList", "IPList": ["203.0.113.9"]}]}}]}]}`

func TestAnswers(t *testing.T) {
	wasm := filter(t, "")
	listener := func(name, configuration string) envoytest.Listener {
		return envoytest.Listener{Name: name, Wasm: wasm, Configuration: configuration, ProxyProtocol: true}
	}
	const header = `"vpc_id": {"from": "header", "name": "x-vpc-id", "trusted_peers": ["10.0.0.0/8"]}`
	s := start(t, envoytest.Options{}, nil,
		listener("default", configuration(`"vpc_id": {"from": "proxy_protocol_tlv", "key": "vpc_id"}`)),
		listener("json", configuration(`"denial": {"format": "json"}`)),
		listener("openapi", configuration(`"denial": {"format": "openapi"}`)),
		listener("oss_xml", configuration(`"denial": {"format": "oss_xml"}`)),
		listener("plain", configuration(`"denial": {"format": "plain"}`)),
		listener("status", configuration(`"denial": {"format": "openapi", "status": 451}`)),
		listener("missing allow", configuration(`"on_missing_access_key": "allow"`)),
		listener("missing deny", configuration(`"on_missing_access_key": "deny"`)),
		listener("report only", configuration(`"mode": "report_only"`, `"on_missing_access_key": "deny"`, header)),
		listener("candidate", configuration(`"candidate_policy_set": `+turned)),
		listener("static", configuration(`"vpc_id": {"from": "static", "value": "`+vpc+`"}`)),
		listener("levels", levels),
		listener("no public list", accountOf("VPCWhiteList")),
		listener("no VPC list", accountOf("ClassicWhiteList")),
		listener("exempt", configuration(`"service": "EventBridge"`)),
		listener("another account", configuration(`"account_id": "1000000000000009"`)),
	)
	t.Run("every counter is there from the start, at zero", func(t *testing.T) { testCountersAtStart(t, s) })
	t.Run("denial", func(t *testing.T) { testDenialFormats(t, s) })
	t.Run("gRPC", func(t *testing.T) { testGRPC(t, s) })
	t.Run("missing key", func(t *testing.T) { testMissingKey(t, s) })
	t.Run("a static VPC id holds for every request", func(t *testing.T) {
		requireAllowed(t, s.from(t, "static", inVPC, signed(closed)))
		requireRefused(t, s.from(t, "static", office, signed(closed)), "198.51.100.7 in "+vpc)
	})
	t.Run("report_only", func(t *testing.T) { testReportOnly(t, s) })
	t.Run("candidate", func(t *testing.T) { testCandidate(t, s) })
	t.Run("counters", func(t *testing.T) { testCounters(t, s) })
	t.Run("log", func(t *testing.T) { testLog(t, s) })
}

func testDenialFormats(t *testing.T, s *site) {
	const message = "Specified access key denied due to access policy. The source address is 203.0.113.9."
	ask := func(t *testing.T, format string, status int, contentType string) answer {
		t.Helper()
		requireAllowed(t, s.from(t, format, office, signed(closed)))
		a := s.from(t, format, stranger, signed(closed))
		require.False(t, a.passed)
		require.Equal(t, status, a.status)
		require.Equal(t, []string{contentType}, a.header["Content-Type"])
		require.Equal(t, []string{"no-store"}, a.header["Cache-Control"])
		require.Equal(t, []string{"nosniff"}, a.header["X-Content-Type-Options"])
		require.NotContains(t, a.body, closed)
		return a
	}
	object := func(t *testing.T, body string) map[string]string {
		t.Helper()
		var o map[string]string
		require.NoError(t, json.Unmarshal([]byte(body), &o))
		require.NotEmpty(t, o["RequestId"])
		return o
	}
	json := func(t *testing.T, listener string) {
		o := object(t, ask(t, listener, 403, "application/json").body)
		require.Equal(t, map[string]string{"Code": "InvalidAccessKeyId.AccessPolicyDenied", "Message": message,
			"SourceIp": "203.0.113.9", "RequestId": o["RequestId"]}, o)
	}
	t.Run("json", func(t *testing.T) { json(t, "json") })
	t.Run("json is the default", func(t *testing.T) { json(t, "default") })
	openAPI := func(t *testing.T, listener string, status int) {
		o := object(t, ask(t, listener, status, "application/json").body)
		require.NotEmpty(t, o["Recommend"])
		require.Equal(t, map[string]string{"Code": "InvalidAccessKeyId.AccessPolicyDenied", "Message": message,
			"HostId": "ecs.example.com", "Recommend": o["Recommend"], "RequestId": o["RequestId"]}, o)
	}
	t.Run("openapi has the cloud's status and code", func(t *testing.T) { openAPI(t, "openapi", 400) })
	t.Run("another status", func(t *testing.T) { openAPI(t, "status", 451) })
	t.Run("oss_xml", func(t *testing.T) {
		var e struct {
			XMLName                              xml.Name `xml:"Error"`
			Code, Message, RequestId, HostId, EC string
		}
		require.NoError(t, xml.Unmarshal([]byte(ask(t, "oss_xml", 403, "application/xml").body), &e))
		require.Equal(t, []string{"InvalidAccessKeyId", message, "ecs.example.com", "0002-00000904"}, []string{e.Code, e.Message, e.HostId, e.EC})
		require.NotEmpty(t, e.RequestId)
	})
	t.Run("plain", func(t *testing.T) {
		require.Equal(t, "InvalidAccessKeyId.AccessPolicyDenied: "+message+"\n", ask(t, "plain", 403, "text/plain; charset=utf-8").body)
	})
	t.Run("a request that cannot be judged gets 403 in every format", func(t *testing.T) {
		for _, format := range []string{"json", "openapi", "oss_xml", "plain", "status"} {
			a := s.from(t, format, office, request("/?AccessKeyId=a%20b"))
			require.False(t, a.passed)
			require.Equal(t, 403, a.status)
			require.Contains(t, a.body, "InvalidAccessKeyId")
			require.NotContains(t, a.body, "AccessPolicyDenied")
			require.NotContains(t, a.body, "0002-00000904")
		}
	})
	t.Run("a body that the caller sends is not awaited", func(t *testing.T) {
		head := strings.Replace(signed(closed, "Content-Length: 1000000"), "GET", "POST", 1)
		requireRefused(t, s.from(t, "json", stranger, head+"the start of it"))
		requireRefused(t, s.from(t, "json", stranger, strings.Replace(signed(closed, "Expect: 100-continue", "Content-Length: 5"), "GET", "PUT", 1)))
	})
}

func testGRPC(t *testing.T, s *site) {
	call := func(t *testing.T, client netip.Addr) *http.Response {
		t.Helper()
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: protocols, DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				_, err = c.Write(envoytest.ProxyHeader(client))
			}
			return c, err
		}}
		defer transport.CloseIdleConnections()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+s.addresses["json"]+"/pets.Pets/Get", strings.NewReader("\x00\x00\x00\x00\x00"))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/grpc+proto")
		req.Header.Set("TE", "trailers")
		req.Header.Set("Authorization", "acs "+closed+":c2ln")
		res, err := transport.RoundTrip(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, res.Body)
		require.NoError(t, err)
		require.NoError(t, res.Body.Close())
		require.Equal(t, 2, res.ProtoMajor)
		return res
	}
	t.Run("a refusal is the status PERMISSION_DENIED", func(t *testing.T) {
		before := s.reached.Load()
		res := call(t, stranger)
		require.Equal(t, before, s.reached.Load())
		require.Equal(t, 200, res.StatusCode)
		require.Equal(t, "application/grpc", res.Header.Get("Content-Type"))
		require.Equal(t, "7", res.Header.Get("Grpc-Status"))
		require.Equal(t, "no-store", res.Header.Get("Cache-Control"))
		require.Contains(t, res.Header.Get("Grpc-Message"), "The source address is 203.0.113.9.")
		require.NotContains(t, res.Header.Get("Grpc-Message"), "{")
	})
	t.Run("an allowed call goes on", func(t *testing.T) {
		res := call(t, office)
		require.Equal(t, "reached", res.Header.Get("X-Upstream"))
		require.Empty(t, res.Header.Get("Grpc-Status"))
	})
}

func testMissingKey(t *testing.T, s *site) {
	for name, call := range map[string]string{
		"no header at all":  request("/"),
		"another scheme":    request("/", "Authorization: Bearer abc"),
		"a similar name":    request("/?AccessKeyIds=" + closed),
		"a key in the path": request("/AccessKeyId=" + closed),
	} {
		t.Run(name, func(t *testing.T) {
			requireAllowed(t, s.from(t, "missing allow", stranger, call))
			requireAllowed(t, s.from(t, "default", stranger, call))
			requireRefused(t, s.from(t, "missing deny", office, call), "The request names no access key.")
		})
	}
	requireAllowed(t, s.from(t, "missing deny", office, signed(closed)))
	requireRefused(t, s.from(t, "missing allow", stranger, signed(closed)))
}

func testReportOnly(t *testing.T, s *site) {
	passed, refused, invalid := s.counts(t, "report_only_passed"), s.counts(t, "decision.Deny.SourceIPNotListed.AccessKey"), s.counts(t, "error.InvalidAccessKeyId")
	requireAllowed(t, s.from(t, "report only", stranger, signed(closed)))
	requireAllowed(t, s.from(t, "report only", stranger, request("/?AccessKeyId=a%20b")))
	requireAllowed(t, s.from(t, "report only", office, signed(closed)))
	requireAllowed(t, s.from(t, "report only", office, request("/")))
	passed(3)
	refused(1)
	invalid(1)
	t.Run("tells in the log what it would refuse", func(t *testing.T) {
		from := len(s.Log())
		require.NoError(t, s.Wait(t.Context(), "a line", func() bool { // only some refusals of a second have one
			requireAllowed(t, s.from(t, "report only", stranger, signed(closed)))
			return strings.Contains(s.Log()[from:], `{"Event":"WouldRefuse","Effect":"Deny","Reason":"SourceIPNotListed"`)
		}))
	})
	t.Run("still removes the VPC id of whoever is not trusted with it", func(t *testing.T) {
		seen := requireAllowed(t, s.from(t, "report only", inVPC, signed(closed, "X-Vpc-Id: "+vpc)))
		require.NotContains(t, seen, "X-Vpc-Id")
	})
}

func testCandidate(t *testing.T, s *site) {
	allows, denies := s.counts(t, "candidate.Allow"), s.counts(t, "candidate.Deny")
	from := len(s.Log())
	requireRefused(t, s.from(t, "candidate", stranger, signed(closed)))
	requireRefused(t, s.from(t, "candidate", stranger, signed(closed)))
	requireAllowed(t, s.from(t, "candidate", office, signed(closed)))
	// The two agree.
	requireRefused(t, s.from(t, "candidate", inVPC, signed(closed)))
	requireRefused(t, s.from(t, "candidate", stranger, request("/?AccessKeyId=a%20b")))
	requireRefused(t, s.from(t, "candidate", stranger, signed(closed, "x-ots-accesskeyid: "+open)))
	requireAllowed(t, s.from(t, "candidate", stranger, signed(open)))
	requireAllowed(t, s.from(t, "candidate", stranger, request("/")))
	allows(2)
	denies(1)
	for _, event := range []string{"CandidateWouldAllow", "CandidateWouldRefuse"} {
		line, _, err := s.NextLine(t.Context(), from, `"Event":"`+event+`"`)
		require.NoError(t, err)
		require.Contains(t, line, "LTAI5t…0002")
	}
}

// theCounters are the counters of the filter in Envoy's stats.
var theCounters = []string{
	"decision.Allow.NoAccessKey.None", "decision.Deny.NoAccessKey.None", "decision.Deny.AmbiguousAccessKey.None",
	"decision.Allow.TemporaryCredential.None", "decision.Allow.ExemptService.None", "decision.Allow.NoActivePolicy.None",
	"decision.Deny.AccountMismatch.None", "decision.Deny.UnknownAccount.None",
	"decision.Deny.NoVPCPolicy.Account", "decision.Deny.NoVPCPolicy.AccessKey", "decision.Deny.VPCNotListed.Account", "decision.Deny.VPCNotListed.AccessKey",
	"decision.Deny.NoPublicPolicy.Account", "decision.Deny.NoPublicPolicy.AccessKey", "decision.Deny.SourceIPNotListed.Account", "decision.Deny.SourceIPNotListed.AccessKey",
	"decision.Allow.Matched.Account", "decision.Allow.Matched.AccessKey",
	"error.InvalidAccessKeyId", "error.InvalidSourceIp", "error.InvalidVpcId", "error.NotLoaded", "error.Internal",
	"candidate.Allow", "candidate.Deny", "candidate.Fault", "report_only_passed", "vpc_header_removed",
}

// allCounters reads every counter of the filter.
func (s *site) allCounters(t *testing.T) map[string]int {
	t.Helper()
	stats, err := s.Stats(t.Context(), `^wasmcustom\.keymoat\.`)
	require.NoError(t, err)
	all := map[string]int{}
	for name, n := range stats {
		all[strings.TrimPrefix(name, "wasmcustom.keymoat.")] = n
	}
	return all
}

func testCountersAtStart(t *testing.T, s *site) {
	zero := map[string]int{}
	for _, name := range theCounters {
		zero[name] = 0
	}
	require.Equal(t, zero, s.allCounters(t))
}

func testCounters(t *testing.T, s *site) {
	// Counts of requests before this test may still be on their way: a request
	// that is refused and one that is allowed show that all have arrived.
	settled := s.counts(t, "decision.Allow.ExemptService.None")
	requireAllowed(t, s.from(t, "exempt", stranger, signed(closed)))
	settled(1)
	before := s.allCounters(t)

	vpcTLV, anotherVPC := envoytest.VPC(vpc), envoytest.VPC("vpc-another")
	want := map[string]int{}
	for _, c := range []struct {
		counter, listener string
		client            netip.Addr
		request           string
		tlvs              []envoytest.TLV
	}{
		{"decision.Allow.NoAccessKey.None", "missing allow", office, request("/"), nil},
		{"decision.Deny.NoAccessKey.None", "missing deny", office, request("/"), nil},
		{"decision.Deny.AmbiguousAccessKey.None", "default", office, signed(closed, "x-ots-accesskeyid: "+open), nil},
		{"decision.Allow.TemporaryCredential.None", "default", stranger, signed("STS.Example00000000000000001"), nil},
		{"decision.Allow.ExemptService.None", "exempt", stranger, signed(closed), nil},
		{"decision.Allow.NoActivePolicy.None", "default", stranger, signed(other), nil},
		{"decision.Deny.AccountMismatch.None", "another account", office, signed(closed), nil},
		{"decision.Deny.UnknownAccount.None", "another account", office, signed(other), nil},
		{"decision.Deny.NoVPCPolicy.Account", "no VPC list", inVPC, signed(other), []envoytest.TLV{vpcTLV}},
		{"decision.Deny.NoVPCPolicy.AccessKey", "default", inVPC, signed(open), []envoytest.TLV{vpcTLV}},
		{"decision.Deny.VPCNotListed.Account", "levels", inVPC, signed(other), []envoytest.TLV{anotherVPC}},
		{"decision.Deny.VPCNotListed.AccessKey", "default", inVPC, signed(closed), []envoytest.TLV{anotherVPC}},
		{"decision.Deny.NoPublicPolicy.Account", "no public list", inVPC, signed(other), nil},
		{"decision.Deny.NoPublicPolicy.AccessKey", "levels", office, signed(vpcOnly), nil},
		{"decision.Deny.SourceIPNotListed.Account", "levels", stranger, signed(other), nil},
		{"decision.Deny.SourceIPNotListed.AccessKey", "default", stranger, signed(closed), nil},
		{"decision.Allow.Matched.Account", "levels", office, signed(other), nil},
		{"decision.Allow.Matched.AccessKey", "default", office, signed(closed), nil},
		{"error.InvalidAccessKeyId", "default", office, request("/?AccessKeyId="), nil},
		{"error.InvalidVpcId", "default", office, signed(closed), []envoytest.TLV{envoytest.VPC("")}},
	} {
		// Each a different number of times, so that none can stand for another.
		want[c.counter] = len(want) + 1
		for range want[c.counter] {
			a := s.from(t, c.listener, c.client, c.request, c.tlvs...)
			if strings.HasPrefix(c.counter, "decision.Allow") {
				requireAllowed(t, a)
			} else {
				requireRefused(t, a)
			}
		}
	}
	grown := func() map[string]int {
		g := map[string]int{}
		for name, n := range s.allCounters(t) {
			if n != before[name] {
				g[name] = n - before[name]
			}
		}
		return g
	}
	err := s.Wait(t.Context(), "the counts", func() bool { return fmt.Sprint(grown()) == fmt.Sprint(want) })
	require.Equal(t, want, grown())
	require.NoError(t, err)
}

func testLog(t *testing.T, s *site) {
	// Whoever sends many requests that are refused does not fill the log: only
	// some get a line, and the lines tell how many do not. Each request has a
	// source of its own, so that a line tells which one it is about.
	type event struct {
		Event, Effect, Reason, Level, Network, Code, AccessKeyId, SourceIp, RequestId string
		Suppressed                                                                    int
	}
	from, began, sent := len(s.Log()), time.Now(), 0
	send := func() {
		source := netip.AddrFrom4([4]byte{198, 18, byte(sent >> 8), byte(sent)})
		requireRefused(t, s.from(t, "default", source, signed(closed)), source.String())
		sent++
	}
	events := func() (all []event) {
		for line := range strings.Lines(s.Log()[from:]) {
			_, text, ok := strings.Cut(line, `{"Event":"Refused"`)
			if !ok || !strings.HasSuffix(line, "\n") {
				continue
			}
			var e event
			require.NoError(t, json.Unmarshal([]byte(`{"Event":"Refused"`+text), &e), line)
			if strings.HasPrefix(e.SourceIp, "198.18.") {
				all = append(all, e)
			}
		}
		return all
	}
	number := func(e event) int {
		source := netip.MustParseAddr(e.SourceIp).As4()
		return int(source[2])<<8 | int(source[3])
	}
	require.NoError(t, s.Wait(t.Context(), "a line", func() bool { send(); return len(events()) > 0 }))
	for range 100 {
		send()
	}
	require.NoError(t, s.Wait(t.Context(), "a line that counts others", func() bool {
		send()
		all := events()
		return len(all) > 1 && all[len(all)-1].Suppressed > 0
	}))
	all := events()
	require.LessOrEqual(t, len(all), 10*(int(time.Since(began)/time.Second)+2), "ten lines a second")
	told := number(all[0])
	for i, e := range all {
		require.Equal(t, "Deny SourceIPNotListed AccessKey Public InvalidAccessKeyId.AccessPolicyDenied LTAI5t…0002",
			strings.Join([]string{e.Effect, e.Reason, e.Level, e.Network, e.Code, e.AccessKeyId}, " "))
		require.NotEmpty(t, e.RequestId)
		if i > 0 {
			told += 1 + e.Suppressed
		}
		require.Equal(t, told, number(e), "every request has a line or is counted by the next one")
	}
	require.NotContains(t, s.Log(), open)
	require.NotContains(t, s.Log(), closed)
	require.NotContains(t, s.Log(), vpcOnly)
}
