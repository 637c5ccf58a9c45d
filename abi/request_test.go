package abi_test

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

const exampleKey = "LTAI5tExample0000000001"

func plain(source string) abi.Request {
	return abi.Request{AccessKeyID: exampleKey, SourceIP: netip.MustParseAddr(source)}
}

// full is the largest request that there is.
func full() abi.Request {
	long := func(c string) string { return strings.Repeat(c, abi.MaxField) }
	return abi.Request{
		AccessKeyID: strings.Repeat("k", abi.MaxAccessKeyID), SourceIP: netip.MustParseAddr("2001:db8::1"),
		VPCID: long("v"), AccountID: long("a"), Service: long("s"), Action: long("t"), Protocol: long("p"),
	}
}

func TestARequestSurvivesItsBinaryForm(t *testing.T) {
	only := func(set func(r *abi.Request)) abi.Request {
		r := plain("203.0.113.1")
		set(&r)
		return r
	}
	for name, r := range map[string]abi.Request{
		"IPv4":            plain("203.0.113.1"),
		"the lowest IPv4": plain("0.0.0.0"),
		"the last IPv4":   plain("255.255.255.255"),
		"IPv6":            plain("2001:db8::1"),
		"the lowest IPv6": plain("::"),
		"the last IPv6":   plain("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
		"one letter":      {AccessKeyID: "k", SourceIP: netip.MustParseAddr("::1")},
		"the largest":     full(),
		"VpcId alone":     only(func(r *abi.Request) { r.VPCID = "vpc-a" }),
		"AccountId alone": only(func(r *abi.Request) { r.AccountID = "1000000000000001" }),
		"Service alone":   only(func(r *abi.Request) { r.Service = "Ecs" }),
		"Action alone":    only(func(r *abi.Request) { r.Action = "DescribeInstances" }),
		"Protocol alone":  only(func(r *abi.Request) { r.Protocol = "HTTP" }),
		"any bytes":       only(func(r *abi.Request) { r.VPCID, r.Service = "\x00\xff", "é" }),
	} {
		t.Run(name, func(t *testing.T) {
			buffer := make([]byte, abi.MaxRequestSize)
			n, status := abi.PutRequest(buffer, &r)
			require.Equal(t, abi.StatusOK, status)
			appended, status := abi.AppendRequest(nil, &r)
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, buffer[:n], appended)

			// Whatever stands behind a request is not looked at.
			got, length, status := abi.DecodeRequest(append(appended, 0xff))
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, n, length)
			require.Equal(t, r, got)
		})
	}
}

func TestTheLargestRequestFillsNoMoreThanItMay(t *testing.T) {
	r := full()
	b, status := abi.AppendRequest(nil, &r)
	require.Equal(t, abi.StatusOK, status)
	require.Len(t, b, abi.RequestHeaderSize+abi.MaxAccessKeyID+5*abi.MaxField)
	require.LessOrEqual(t, len(b), abi.MaxRequestSize)
	require.LessOrEqual(t, abi.MaxRequestSize, abi.RequestBufferSize)
}

func TestAMappedAddressTravelsAsTheIPv4AddressThatItMaps(t *testing.T) {
	mapped, ipv4 := plain("::ffff:203.0.113.1"), plain("203.0.113.1")
	got, status := abi.AppendRequest(nil, &mapped)
	require.Equal(t, abi.StatusOK, status)
	want, status := abi.AppendRequest(nil, &ipv4)
	require.Equal(t, abi.StatusOK, status)
	require.Equal(t, want, got)

	// A host that sends it unmapped is understood alike.
	b := append([]byte{abi.SourceIPv6, 0, 1, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{0}, 10)...)
	b = append(b, 0xff, 0xff, 203, 0, 113, 1, 'k')
	r, _, status := abi.DecodeRequest(b)
	require.Equal(t, abi.StatusOK, status)
	require.Equal(t, netip.MustParseAddr("203.0.113.1"), r.SourceIP)
}

