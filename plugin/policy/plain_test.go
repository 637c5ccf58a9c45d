package policy

import (
	"encoding/json"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// FuzzPlainRequest holds the short way to the strict one.
func FuzzPlainRequest(f *testing.F) {
	for _, seed := range []string{
		`{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.7"}`, " { \"SourceIp\" : \"::1\" ,\r\n\t\"AccessKeyId\" : \"a\" } ",
		`{"AccessKeyId":"a","SourceIp":"1.2.3.4","VpcId":"vpc-a","AccountId":"1","Service":"Ecs","Action":"x","Protocol":"HTTPS"}`,
		`{"AccessKeyId":"a","AccessKeyId":"b","SourceIp":"1.2.3.4"}`, `{"AccessKeyId":"a","SourceIp":"1.2.3.4",}`, `{"AccessKeyId":"a","SourceIp":"1.2.3.4"}x`,
		`{"AccessKeyId":"","AccessKeyId":"a","SourceIp":"1.2.3.4"}`, `{"AccessKeyId":"\u0061","SourceIp":"1.2.3.4"}`, `{"AccessKeyId":"a","SourceIp":"1.2.3.4","Service":"é"}`,
		`{"AccessKeyId":"a" "SourceIp":"1.2.3.4"}`, `{,"AccessKeyId":"a","SourceIp":"1.2.3.4"}`, `{}`, ``, `{"AccessKeyId":1,"SourceIp":"1.2.3.4"}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := plainRequest(b)
		if !ok {
			return
		}
		want, err := parseRequest(b)
		require.NoError(t, err)
		require.Equal(t, want, r)
	})
}

func TestWhatProgramsWriteTakesTheShortWay(t *testing.T) {
	b, err := json.MarshalIndent(abi.Request{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("2001:db8::1"),
		VPCID: "vpc-a", AccountID: "1", Service: "Ecs", Action: "DescribeInstances", Protocol: "HTTPS"}, "", "  ")
	require.NoError(t, err)
	_, ok := plainRequest(b)
	require.True(t, ok)
	for _, not := range []string{`{"AccessKeyId":"a","SourceIp":"1.2.3.4","Service":""}`, `{"AccessKeyId":"a"}`, `{"SourceIp":"1.2.3.4"}`, `{"AccessKeyId":"a","SourceIp":"x"}`} {
		_, ok := plainRequest([]byte(not))
		require.False(t, ok, not)
	}
}
