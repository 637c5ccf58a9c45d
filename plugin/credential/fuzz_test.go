package credential_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

// encodeQuery percent-encodes each byte of the names and values of a query
// that is not encoded yet, and leaves what parts them.
func encodeQuery(target string) string {
	const hex = "0123456789ABCDEF"
	path, query, found := strings.Cut(target, "?")
	if !found {
		return target
	}
	b := []byte(path + "?")
	for i := 0; i < len(query); i++ {
		c := query[i]
		switch {
		case strings.IndexByte("&;?#=", c) >= 0:
			b = append(b, c)
		case c == '%' && i+2 < len(query) && isHex(query[i+1]) && isHex(query[i+2]):
			b = append(b, query[i:i+3]...)
			i += 2
		case c == '+':
			b = append(b, "%20"...)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}

func isHex(c byte) bool { return strings.IndexByte("0123456789abcdefABCDEF", c) >= 0 }

var badEscape = regexp.MustCompile(`%($|[^0-9A-Fa-f]|[0-9A-Fa-f]($|[^0-9A-Fa-f]))`)

// FuzzFind checks what must hold for every request.
func FuzzFind(f *testing.F) {
	for _, s := range samples {
		target, headers := s.parse()
		var authorization, ots string
		for _, h := range headers {
			switch strings.ToLower(h.Name) {
			case "authorization":
				authorization = h.Value
			case "x-ots-accesskeyid", "x-acs-accesskey-id":
				ots = h.Value
			}
		}
		f.Add(target, authorization, "", ots)
	}
	for _, c := range slices.Concat(attacks, disguises) {
		values := []string{"", "", ""}
		for i, line := range c.headers {
			_, values[i], _ = strings.Cut(expand(line), ": ")
		}
		f.Add(expand(c.target), values[0], values[1], values[2])
	}
	f.Fuzz(func(t *testing.T, target, first, second, ots string) {
		headers := []abi.HTTPHeader{{Name: "Authorization", Value: first}}
		if second != "" {
			headers = append(headers, abi.HTTPHeader{Name: "AUTHORIZATION", Value: second})
		}
		if ots != "" {
			headers = append(headers, abi.HTTPHeader{Name: "X-Ots-AccessKeyId", Value: ots}, abi.HTTPHeader{Name: "x-acs-accesskey-id", Value: ots})
		}
		claim, outcome := credential.Find(target, headers)

		// The claim fits the outcome.
		switch outcome {
		case credential.One:
			require.True(t, abi.ValidID(claim.AccessKeyID))
			require.NotEqual(t, credential.SchemeUnknown, claim.Scheme)
			require.NotEmpty(t, claim.Place.Name())
		case credential.Unreadable:
			require.Empty(t, claim.AccessKeyID)
			require.NotEmpty(t, claim.Place.Name())
		case credential.None, credential.Ambiguous:
			require.Zero(t, claim)
		default:
			t.Fatalf("outcome %s", outcome)
		}

		same := func(why, target string, headers []abi.HTTPHeader) {
			c, o := credential.Find(target, headers)
			require.Equal(t, outcome, o, why)
			require.Equal(t, claim, c, why)
		}
		reversed := slices.Clone(headers)
		slices.Reverse(reversed)
		same("the order of headers does not matter", target, reversed)
		same("a header twice is as good as once", target, slices.Concat(headers, headers))
		if !badEscape.MatchString(target) { // encoded, it is another thing
			same("encoding does not matter", encodeQuery(target), headers)
			same("encoding twice is encoding once", encodeQuery(encodeQuery(target)), headers)
		}

		// Another claim hides none.
		other := closed
		if claim.AccessKeyID == other {
			other = open
		}
		c, o := credential.Find(target, append(headers, abi.HTTPHeader{Name: "authorization", Value: "OSS " + other + ":c2ln"}))
		switch outcome {
		case credential.None:
			require.Equal(t, credential.One, o)
			require.Equal(t, other, c.AccessKeyID)
		case credential.One:
			require.Equal(t, credential.Ambiguous, o)
		default:
			require.Equal(t, outcome, o)
		}

		requireNothingOverlooked(t, request{target, headers})
	})
}