func TestARequestThatCannotBeSentIsRefused(t *testing.T) {
	change := func(set func(r *abi.Request)) abi.Request {
		r := full()
		set(&r)
		return r
	}
	tooLong := strings.Repeat("x", abi.MaxField+1)
	for name, c := range map[string]struct {
		request abi.Request
		want    abi.Status
	}{
		"no key id":        {change(func(r *abi.Request) { r.AccessKeyID = "" }), abi.StatusInvalidAccessKeyID},
		"a long key id":    {change(func(r *abi.Request) { r.AccessKeyID += "k" }), abi.StatusInvalidAccessKeyID},
		"no address":       {change(func(r *abi.Request) { r.SourceIP = netip.Addr{} }), abi.StatusInvalidSourceIP},
		"a zone":           {change(func(r *abi.Request) { r.SourceIP = netip.MustParseAddr("fe80::1%eth0") }), abi.StatusInvalidSourceIP},
		"a zone, mapped":   {change(func(r *abi.Request) { r.SourceIP = netip.MustParseAddr("::ffff:203.0.113.1%eth0") }), abi.StatusInvalidSourceIP},
		"a long VpcId":     {change(func(r *abi.Request) { r.VPCID = tooLong }), abi.StatusInvalidRequest},
		"a long AccountId": {change(func(r *abi.Request) { r.AccountID = tooLong }), abi.StatusInvalidRequest},
		"a long Service":   {change(func(r *abi.Request) { r.Service = tooLong }), abi.StatusInvalidRequest},
		"a long Action":    {change(func(r *abi.Request) { r.Action = tooLong }), abi.StatusInvalidRequest},
		"a long Protocol":  {change(func(r *abi.Request) { r.Protocol = tooLong }), abi.StatusInvalidRequest},

		// Of several faults the one that a host meets first is named.
		"a long field before the key id": {abi.Request{VPCID: tooLong}, abi.StatusInvalidRequest},
		"the key id before the address":  {abi.Request{}, abi.StatusInvalidAccessKeyID},
	} {
		t.Run(name, func(t *testing.T) {
			before := []byte("before")
			n, status := abi.PutRequest(make([]byte, abi.MaxRequestSize), &c.request)
			require.Equal(t, c.want, status)
			require.Zero(t, n)
			after, status := abi.AppendRequest(before, &c.request)
			require.Equal(t, c.want, status)
			require.Equal(t, before, after)
		})
	}

	r := plain("203.0.113.1")
	_, status := abi.PutRequest(make([]byte, abi.MaxRequestSize-1), &r)
	require.Equal(t, abi.StatusInvalidArgument, status)
}

func TestRequestsCanBeAppendedOneBehindTheOther(t *testing.T) {
	first, second := plain("203.0.113.1"), full()
	b := []byte("before")
	for _, r := range []*abi.Request{&first, &second, &first} {
		var status abi.Status
		b, status = abi.AppendRequest(b, r)
		require.Equal(t, abi.StatusOK, status)
	}
	rest := b[len("before"):]
	for _, want := range []abi.Request{first, second, first} {
		got, n, status := abi.DecodeRequest(rest)
		require.Equal(t, abi.StatusOK, status)
		require.Equal(t, want, got)
		rest = rest[n:]
	}
	require.Empty(t, rest)
}

func TestARequestCutOffIsRefused(t *testing.T) {
	r := full()
	b, status := abi.AppendRequest(nil, &r)
	require.Equal(t, abi.StatusOK, status)
	for n := range b {
		_, length, status := abi.DecodeRequest(b[:n])
		require.Equal(t, abi.StatusInvalidRequest, status, "%d bytes", n)
		require.Zero(t, length, "where the next request begins is not known")
	}
}

// withSource is a binary request that gives its address as text.
func withSource(kind byte, text string) []byte {
	b := make([]byte, abi.RequestHeaderSize)
	b[0], b[1], b[2] = kind, byte(len(text)), byte(len(exampleKey))
	return append(append(b, exampleKey...), text...)
}

