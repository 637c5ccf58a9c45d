package policy

import (
	"bytes"
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	explainedSet = `{"Accounts": [
	  {"AccountId": "1000000000000001",
	   "AccessKeyPolicy": {"Status": "Active", "Statements": [
	     {"Type": "ClassicWhiteList", "IPList": ["203.0.113.0/24"]}]},
	   "AccessKeys": [
	     {"AccessKeyId": "LTAI5tExample0000000001", "AccessKeyPolicy": {"Status": "Active", "Statements": [
	       {"Type": "VPCWhiteList", "Value": "vpc-a", "IPList": ["10.0.0.0/8"]},
	       {"Type": "ClassicWhiteList", "IPList": ["203.0.113.0/24", "203.0.113.1", "2001:db8::/32"]},
	       {"Type": "VPCWhiteList", "Value": "AllowAllVPC", "IPList": ["10.1.0.0/16"]},
	       {"Type": "VPCWhiteList", "Value": "vpc-b", "IPList": ["10.0.0.0/8"]}]}},
	     {"AccessKeyId": "LTAI5tExample0000000002", "AccessKeyPolicy": {"Status": "Inactive", "Statements": []}},
	     {"AccessKeyId": "LTAI5tExample0000000003"},
	     {"AccessKeyId": "LTAI5tExample0000000004", "AccessKeyPolicy": {"Status": "Active", "Statements": [
	       {"Type": "VPCWhiteList", "Value": "vpc-a", "IPList": ["10.0.0.0/8"]}]}}]},
	  {"AccountId": "1000000000000002",
	   "AccessKeys": [{"AccessKeyId": "LTAI5tExample0000000005", "AccessKeyPolicy": {"Status": "Inactive", "Statements": []}}]},
	  {"AccountId": "1000000000000003", "AccessKeyPolicy": {"Status": "Inactive", "Statements": []}}]}`
	explainedPolicy = `{"Status": "Active", "Statements": [{"Type": "ClassicWhiteList", "IPList": "203.0.113.1"}]}`
)

func TestTracesAreTheGoldenOnes(t *testing.T) {
	const first, second = "LTAI5tExample0000000001", "LTAI5tExample0000000002"
	request := func(key, source, vpc, account string) abi.Request {
		return abi.Request{AccessKeyID: key, SourceIP: netip.MustParseAddr(source), VPCID: vpc, AccountID: account}
	}
	service := func(service, action, protocol string) abi.Request {
		r := request(first, "203.0.113.1", "", "")
		r.Service, r.Action, r.Protocol = service, action, protocol
		return r
	}
	cases := map[string]struct {
		set     string
		request abi.Request
		reason  abi.Reason
	}{
		"temporary":                          {explainedSet, request("STS.Example0000000001", "203.0.113.1", "vpc-a", ""), abi.ReasonTemporaryCredential},
		"exempt":                             {explainedSet, service("EventBridge", "", ""), abi.ReasonExemptService},
		"exempt-over-http":                   {explainedSet, service("Cms", "PutCustomEvent", "HTTP"), abi.ReasonExemptService},
		"not-exempt":                         {explainedSet, service("Cms", "PutCustomEvent", "HTTPS"), abi.ReasonMatched},
		"mismatch":                           {explainedSet, request(first, "203.0.113.1", "", "1000000000000002"), abi.ReasonAccountMismatch},
		"unknown-account":                    {explainedSet, request("LTAI5tExample0000000009", "203.0.113.1", "", "\"<&>\""), abi.ReasonUnknownAccount},
		"no-account":                         {explainedSet, request("LTAI5tExample0000000009", "203.0.113.1", "", ""), abi.ReasonUnknownAccount},
		"no-policy":                          {explainedSet, request("LTAI5tExample0000000009", "203.0.113.1", "", "1000000000000002"), abi.ReasonNoActivePolicy},
		"inactive-key":                       {explainedSet, request("LTAI5tExample0000000005", "203.0.113.1", "", ""), abi.ReasonNoActivePolicy},
		"inactive-account":                   {explainedSet, request("LTAI5tExample0000000009", "203.0.113.1", "", "1000000000000003"), abi.ReasonNoActivePolicy},
		"inactive-key-falls-to-account":      {explainedSet, request(second, "203.0.113.1", "", "1000000000000001"), abi.ReasonMatched},
		"key-without-policy":                 {explainedSet, request("LTAI5tExample0000000003", "198.51.100.1", "", ""), abi.ReasonSourceIPNotListed},
		"account-without-vpc":                {explainedSet, request(second, "10.0.0.1", "vpc-a", ""), abi.ReasonNoVPCPolicy},
		"no-public":                          {explainedSet, request("LTAI5tExample0000000004", "203.0.113.1", "", ""), abi.ReasonNoPublicPolicy},
		"vpc-not-listed":                     {explainedSet, request("LTAI5tExample0000000004", "10.0.0.1", "vpc-b", ""), abi.ReasonVPCNotListed},
		"matched-public":                     {explainedSet, request(first, "203.0.113.1", "", ""), abi.ReasonMatched},
		"matched-mapped":                     {explainedSet, request(first, "::ffff:203.0.113.2", "", ""), abi.ReasonMatched},
		"matched-ipv6":                       {explainedSet, request(first, "2001:db8::1", "", ""), abi.ReasonMatched},
		"matched-vpc":                        {explainedSet, request(first, "10.1.2.3", "vpc-a", ""), abi.ReasonMatched},
		"not-listed-vpc":                     {explainedSet, request(first, "192.168.0.1", "vpc-b", ""), abi.ReasonSourceIPNotListed},
		"policy-by-itself":                   {explainedPolicy, request("any", "203.0.113.1", "", ""), abi.ReasonMatched},
		"policy-by-itself-names-an-owner":    {explainedPolicy, request("any", "203.0.113.1", "", "1000000000000001"), abi.ReasonUnknownAccount},
		"policy-by-itself-names-its-zero-id": {explainedPolicy, request("any", "203.0.113.1", "", "\x00"), abi.ReasonUnknownAccount},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			e, err := Load([]byte(c.set))
			require.NoError(t, err)
			trace, err := e.Explain(c.request)
			require.NoError(t, err)
			require.Equal(t, c.reason, trace.Decision.Reason)
			require.Equal(t, e.Revision(), trace.Revision)
			trace.Revision = "" // would change with the format of images
			var got bytes.Buffer
			require.NoError(t, json.Indent(&got, AppendTrace(nil, &trace), "", "  "))
			got.WriteByte('\n')

			file := filepath.Join("testdata", "traces", name+".json")
			if *update {
				require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
				require.NoError(t, os.WriteFile(file, got.Bytes(), 0o644))
			}
			want, err := os.ReadFile(file)
			require.NoError(t, err, "run go test -update to write it")
			require.Equal(t, string(want), got.String())
		})
	}
	files, err := filepath.Glob("testdata/traces/*.json")
	require.NoError(t, err)
	require.Len(t, files, len(cases), "no file is left of a case that is gone")
}

