package policy

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func TestARequestIsReadFromJSON(t *testing.T) {
	source := netip.MustParseAddr("203.0.113.1")
	for document, want := range map[string]abi.Request{
		`{"AccessKeyId":"k","SourceIp":"203.0.113.1"}`:                                                                  {AccessKeyID: "k", SourceIP: source},
		" {\n\"SourceIp\" : \"203.0.113.1\" , \"AccessKeyId\":\"k\"}\t":                                                 {AccessKeyID: "k", SourceIP: source},
		`{"AccessKeyId":"\u006b","SourceIp":"::ffff:203.0.113.1"}`:                                                      {AccessKeyID: "k", SourceIP: source},
		`{"AccessKeyId":"k","SourceIp":"203.0.113.1","VpcId":"","AccountId":"","Service":"","Action":"","Protocol":""}`: {AccessKeyID: "k", SourceIP: source},
		`{"AccessKeyId":"k","SourceIp":"2001:db8::1","VpcId":"vpc-a","AccountId":"1","Service":"Cms","Action":"PutCustomEvent","Protocol":"HTTP"}`: {
			AccessKeyID: "k", SourceIP: netip.MustParseAddr("2001:db8::1"), VPCID: "vpc-a", AccountID: "1", Service: "Cms", Action: "PutCustomEvent", Protocol: "HTTP"},
		`{"AccessKeyId":"k","SourceIp":"203.0.113.1","VpcId":"` + strings.Repeat("v", 255) + `"}`: {AccessKeyID: "k", SourceIP: source, VPCID: strings.Repeat("v", 255)},
		`{"AccessKeyId":"` + strings.Repeat("k", 128) + `","SourceIp":"203.0.113.1"}`:             {AccessKeyID: strings.Repeat("k", 128), SourceIP: source},
	} {
		got, err := ParseRequest([]byte(document))
		require.NoError(t, err, document)
		require.Equal(t, want, got, document)
	}
}

func TestARequestThatCannotBeReadIsRefusedWithItsPlace(t *testing.T) {
	for document, want := range map[string]struct {
		status  abi.Status
		message string
	}{
		``:     {abi.StatusInvalidRequest, "empty"},
		`{`:    {abi.StatusInvalidRequest, "cut off"},
		`null`: {abi.StatusInvalidRequest, "must be an object, not null"},
		`[]`:   {abi.StatusInvalidRequest, "must be an object, not an array"},
		`{"AccessKeyId":"k","SourceIp":"1.1.1.1"}{}`:                                            {abi.StatusInvalidRequest, "something follows"},
		`{"AccessKeyId":"k","SourceIp":"1.1.1.1","SourceIP":"1.1.1.1"}`:                         {abi.StatusInvalidRequest, "/SourceIP: unknown field"},
		`{"AccessKeyId":"k","AccessKeyId":"k","SourceIp":"1.1.1.1"}`:                            {abi.StatusInvalidRequest, "/AccessKeyId: the field \"AccessKeyId\" stands here a second time"},
		`{"AccessKeyId":5,"SourceIp":"1.1.1.1"}`:                                                {abi.StatusInvalidRequest, "/AccessKeyId: must be a string, not a number"},
		`{"AccessKeyId":"k","SourceIp":null}`:                                                   {abi.StatusInvalidRequest, "/SourceIp: must be a string, not null"},
		`{"AccessKeyId":"k","SourceIp":"1.1.1.1","VpcId":["vpc-a"]}`:                            {abi.StatusInvalidRequest, "/VpcId: must be a string, not an array"},
		`{"AccessKeyId":"k","SourceIp":"1.1.1.1","Action":true}`:                                {abi.StatusInvalidRequest, "/Action: must be a string, not a boolean"},
		`{"AccessKeyId":"k","SourceIp":"1.1.1.1","Service":"` + strings.Repeat("s", 256) + `"}`: {abi.StatusInvalidRequest, "/Service: longer than 255 bytes"},
		`{"SourceIp":"1.1.1.1"}`:                                                                {abi.StatusInvalidAccessKeyID, "/AccessKeyId: missing"},
		`{"AccessKeyId":"a b","SourceIp":"1.1.1.1"}`:                                            {abi.StatusInvalidAccessKeyID, "/AccessKeyId: not readable"},
		`{"AccessKeyId":"` + strings.Repeat("k", 129) + `","SourceIp":"1.1.1.1"}`:               {abi.StatusInvalidAccessKeyID, "/AccessKeyId: not readable"},
		`{"AccessKeyId":"k"}`:                                                                   {abi.StatusInvalidSourceIP, "/SourceIp: missing"},
		`{"AccessKeyId":"k","SourceIp":"1.1.1.1:80"}`:                                           {abi.StatusInvalidSourceIP, `/SourceIp: "1.1.1.1:80" is not readable`},
		`{"AccessKeyId":"k","SourceIp":"fe80::1%eth0"}`:                                         {abi.StatusInvalidSourceIP, "without port or zone"},
		`{"AccessKeyId":"k","SourceIp":"01.1.1.1"}`:                                             {abi.StatusInvalidSourceIP, "is not readable"},
	} {
		r, err := ParseRequest([]byte(document))
		require.Zero(t, r)
		require.ErrorIs(t, err, want.status, document)
		require.ErrorContains(t, err, want.message, document)
	}
}