func TestAnAddressMayBeGivenAsText(t *testing.T) {
	for text, want := range map[string]string{
		"203.0.113.1":                     "203.0.113.1",
		"::ffff:203.0.113.1":              "203.0.113.1",
		"2001:DB8:0:0:0:0:0:1":            "2001:db8::1",
		"":                                "",
		"203.0.113.1:80":                  "",
		"[2001:db8::1]":                   "",
		"fe80::1%eth0":                    "",
		"::ffff:203.0.113.1%eth0":         "",
		"203.0.113.01":                    "",
		"203.0.113.1 ":                    "",
		"203.0.113":                       "",
		"3405803777":                      "",
		"localhost":                       "",
		"203.0.113.0/24":                  "",
		"\x00":                            "",
		strings.Repeat("1", abi.MaxField): "",
	} {
		b := withSource(abi.SourceText, text)
		r, n, status := abi.DecodeRequest(b)
		require.Equal(t, abi.StatusOK, status, text)
		require.Equal(t, len(b), n, text)
		require.Equal(t, exampleKey, r.AccessKeyID)
		if want == "" { // for the evaluator to refuse
			require.False(t, r.SourceIP.IsValid(), text)
		} else {
			require.Equal(t, netip.MustParseAddr(want), r.SourceIP, text)
		}
	}
}

func TestOnlyTheFourKindsOfAddressAreKnown(t *testing.T) {
	for kind := range 256 {
		b := withSource(byte(kind), "")
		_, n, status := abi.DecodeRequest(b)
		want := abi.StatusInvalidRequest
		switch kind {
		case abi.SourceNone, abi.SourceText, abi.SourceIPv4, abi.SourceIPv6:
			want = abi.StatusOK
		}
		require.Equal(t, want, status, "kind %d", kind)
		require.Equal(t, len(b), n, "the lengths are known all the same")
	}
}

func TestValidIDsAreWhatCloudsIssue(t *testing.T) {
	for _, id := range []string{"LTAI5tExample0000000001", "AKIAEXAMPLE000000001", "STS.abc", "1000000000000001", "a", "A.b_c=d-e",
		strings.Repeat("x", abi.MaxAccessKeyID)} {
		require.True(t, abi.ValidID(id), id)
	}
	for _, id := range []string{"", strings.Repeat("x", abi.MaxAccessKeyID+1), " a", "a b", "a/b", "a+b", "a\x00", "é", "a\n", "a\"b", "a*b", "a:b", "a,b"} {
		require.False(t, abi.ValidID(id), "%q", id)
	}
}

func TestAShortIDNeverShowsTheWholeOne(t *testing.T) {
	require.Equal(t, "LTAI5t…0001", abi.ShortID(exampleKey))
	require.Equal(t, "…", abi.ShortID(""))
	for n := 1; n <= abi.MaxAccessKeyID; n++ {
		id := strings.Repeat("0123456789abcdef", abi.MaxAccessKeyID/16)[:n]
		short := abi.ShortID(id)
		shown := strings.ReplaceAll(short, "…", "")
		require.Less(t, len(shown), n, id)
		require.LessOrEqual(t, len(shown), 10, id)
		require.NotContains(t, short, id)
		require.Contains(t, short, "…")
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, r := range []abi.Request{plain("203.0.113.1"), plain("2001:db8::1"), full()} {
		b, _ := abi.AppendRequest(nil, &r)
		f.Add(b)
		f.Add(b[:len(b)-1])
		f.Add(append(b, b...))
	}
	f.Add(withSource(abi.SourceText, "203.0.113.1"))
	f.Add(withSource(abi.SourceNone, ""))
	f.Add(bytes.Repeat([]byte{0xff}, abi.RequestBufferSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, n, status := abi.DecodeRequest(b)
		require.LessOrEqual(t, n, len(b))
		if status != abi.StatusOK {
			require.Equal(t, abi.StatusInvalidRequest, status)
			require.Zero(t, r)
			return
		}
		require.GreaterOrEqual(t, n, abi.RequestHeaderSize)
		require.Empty(t, r.SourceIP.Zone())
		require.False(t, r.SourceIP.Is4In6())
		again, status := abi.AppendRequest(nil, &r)
		switch {
		case r.AccessKeyID == "" || len(r.AccessKeyID) > abi.MaxAccessKeyID:
			require.Equal(t, abi.StatusInvalidAccessKeyID, status)
		case !r.SourceIP.IsValid():
			require.Equal(t, abi.StatusInvalidSourceIP, status)
		default:
			require.Equal(t, abi.StatusOK, status)
			same, _, status := abi.DecodeRequest(again)
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, r, same)
		}
	})
}