func TestWithNothingLoadedThereIsNoAnswer(t *testing.T) {
	var e *Evaluator
	for _, r := range append(smallRequests(), abi.Request{}) {
		require.Equal(t, abi.StatusNotLoaded, e.Evaluate(&r).Status())
		trace, err := e.Explain(r)
		require.ErrorIs(t, err, abi.StatusNotLoaded)
		require.Zero(t, trace)
	}
	encoded, _ := abi.AppendRequest(nil, &smallRequests()[0])
	word, n := e.EvaluateEncoded(encoded)
	require.Equal(t, abi.ErrorWord(abi.StatusNotLoaded), word)
	require.Equal(t, len(encoded), n)
	for _, target := range []string{"/", "/?AccessKeyId=k", "/?AccessKeyId=k&OSSAccessKeyId=l", "/?AccessKeyId="} {
		word, id := e.Authorize(&abi.HTTPRequest{Target: target, SourceIP: netip.MustParseAddr("1.1.1.1")})
		require.Equal(t, abi.ErrorWord(abi.StatusNotLoaded), word, target)
		if id != "" {
			require.Equal(t, "k", id)
		}
	}
}

func TestAnHTTPRequestIsJudgedByTheKeyThatItClaims(t *testing.T) {
	e, err := Load([]byte(explainedSet))
	require.NoError(t, err)
	request := func(target, source string) abi.HTTPRequest {
		return abi.HTTPRequest{Target: target, SourceIP: netip.MustParseAddr(source)}
	}
	strict := request("/", "203.0.113.1")
	strict.DenyMissingAccessKey = true
	fromVPC := request("/", "10.0.0.1")
	fromVPC.VPCID = "vpc-a"
	for name, c := range map[string]struct {
		request abi.HTTPRequest
		want    abi.Decision
		id      string
	}{
		"one key":            {request("/?AccessKeyId=LTAI5tExample0000000001", "198.51.100.1"), abi.Decision{Reason: abi.ReasonSourceIPNotListed, Level: abi.LevelAccessKey}, "LTAI5tExample0000000001"},
		"two keys":           {request("/?AccessKeyId=LTAI5tExample0000000001&OSSAccessKeyId=LTAI5tExample0000000002", "203.0.113.1"), abi.Decision{Reason: abi.ReasonAmbiguousAccessKey}, ""},
		"no key":             {request("/", "203.0.113.1"), abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonNoAccessKey}, ""},
		"no key, strict":     {strict, abi.Decision{Reason: abi.ReasonNoAccessKey}, ""},
		"no key, from a VPC": {fromVPC, abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonNoAccessKey, Network: abi.NetworkVPC}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			word, id := e.Authorize(&c.request)
			got, status := word.Decision(c.request.SourceIP)
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, c.want, got)
			require.Equal(t, c.id, id)
		})
	}
	unreadable := request("/?AccessKeyId=a%20b", "203.0.113.1")
	word, id := e.Authorize(&unreadable)
	require.Equal(t, abi.ErrorWord(abi.StatusInvalidAccessKeyID), word)
	require.Empty(t, id)
	nowhere := abi.HTTPRequest{Target: "/"}
	word, _ = e.Authorize(&nowhere)
	require.Equal(t, abi.ErrorWord(abi.StatusInvalidSourceIP), word, "with or without a key id")
}
