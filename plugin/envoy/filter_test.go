package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/denial"
	"github.com/keymoat/keymoat/plugin/policy"
)

const (
	// key has a policy of its own, otherKey that of the account.
	key      = "LTAI5tExample0000000001"
	otherKey = "LTAI5tExample0000000002"
	vpc      = "vpc-m5ekxe1zi8zwgqrtc1234"

	policySet = `{"Accounts":[{"AccountId":"1000000000000001",
		"AccessKeyPolicy":{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["198.51.100.0/24"]}]},
		"AccessKeys":[{"AccessKeyId":"` + key + `","AccessKeyPolicy":{"Status":"Active","Statements":[
			{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24","2001:db8::/32"]},
			{"Type":"VPCWhiteList","Value":"` + vpc + `","IPList":["192.168.0.0/16"]}]}}]}]}`
	listed, unlisted = "203.0.113.7:51234", "203.0.114.7:51234"
)

// configuration returns a plugin configuration with the policy set of the
// tests and further fields.
func configuration(fields ...string) string {
	return "{" + strings.Join(append([]string{`"policy_set":` + policySet}, fields...), ",") + "}"
}

// visit is one request and the Envoy that it comes through.
type visit struct {
	*fakeHost
	filter *filter
	stream uint32
}

func newVisit(t testing.TB, configuration string) *visit {
	h := &fakeHost{config: configuration, counters: map[string]int{}, calls: map[string]int{},
		properties: map[string]string{sourcePath: listed}, unknown: map[string]bool{}}
	h.signed(key)
	return &visit{fakeHost: h, filter: newFilter(t, h), stream: 1}
}

// signed makes the request one that is signed with a key.
func (h *fakeHost) signed(key string) {
	h.headers = [][2]string{{":authority", "ecs.example.com"}, {":path", "/"}, {":method", "POST"},
		{"authorization", "ACS3-HMAC-SHA256 Credential=" + key + ",SignedHeaders=host,Signature=00"}, {"x-request-id", "r-1"}}
	h.raw = nil
}

// header adds a header to the request.
func (h *fakeHost) header(name, value string) {
	h.headers, h.raw = append(h.headers, [2]string{name, value}), nil
}

// send sends the request through the filter and returns whether it went on.
func (v *visit) send() bool {
	v.stream++
	v.filter.createContext(v.stream, 1)
	return v.filter.requestHeaders(v.stream)
}

// body returns the last answer of the filter, read as JSON.
func (v *visit) body(t testing.TB) map[string]string {
	require.NotEmpty(t, v.answers)
	var body map[string]string
	require.NoError(t, json.Unmarshal(v.answers[len(v.answers)-1].body, &body))
	return body
}

// counted returns the counters that are not zero.
func (v *visit) counted() map[string]int {
	v.filter.tick(1)
	return v.fakeHost.counters
}

func TestARequestGoesOnIffTheEvaluatorAllowsIt(t *testing.T) {
	tests := []struct {
		name, key, source string
		allowed           bool
		counter           string
	}{
		{"listed for the key", key, listed, true, "decision.Allow.Matched.AccessKey"},
		{"listed for the key, over IPv6", key, "[2001:db8::1]:443", true, "decision.Allow.Matched.AccessKey"},
		{"listed for the key, written as IPv4-mapped IPv6", key, "[::ffff:203.0.113.7]:443", true, "decision.Allow.Matched.AccessKey"},
		{"listed for the account only", key, "198.51.100.7:1", false, "decision.Deny.SourceIPNotListed.AccessKey"},
		{"not listed", key, unlisted, false, "decision.Deny.SourceIPNotListed.AccessKey"},
		{"another key, listed for the account", otherKey, "198.51.100.7:1", true, "decision.Allow.Matched.Account"},
		{"another key, not listed for the account", otherKey, listed, false, "decision.Deny.SourceIPNotListed.Account"},
		{"a temporary credential", "STS.NYx3uEBnMWqC3ogAa14JAFM6y", unlisted, true, "decision.Allow.TemporaryCredential.None"},
		{"from a place that X-Forwarded-For tells", key, "203.0.113.7:0", true, "decision.Allow.Matched.AccessKey"},
		{"from an address without a port", key, "203.0.113.7", false, "error.InvalidSourceIp"},
		{"from a pipe", key, "/var/run/envoy.sock", false, "error.InvalidSourceIp"},
		{"from an address with a zone", key, "[fe80::1%eth0]:80", false, "error.InvalidSourceIp"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newVisit(t, configuration())
			v.signed(test.key)
			v.properties[sourcePath] = test.source
			require.Equal(t, test.allowed, v.send())
			require.Equal(t, map[string]int{"keymoat." + test.counter: 1}, v.counted())
			require.Equal(t, test.allowed, len(v.answers) == 0)
		})
	}
}