// An error goes to logs, and a key id must not.
func TestAnErrorDoesNotShowTheKeyID(t *testing.T) {
	_, err := ParseRequest([]byte(`{"AccessKeyId":"LTAI5tExample0000000001!","SourceIp":"1.1.1.1"}`))
	require.ErrorIs(t, err, abi.StatusInvalidAccessKeyID)
	require.NotContains(t, err.Error(), "Example")
}

func TestAnHTTPRequestIsReadFromJSON(t *testing.T) {
	got, err := ParseHTTPRequest([]byte(`{"Target":"/","SourceIp":"203.0.113.1","VpcId":"vpc-a","AccountId":"1","Service":"Oss","Action":"GetObject","Protocol":"HTTPS",
	  "DenyMissingAccessKey":true,"Headers":[{"Name":"Authorization","Value":"OSS k:s"},{"Value":"","Name":""}]}`))
	require.NoError(t, err)
	require.Equal(t, abi.HTTPRequest{Target: "/", SourceIP: netip.MustParseAddr("203.0.113.1"), VPCID: "vpc-a", AccountID: "1", Service: "Oss",
		Action: "GetObject", Protocol: "HTTPS", DenyMissingAccessKey: true, Headers: []abi.HTTPHeader{{Name: "Authorization", Value: "OSS k:s"}, {}}}, got)

	got, err = ParseHTTPRequest([]byte(`{"Target":"","SourceIp":"::1","DenyMissingAccessKey":false,"Headers":[]}`))
	require.NoError(t, err)
	require.Equal(t, abi.HTTPRequest{SourceIP: netip.MustParseAddr("::1")}, got)
}

