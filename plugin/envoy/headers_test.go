package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

func TestHeadersAreReadInOrderAndWhole(t *testing.T) {
	raw := encodeHeaders([][2]string{{":path", "/?a=b"}, {"x", ""}, {"authorization", "one"}, {"authorization", "two"}, {strings.Repeat("n", 100), "long"}})
	require.Equal(t, []abi.HTTPHeader{{Name: ":path", Value: "/?a=b"}, {Name: "x"}, {Name: "authorization", Value: "one"}, {Name: "authorization", Value: "two"},
		{Name: strings.Repeat("n", 100), Value: "long"}}, allHeaders(raw))
	require.Equal(t, "one", headerNamed(raw, "authorization"))
	require.Equal(t, "long", headerNamed(raw, strings.Repeat("n", 100)))
	require.Empty(t, headerNamed(raw, "absent"))
}

func TestHeadersAreWrittenAsTheyAreRead(t *testing.T) {
	headers := []abi.HTTPHeader{{Name: "content-type", Value: "text/plain"}, {Name: "x"}}
	require.Equal(t, []byte("\x02\x00\x00\x00\x0c\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00content-type\x00text/plain\x00x\x00\x00"), appendHeaders(nil, headers))
	read, ok := naiveHeaders(appendHeaders(nil, headers))
	require.True(t, ok)
	require.Equal(t, headers, read)
}

func TestHeadersOfOtherNamesAreSkipped(t *testing.T) {
	raw := encodeHeaders([][2]string{{":path", "/"}, {"other", "5"}, {":longer", "7"}, {"", "0"}, {strings.Repeat("n", 100), "n"}, {":paths", "/"}})
	var wanted names
	wanted.add(":path")
	wanted.add(strings.Repeat("n", 100))
	var got []string
	r := readHeaders(raw)
	for name, _, ok := r.next(wanted); ok; name, _, ok = r.next(wanted) {
		got = append(got, name[:min(len(name), 5)])
	}
	require.Equal(t, []string{":path", "nnnnn"}, got)
	require.False(t, r.malformed())
}

func TestASetOfNamesHoldsEverySpellingOfThem(t *testing.T) {
	for _, name := range append(credential.HeaderNames(), "x-vpc-id", "-x", "_x", "^x", "2x") {
		var s names
		s.add(name)
		for first := range 256 {
			spelling := string([]byte{byte(first)}) + strings.ToUpper(strings.ReplaceAll(name[1:], "-", "."))
			if credential.SameName(spelling, name) {
				require.True(t, s.has(len(spelling), spelling[0]), "%q for %q", spelling, name)
			}
		}
	}
	var s names
	s.add("authorization")
	require.False(t, s.has(len("x-acs-version"), 'x'))
	require.False(t, s.has(len("authorization")+1, 'a'))
}

// naiveHeaders reads headers step by step, with nothing clever.
func naiveHeaders(b []byte) (headers []abi.HTTPHeader, ok bool) {
	if len(b) == 0 {
		return nil, true
	}
	take := func(n int) []byte {
		if n > len(b) {
			return nil
		}
		taken := b[:n:n]
		b = b[n:]
		return taken
	}
	size := func() (int, bool) {
		n := take(4)
		if n == nil {
			return 0, false
		}
		return int(n[0]) | int(n[1])<<8 | int(n[2])<<16 | int(n[3])<<24, true
	}
	count, ok := size()
	if !ok || count > len(b) {
		return nil, false
	}
	sizes := make([]int, 2*count)
	for i := range sizes {
		if sizes[i], ok = size(); !ok {
			return nil, false
		}
	}
	for i := range count {
		name, value := take(sizes[2*i]+1), []byte(nil)
		if name != nil {
			value = take(sizes[2*i+1] + 1)
		}
		if value == nil {
			return nil, false
		}
		headers = append(headers, abi.HTTPHeader{Name: string(name[:len(name)-1]), Value: string(value[:len(value)-1])})
	}
	return headers, len(b) == 0
}

func FuzzHeaders(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0, 0, 0, 0})
	f.Add([]byte{1, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0})
	f.Add([]byte{255, 255, 255, 255})
	f.Add(encodeHeaders([][2]string{{":path", "/"}, {"authorization", "acs " + key + ":s"}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		want, wellFormed := naiveHeaders(b)
		r := readHeaders(b)
		var got []abi.HTTPHeader
		for name, value, ok := r.next(allNames); ok; name, value, ok = r.next(allNames) {
			got = append(got, abi.HTTPHeader{Name: name, Value: value})
		}
		require.Equal(t, wellFormed, !r.malformed())
		if wellFormed {
			require.Equal(t, want, got)
		}
	})
}

// Whatever headers a request has, the filter neither fails nor lets a request
// pass that the policy package refuses.
func FuzzRequest(f *testing.F) {
	f.Add("/?AccessKeyId="+key, "authorization", "acs "+otherKey+":s", "203.0.113.7:1")
	f.Add("/", "x-ots-accesskeyid", key, "[2001:db8::1]:1")
	f.Fuzz(func(t *testing.T, target, name, value, address string) {
		v := newVisit(t, configuration())
		v.headers = [][2]string{{":method", "GET"}, {":path", target}, {"authorization", "ACS3-HMAC-SHA256 Credential=" + key + ",Signature=0"}}
		if name = strings.ToLower(name); name != ":path" { // Envoy has no second one
			v.header(name, value)
		}
		v.properties[sourcePath] = address
		var s source
		s.parse(address)
		word, _ := v.filter.plugins[0].config.evaluator.Authorize(&abi.HTTPRequest{Target: target, Headers: allHeaders(encodeHeaders(v.headers)), SourceIP: s.addr()})
		decision, _ := word.Decision(s.addr())
		require.Equal(t, decision.Allowed(), v.send())
		require.Zero(t, v.counted()["keymoat.error.Internal"])
	})
}