// The policy package has the last word on what a request claims and on what
// becomes of it; the filter's short way must never differ.
func TestTheFilterDecidesAsAuthorizeDoes(t *testing.T) {
	evaluator, err := policy.Load([]byte(policySet))
	require.NoError(t, err)
	acs3 := "ACS3-HMAC-SHA256 Credential=" + key + ",SignedHeaders=host,Signature=00"
	requests := []struct {
		target  string
		headers []abi.HTTPHeader
	}{
		{"/", []abi.HTTPHeader{{Name: "authorization", Value: acs3}}},
		{"/?AccessKeyId=" + key, nil},
		{"/?AccessKeyId=" + otherKey, []abi.HTTPHeader{{Name: "authorization", Value: acs3}}},
		{"/?%41ccessKeyI%64=" + key, nil},
		{"/?x-oss-credential=" + key + "%2F20261124%2Fcn%2Foss%2Faliyun_v4_request", nil},
		{"/", []abi.HTTPHeader{{Name: "authorization", Value: acs3}, {Name: "authorization", Value: "acs " + otherKey + ":s"}}},
		{"/", []abi.HTTPHeader{{Name: "authorization", Value: acs3}, {Name: "authorization", Value: acs3}}},
		{"/", []abi.HTTPHeader{{Name: "authorization", Value: acs3}, {Name: "x-acs-accesskey-id", Value: otherKey}}},
		{"/", []abi.HTTPHeader{{Name: "x-ots-accesskeyid", Value: key}}},
		{"/", []abi.HTTPHeader{{Name: "authorization", Value: "ACS3-HMAC-SHA256 "}}},
		{"/", []abi.HTTPHeader{{Name: "authorization", Value: "Bearer abc"}}},
		{"/", []abi.HTTPHeader{{Name: "content-length-", Value: "a header whose name is as long as another"}}},
		{"/", []abi.HTTPHeader{{Name: "x_ots_accesskeyid", Value: key}}},
		{"/?Access%E2%84%AAeyId=" + key, []abi.HTTPHeader{{Name: "authorization", Value: acs3}}},
		{"/", []abi.HTTPHeader{{Name: "authorization", Value: acs3}, {Name: "content-type", Value: "application/x-www-form-urlencoded"}}},
		{"/", []abi.HTTPHeader{{Name: "content-type", Value: "multipart/form-data; boundary=b"}}},
		{"", nil},
	}
	choices := []string{"allow", "deny"}
	for i, r := range requests {
		for _, source := range []string{"203.0.113.7", "198.51.100.7", "192.0.2.1"} {
			for choice := range 4 {
				missing, form := choice&1, choice>>1
				want, _ := evaluator.Authorize(&abi.HTTPRequest{Target: r.target, Headers: r.headers, SourceIP: netip.MustParseAddr(source),
					DenyMissingAccessKey: missing == 1, DenyFormBody: form == 1})
				decision, status := want.Decision(netip.MustParseAddr(source))
				v := newVisit(t, configuration(`"on_missing_access_key":"`+choices[missing]+`"`, `"on_form_body":"`+choices[form]+`"`))
				v.debug = true
				v.filter.tick(1)
				v.headers = [][2]string{{":method", "POST"}, {":path", r.target}}
				for _, h := range r.headers {
					v.header(h.Name, h.Value)
				}
				v.properties[sourcePath] = source + ":1"
				require.Equal(t, decision.Allowed(), v.send(), "request %d from %s", i, source)
				var line struct {
					abi.Decision
					Error string
				}
				require.NoError(t, json.Unmarshal([]byte(v.lines[1]), &struct{ Error *string }{&line.Error}))
				if status != abi.StatusOK {
					require.Equal(t, status.String(), line.Error)
					continue
				}
				require.NoError(t, json.Unmarshal([]byte(v.lines[1]), &line.Decision))
				require.Equal(t, decision, line.Decision, "request %d from %s", i, source)
			}
		}
	}
}