func TestAnHTTPRequestThatCannotBeReadIsRefusedWithItsPlace(t *testing.T) {
	for document, want := range map[string]struct {
		status  abi.Status
		message string
	}{
		`{"SourceIp":"1.1.1.1"}`:                                                            {abi.StatusInvalidRequest, `the field "Target" is missing`},
		`{"Target":"/","SourceIp":"1.1.1.1","AccessKeyId":"k"}`:                             {abi.StatusInvalidRequest, "/AccessKeyId: unknown field"},
		`{"Target":"/","SourceIp":"1.1.1.1","Headers":{}}`:                                  {abi.StatusInvalidRequest, "/Headers: must be an array, not an object"},
		`{"Target":"/","SourceIp":"1.1.1.1","Headers":["Authorization"]}`:                   {abi.StatusInvalidRequest, "/Headers/0: must be an object, not a string"},
		`{"Target":"/","SourceIp":"1.1.1.1","Headers":[{"Name":"a"}]}`:                      {abi.StatusInvalidRequest, `/Headers/0: the field "Value" is missing`},
		`{"Target":"/","SourceIp":"1.1.1.1","Headers":[{"Name":"a","Value":["b"]}]}`:        {abi.StatusInvalidRequest, "/Headers/0/Value: must be a string, not an array"},
		`{"Target":"/","SourceIp":"1.1.1.1","DenyMissingAccessKey":"true"}`:                 {abi.StatusInvalidRequest, "/DenyMissingAccessKey: must be a boolean, not a string"},
		`{"Target":"/","SourceIp":"1.1.1.1","DenyMissingAccessKey":null}`:                   {abi.StatusInvalidRequest, "/DenyMissingAccessKey: must be a boolean, not null"},
		`{"Target":"/","SourceIp":"1.1.1.1","Protocol":"` + strings.Repeat("p", 256) + `"}`: {abi.StatusInvalidRequest, "/Protocol: longer than 255 bytes"},
		`{"Target":"/"}`:                     {abi.StatusInvalidSourceIP, "/SourceIp: missing"},
		`{"Target":"/","SourceIp":"host"}`:   {abi.StatusInvalidSourceIP, "/SourceIp"},
		`{"Target":"/","SourceIp":"1.1.1.1"`: {abi.StatusInvalidRequest, "cut off"},
	} {
		r, err := ParseHTTPRequest([]byte(document))
		require.Zero(t, r)
		require.ErrorIs(t, err, want.status, document)
		require.ErrorContains(t, err, want.message, document)
	}
}

func FuzzRequest(f *testing.F) {
	c := readCorpus(f)
	for _, document := range append(c.requests, c.httpRequests...) {
		if len(document) < 1<<12 {
			f.Add(document)
		}
	}
	e, err := Load([]byte(smallSet))
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, document []byte) {
		original := bytes.Clone(document)
		if r, err := ParseRequest(document); err != nil {
			requireRequestError(t, err)
			require.Zero(t, r)
		} else {
			// What is read, encoding/json reads alike; and every host can send it.
			var same abi.Request
			require.NoError(t, json.Unmarshal(document, &same))
			same.SourceIP = same.SourceIP.Unmap()
			require.Equal(t, same, r)
			b, status := abi.AppendRequest(nil, &r)
			require.Equal(t, abi.StatusOK, status)
			want := e.Evaluate(&r)
			require.Equal(t, abi.StatusOK, want.Status())
			got, n := e.EvaluateEncoded(b)
			require.Equal(t, want, got)
			require.Equal(t, len(b), n)
		}
		if r, err := ParseHTTPRequest(document); err != nil {
			requireRequestError(t, err)
			require.Zero(t, r)
		} else {
			var same abi.HTTPRequest
			require.NoError(t, json.Unmarshal(document, &same))
			same.SourceIP = same.SourceIP.Unmap()
			if len(same.Headers) == 0 {
				same.Headers = nil
			}
			require.Equal(t, same, r)
			word, id := e.Authorize(&r)
			d, status := word.Decision(r.SourceIP)
			if status != abi.StatusOK {
				require.Equal(t, abi.StatusInvalidAccessKeyID, status)
			}
			require.Equal(t, id != "", abi.ValidID(id))
			if id == "" && status == abi.StatusOK {
				require.Contains(t, []abi.Reason{abi.ReasonNoAccessKey, abi.ReasonAmbiguousAccessKey}, d.Reason)
			}
		}
		require.Equal(t, original, document, "reading changes nothing")
	})
}

func requireRequestError(t *testing.T, err error) {
	t.Helper()
	var e *abi.Error
	require.ErrorAs(t, err, &e)
	require.Contains(t, []abi.Status{abi.StatusInvalidRequest, abi.StatusInvalidAccessKeyID, abi.StatusInvalidSourceIP}, e.Status)
	require.NotEmpty(t, e.Message)
	require.Nil(t, e.Report)
	require.True(t, json.Valid(appendedError(nil, err)))
}