func TestTheServiceAndTheAccountAreThoseOfTheConfiguration(t *testing.T) {
	v := newVisit(t, configuration(`"service":"EventBridge"`))
	v.properties[sourcePath] = unlisted
	require.True(t, v.send())
	require.Equal(t, map[string]int{"keymoat.decision.Allow.ExemptService.None": 1}, v.counted())

	v = newVisit(t, configuration(`"account_id":"1000000000000002"`))
	require.False(t, v.send())
	v.signed(otherKey)
	require.False(t, v.send())
	require.Equal(t, map[string]int{"keymoat.decision.Deny.AccountMismatch.None": 1, "keymoat.decision.Deny.UnknownAccount.None": 1}, v.counted())
}

func TestARefusalNamesTheAddressThatWasSeen(t *testing.T) {
	v := newVisit(t, configuration())
	v.properties[sourcePath] = unlisted
	require.False(t, v.send())
	answer := v.answers[0]
	require.Equal(t, 403, answer.status)
	require.Equal(t, denial.JSON.Headers(), answer.headers)
	require.Equal(t, "keymoat_SourceIPNotListed", answer.details)
	body := v.body(t)
	require.Equal(t, "InvalidAccessKeyId.AccessPolicyDenied", body["Code"])
	require.Equal(t, "203.0.114.7", body["SourceIp"])
	require.Equal(t, "r-1", body["RequestId"])
	require.NotContains(t, string(answer.body), key)
}

func TestFormatsAndStatusesOfRefusals(t *testing.T) {
	tests := []struct {
		fields, contentType string
		status              int
		begins              string
	}{
		{`"denial":{}`, "application/json", 403, `{"Code":"InvalidAccessKeyId.AccessPolicyDenied"`},
		{`"denial":{"format":"json","status":451}`, "application/json", 451, `{"Code":"InvalidAccessKeyId.AccessPolicyDenied"`},
		{`"denial":{"format":"openapi"}`, "application/json", 400, `{"RequestId":"r-1","HostId":"ecs.example.com","Code":"InvalidAccessKeyId.AccessPolicyDenied"`},
		{`"denial":{"format":"openapi","status":403}`, "application/json", 403, `{"RequestId":"r-1"`},
		{`"denial":{"format":"oss_xml"}`, "application/xml", 403, `<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error><Code>InvalidAccessKeyId</Code>"},
		{`"denial":{"format":"plain"}`, "text/plain; charset=utf-8", 403, "InvalidAccessKeyId.AccessPolicyDenied: "},
	}
	for _, test := range tests {
		t.Run(test.fields, func(t *testing.T) {
			v := newVisit(t, configuration(test.fields))
			v.properties[sourcePath] = unlisted
			require.False(t, v.send())
			require.Equal(t, test.status, v.answers[0].status)
			require.Equal(t, []abi.HTTPHeader{{Name: "content-type", Value: test.contentType}, {Name: "cache-control", Value: "no-store"},
				{Name: "x-content-type-options", Value: "nosniff"}}, v.answers[0].headers)
			require.True(t, strings.HasPrefix(string(v.answers[0].body), test.begins), "%s", v.answers[0].body)
			require.Contains(t, string(v.answers[0].body), "203.0.114.7")
		})
	}
}

func TestARequestInErrorIsAnswered403WhateverTheStatusOfDenials(t *testing.T) {
	v := newVisit(t, configuration(`"denial":{"format":"openapi"}`))
	v.header("authorization", "ACS3-HMAC-SHA256 ")
	require.False(t, v.send())
	require.Equal(t, 403, v.answers[0].status)
	require.Equal(t, "keymoat_InvalidAccessKeyId", v.answers[0].details)
	require.Equal(t, "InvalidAccessKeyId", v.body(t)["Code"])
}

func TestAGRPCCallGetsAShortMessage(t *testing.T) {
	for contentType, short := range map[string]bool{
		"application/grpc": true, "application/grpc+proto": true,
		"application/grpc-web": false, "application/grpcx": false, "text/plain": false,
	} {
		v := newVisit(t, configuration())
		v.properties[sourcePath] = unlisted
		v.header("content-type", contentType)
		require.False(t, v.send())
		require.Equal(t, short, string(v.answers[0].body) == "Specified access key denied due to access policy. The source address is 203.0.114.7.", contentType)
		require.Equal(t, !short, json.Valid(v.answers[0].body), contentType)
	}
}

func TestAFormIsRefusedWhereItIsConfigured(t *testing.T) {
	for _, decoy := range [][2]string{{"x-ots-accesskeyid", "STS.x"}, {"x-ots-accesskeyid", key}, {"authorization", "acs " + key + ":s"}, {"x-other", ""}} {
		v := newVisit(t, configuration(`"on_form_body":"deny"`, `"on_missing_access_key":"deny"`))
		v.headers = [][2]string{{":path", "/"}, {":method", "POST"}, decoy, {"content-type", "application/x-www-form-urlencoded"}}
		require.False(t, v.send())
		require.Equal(t, "InvalidAccessKeyId", v.body(t)["Code"])
		require.Contains(t, v.lines[1], `{"Event":"Refused","Error":"InvalidAccessKeyId","Place":"form body","SourceIp":"203.0.113.7"`)
		require.Equal(t, map[string]int{"keymoat.error.InvalidAccessKeyId": 1}, v.counted())
	}
	v := newVisit(t, configuration(`"on_form_body":"deny"`))
	v.header("content-type", "application/json")
	require.True(t, v.send(), "no form")
	v = newVisit(t, configuration())
	v.header("content-type", "multipart/form-data; boundary=b")
	require.True(t, v.send(), "not configured")
}

func TestTheLogTellsWhereTheKeyIdStands(t *testing.T) {
	for _, test := range []struct{ target, name, value, says string }{
		{"/?AccessKeyId=a%20b", "x-other", "", `"Error":"InvalidAccessKeyId","Scheme":"RPC","Place":"query AccessKeyId",`},
		{"/", "x_ots_accesskeyid", key, `"Error":"InvalidAccessKeyId","Scheme":"OTS","Place":"header x-ots-accesskeyid",`},
		{"/", "authorization", "acs " + otherKey + ":s", `"AccessKeyId":"LTAI5t…0002","Scheme":"ACS","Place":"header authorization",`},
		{"/?AccessKeyId=" + key, "x-ots-accesskeyid", otherKey, `"Code":"InvalidAccessKeyId.AccessPolicyDenied","SourceIp"`}, // two: none
	} {
		v := newVisit(t, configuration())
		v.headers = [][2]string{{":path", test.target}, {":method", "POST"}, {test.name, test.value}}
		require.False(t, v.send())
		require.Contains(t, v.lines[1], test.says)
		require.NotContains(t, v.lines[1], key)
	}
}

func TestALineOfTheLogIsNotLongHoweverLongWhatIsSent(t *testing.T) {
	long := strings.Repeat("…", 20_000)
	v := newVisit(t, configuration(`"vpc_id":{"from":"header","name":"x-vpc-id","trusted_peers":["203.0.113.7"]}`))
	v.headers = [][2]string{{":path", "/"}, {":method", "POST"}, {"x-vpc-id", long}, {"x-request-id", long}}
	require.False(t, v.send())
	var line struct{ Error, VpcId, RequestId string }
	require.NoError(t, json.Unmarshal([]byte(v.lines[1]), &line))
	require.Equal(t, "InvalidVpcId", line.Error)
	require.Equal(t, strings.Repeat("…", 85), line.VpcId, "255 bytes")
	require.Equal(t, line.VpcId, line.RequestId)
}

func TestReportOnlyLetsEverythingThroughAndTellsWhatItWouldRefuse(t *testing.T) {
	v := newVisit(t, configuration(`"mode":"report_only"`))
	require.True(t, v.send())
	v.properties[sourcePath] = unlisted
	require.True(t, v.send())
	v.header("authorization", "ACS3-HMAC-SHA256 ")
	require.True(t, v.send())
	require.Empty(t, v.answers)
	require.Equal(t, map[string]int{
		"keymoat.decision.Allow.Matched.AccessKey":          1,
		"keymoat.decision.Deny.SourceIPNotListed.AccessKey": 1,
		"keymoat.error.InvalidAccessKeyId":                  1,
		"keymoat.report_only_passed":                        2,
	}, v.counted())
	require.Contains(t, v.lines[1], `"Event":"WouldRefuse"`)
}

func TestACandidateIsOnlyCountedAndLogged(t *testing.T) {
	candidate := `"candidate_policy_set":{"Accounts":[{"AccountId":"1000000000000001","AccessKeyPolicy":
		{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.114.0/24"]}]}}]}`
	v := newVisit(t, configuration(candidate))
	require.True(t, v.send(), "the candidate would refuse")
	v.properties[sourcePath] = unlisted
	require.False(t, v.send(), "the candidate would allow")
	v.properties[sourcePath] = "192.0.2.1:1"
	require.False(t, v.send(), "both refuse")
	v.signed("STS.NYx3uEBnMWqC3ogAa14JAFM6y")
	require.True(t, v.send(), "both allow")
	v.header("authorization", "ACS3-HMAC-SHA256 ")
	require.False(t, v.send(), "neither can read it")
	counted := v.counted()
	require.Equal(t, 1, counted["keymoat.candidate.Allow"])
	require.Equal(t, 1, counted["keymoat.candidate.Deny"])
	lines := strings.Join(v.lines, "\n")
	require.Equal(t, 1, strings.Count(lines, `"Event":"CandidateWouldRefuse"`))
	require.Equal(t, 1, strings.Count(lines, `"Event":"CandidateWouldAllow"`))
}

func TestACandidateThatFailsChangesNothing(t *testing.T) {
	v := newVisit(t, configuration())
	v.filter.plugins[0].config.candidate = &policy.Evaluator{} // of no image
	require.True(t, v.send())
	v.properties[sourcePath] = unlisted
	require.False(t, v.send())
	require.Equal(t, "InvalidAccessKeyId.AccessPolicyDenied", v.body(t)["Code"])
	require.Equal(t, map[string]int{"keymoat.candidate.Fault": 2, "keymoat.decision.Allow.Matched.AccessKey": 1,
		"keymoat.decision.Deny.SourceIPNotListed.AccessKey": 1}, v.counted())
	require.Contains(t, v.lines[1], `{"Event":"Fault","Cause":"candidate: runtime error: `)
}

func TestWhatEnvoyFailsToTellIsRefused(t *testing.T) {
	tests := []struct {
		name, counter string
		fail          func(*visit)
	}{
		{"no headers", "error.Internal", func(v *visit) { v.noHeaders = true }},
		{"an empty block of headers", "error.Internal", func(v *visit) { v.raw = []byte{} }},
		{"a block of no headers", "error.Internal", func(v *visit) { v.raw = make([]byte, 4) }},
		{"headers without a method", "error.Internal", func(v *visit) { v.headers = v.headers[3:] }},
		{"malformed headers", "error.Internal", func(v *visit) { v.raw = []byte{1, 0, 0, 0, 255} }},
		{"no source address", "error.InvalidSourceIp", func(v *visit) { delete(v.properties, sourcePath) }},
		{"the source address unknown", "error.InvalidSourceIp", func(v *visit) { v.unknown[sourcePath] = true }},
		{"the source address empty", "error.InvalidSourceIp", func(v *visit) { v.properties[sourcePath] = "" }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newVisit(t, configuration())
			test.fail(v)
			require.False(t, v.send())
			require.Len(t, v.answers, 1)
			require.Equal(t, 403, v.answers[0].status)
			require.Equal(t, map[string]int{"keymoat." + test.counter: 1}, v.counted())
		})
	}
}

// brokenHost fails where the filter expects it least.
type brokenHost struct{ *fakeHost }

func (h brokenHost) property(string) ([]byte, presence) { panic("no such thing") }

func TestAFaultInsideTheFilterRefuses(t *testing.T) {
	v := newVisit(t, configuration())
	v.filter.host = brokenHost{v.fakeHost}
	require.False(t, v.send())
	require.Equal(t, response{
		status: 403, headers: denial.JSON.Headers(), details: "keymoat_Internal",
		body: []byte(`{"Code":"Internal","Message":"The request could not be judged."}` + "\n"),
	}, v.answers[0])
	require.Contains(t, v.lines[1], `{"Event":"Fault","Cause":"no such thing"}`)
	v.filter.host = v.fakeHost
	require.True(t, v.send(), "the next request is judged as ever")
	require.Equal(t, map[string]int{"keymoat.error.Internal": 1, "keymoat.decision.Allow.Matched.AccessKey": 1}, v.counted())
}

func TestAFaultRefusesInReportOnlyModeToo(t *testing.T) {
	v := newVisit(t, configuration(`"mode":"report_only","denial":{"format":"oss_xml","status":451}`))
	v.filter.host = brokenHost{v.fakeHost}
	require.False(t, v.send())
	require.Equal(t, 403, v.answers[0].status)
	require.Contains(t, string(v.answers[0].body), "<Code>Internal</Code>")
	require.Equal(t, map[string]int{"keymoat.error.Internal": 1}, v.counted())
	v.filter.host = v.fakeHost
	v.raw = []byte("no headers")
	require.False(t, v.send())
	require.Contains(t, v.lines[len(v.lines)-1], `{"Event":"Refused","Error":"Internal"`)
	require.Equal(t, map[string]int{"keymoat.error.Internal": 2}, v.counted())
}

// A word that no evaluator returns must not be taken for a decision.
func TestAWordThatMeansNothingIsAProblem(t *testing.T) {
	v := newVisit(t, configuration())
	for _, word := range []abi.Word{
		0,
		abi.NewWord(abi.EffectAllow, abi.ReasonNone, abi.LevelNone, abi.NetworkPublic),
		abi.NewWord(abi.EffectAllow, abi.ReasonSourceIPNotListed, abi.LevelAccount, abi.NetworkPublic),
		abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelNone, abi.NetworkPublic),
		abi.NewWord(2, abi.ReasonMatched, abi.LevelAccount, abi.NetworkPublic),
		abi.NewWord(abi.EffectAllow, abi.ReasonMatched+1, abi.LevelAccount, abi.NetworkPublic),
		abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelAccessKey+1, abi.NetworkPublic),
		abi.ErrorWord(abi.StatusInternal),
	} {
		r := request{word: word}
		require.False(t, v.filter.counters.count(v, &r), "%x", uint64(word))
		require.False(t, v.filter.counters.allows(word), "%x", uint64(word))
		require.Equal(t, "Internal", r.problem.String(), "%x", uint64(word))
	}
}

func TestEveryPluginHasItsOwnConfiguration(t *testing.T) {
	v := newVisit(t, configuration())
	v.properties[sourcePath] = unlisted
	v.config = `{"policy_set":{"Accounts":[{"AccountId":"1000000000000001"}]}}`
	v.filter.createContext(2, 0)
	require.True(t, v.filter.configure(2, 0))
	for range 2 {
		v.filter.createContext(10, 1)
		require.False(t, v.filter.requestHeaders(10), "by the first plugin's configuration")
		v.filter.createContext(11, 2)
		require.True(t, v.filter.requestHeaders(11), "by the second's")
	}
}

func TestABadConfigurationLeavesTheOthersInForce(t *testing.T) {
	v := newVisit(t, configuration())
	v.config = `{"policy_set":{"Accounts":[{"AccountId":""}]}}`
	v.filter.createContext(2, 0)
	require.False(t, v.filter.configure(2, 0))
	require.Contains(t, v.lines[1], "configuration rejected: /policy_set/Accounts/0/AccountId: ")
	require.True(t, v.send())

	v.filter.createContext(12, 2)
	require.False(t, v.filter.requestHeaders(12), "a plugin without a configuration")
	v.filter.createContext(13, 99)
	require.False(t, v.filter.requestHeaders(13), "a stream of an unknown plugin")
	v.filter.createContext(14, 1)
	require.False(t, v.filter.requestHeaders(15), "a stream that was not created")
	require.Equal(t, map[string]int{"keymoat.decision.Allow.Matched.AccessKey": 1, "keymoat.error.NotLoaded": 3}, v.counted())
}

func TestAPluginThatEnvoyHasDroppedIsForgotten(t *testing.T) {
	v := newVisit(t, configuration())
	v.gone = map[uint32]bool{}
	for generation := uint32(2); generation < 100; generation++ {
		v.filter.createContext(generation, 0)
		require.True(t, v.filter.configure(generation, 0))
		v.gone[generation-1] = true
	}
	v.filter.tick(99)
	require.Len(t, v.filter.plugins, 1)
	v.filter.createContext(1000, 99)
	require.True(t, v.filter.requestHeaders(1000))
}

func TestAConfigurationThatEnvoyDoesNotHandOverIsRejected(t *testing.T) {
	h := &fakeHost{configLost: true}
	f := &filter{host: h}
	f.createContext(1, 0)
	require.False(t, f.configure(1, 0))
	require.NotEmpty(t, h.lines)
}

func TestAnAllowedRequestTakesTwoCallsAndNoMemory(t *testing.T) {
	v := newVisit(t, configuration())
	require.True(t, v.send())
	clear(v.calls)
	require.True(t, v.send())
	require.Equal(t, map[string]int{"requestHeaders": 1, "property": 1}, v.calls)

	f, stream := newFilter(t, newPreparedHost(t)), uint32(1)
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		stream++
		f.createContext(stream, 1)
		if !f.requestHeaders(stream) {
			t.Fatal("refused")
		}
	}))
}

func TestEveryCounterIsThereFromTheStart(t *testing.T) {
	v := newVisit(t, configuration())
	for _, reason := range abi.Reasons() {
		require.Contains(t, strings.Join(v.names, "\n"), "."+reason.String()+".", "no counter for the reason")
	}
	require.Len(t, v.names, 18+5+5)
	seen := map[string]bool{}
	for _, name := range v.names {
		require.False(t, seen[name], "%s twice", name)
		seen[name] = true
	}
}

func TestAFilterWithoutCountersIsNotConfigured(t *testing.T) {
	h := &countless{&fakeHost{config: configuration()}}
	f := &filter{host: h}
	f.createContext(1, 0)
	require.False(t, f.configure(1, 0))
}

type countless struct{ *fakeHost }

func (h *countless) counter(string) uint32 { return 0 }

func TestEveryDecisionIsLoggedWhenTheLogTakesDebugLines(t *testing.T) {
	v := newVisit(t, configuration())
	v.debug = true
	v.filter.tick(1)
	for i := range 3 * admittedPerSecond {
		require.True(t, v.send())
		require.Equal(t, `{"Event":"Decided","Effect":"Allow","Reason":"Matched","Level":"AccessKey","Network":"Public","Statement":0,"Entry":"203.0.113.0/24",`+
			`"AccessKeyId":"LTAI5t…0001","Scheme":"ACS3","Place":"header authorization","SourceIp":"203.0.113.7","RequestId":"r-1"}`, v.lines[1+i])
	}
}

func TestEveryFindingIsLoggedWhenTheLogTakesDebugLines(t *testing.T) {
	h := &fakeHost{debug: true, config: `{"mode":"off","policy_set":{"Accounts":[` + strings.Repeat(`{},`, 99) + `{}]}}`}
	f := &filter{host: h}
	f.createContext(1, 0)
	require.False(t, f.configure(1, 0))
	var line struct {
		Event string
		abi.Report
	}
	require.NoError(t, json.Unmarshal([]byte(h.lines[0]), &line))
	require.Equal(t, "Report", line.Event)
	require.False(t, line.Valid)
	require.Len(t, line.Errors, 101)
	require.Equal(t, "/policy_set/Accounts/99", line.Errors[100].Pointer)

	v := newVisit(t, `{"policy_set":{"Accounts":[]}}`)
	v.debug = true
	require.True(t, v.filter.configure(1, 0))
	require.Contains(t, v.lines, `{"Event":"Report","Valid":true,"Errors":[],"Warnings":[]}`)
}

func TestRefusalsAreLoggedAFewTimesASecond(t *testing.T) {
	v := newVisit(t, configuration())
	v.properties[sourcePath] = unlisted
	v.time = 5_000_000_000
	for range admittedPerSecond + 90 {
		require.False(t, v.send())
	}
	require.Len(t, v.lines[1:], admittedPerSecond)
	require.NotContains(t, v.lines[1], "Suppressed")
	v.time += 1_000_000_000
	require.False(t, v.send())
	require.Len(t, v.lines[1:], admittedPerSecond+1)
	require.Equal(t, `{"Event":"Refused","Effect":"Deny","Reason":"SourceIPNotListed","Level":"AccessKey","Network":"Public",`+
		`"Code":"InvalidAccessKeyId.AccessPolicyDenied","AccessKeyId":"LTAI5t…0001","Scheme":"ACS3","Place":"header authorization","SourceIp":"203.0.114.7","RequestId":"r-1","Suppressed":90}`,
		v.lines[len(v.lines)-1])
	for _, line := range v.lines {
		require.NotContains(t, line, key, "a log must not hold a whole key id")
	}
}

func TestAFloodOfOneKindOfLineHidesNoOther(t *testing.T) {
	v := newVisit(t, configuration(`"mode":"report_only"`))
	v.properties[sourcePath] = unlisted
	for range admittedPerSecond + 1 {
		require.True(t, v.send())
	}
	enforcing := configuration()
	v.config = enforcing
	require.True(t, v.filter.configure(1, 0))
	before := len(v.lines)
	require.False(t, v.send())
	require.Contains(t, v.lines[before], `{"Event":"Refused",`)
	require.NotContains(t, v.lines[before], "Suppressed")
}

func Example_rejected() {
	h := &fakeHost{config: `{"policy_set": {"Accounts": []}, "mode": "enforced"}`}
	f := &filter{host: h}
	f.createContext(1, 0)
	fmt.Println(f.configure(1, 0))
	fmt.Println(h.lines[0])
	// Output:
	// false
	// configuration rejected: /mode: must be one of enforce, report_only (InvalidValue)
}
