package credential

import (
	"strings"

	"github.com/keymoat/keymoat/abi"
)

// Target reads the query of a request target, in origin or absolute form.
func (f *Finder) Target(target string) {
	start := strings.IndexByte(target, '?')
	if start < 0 {
		return
	}
	start++
	for i := start; i <= len(target); i++ {
		if i < len(target) && !endsPair(target[i]) {
			continue
		}
		if start < i {
			f.pair(target[start:i])
		}
		start = i + 1
	}
}

// endsPair reports whether some service ends a name=value pair at c. No key id
// holds any of these, so a service that does not end it there reads no key id.
func endsPair(c byte) bool {
	return c <= '?' && (c == '&' || c == ';' || c == '?' || c == '#') // no letter needs all four comparisons
}

// pair reads one name=value pair of the query.
func (f *Finder) pair(pair string) {
	place, value := cutQueryName(pair)
	if place == Nowhere {
		return
	}
	id, ok := cutScope(value)
	// A parser that splits at every '=' would read less of this value than others.
	if ok = ok && strings.IndexByte(id, '=') < 0; ok {
		id, ok = decoded(id)
	}
	if !ok {
		id = ""
	}
	f.add(id, places[place].scheme, place)
}

// longestQueryName is the length of x-oss-access-key-id.
const longestQueryName = 19

// cutQueryName returns the place that the name of a pair stands for, Nowhere
// for most, and the value behind it, still encoded. The name compares decoded,
// without case and without white space. It ends at the first '=', encoded or
// not: some services decode a pair before they cut it.
func cutQueryName(pair string) (place Place, value string) {
	var name [longestQueryName]byte
	n := 0
	for i := 0; i < len(pair); {
		c, size := pair[i], 1
		if c == '%' || c == '+' {
			c, size = decodeByte(pair[i:])
		}
		i += size
		if c == '=' {
			value = pair[i:]
			break
		}
		if isSpace(c) {
			continue
		}
		c = lowered(c)
		// Most names end here: none that counts starts with another letter.
		if n == 0 && c != 'a' && c != 'o' && c != 'x' || n == len(name) {
			return Nowhere, ""
		}
		name[n] = c
		n++
	}
	switch string(name[:n]) {
	case "accesskeyid":
		return QueryAccessKeyID, value
	case "ossaccesskeyid":
		return QueryOSSAccessKeyID, value
	case "x-oss-access-key-id":
		return QueryOSSAccessKeyIDV2, value
	case "x-oss-credential":
		return QueryOSSCredential, value
	case "awsaccesskeyid":
		return QueryAWSAccessKeyID, value
	case "x-amz-credential":
		return QueryAmazonCredential, value
	}
	return Nowhere, ""
}

// decodeByte returns the first byte that s, which is not empty, stands for in
// a query, and how many bytes of s that takes. A '%' that starts no escape
// stands for itself: as no key id holds it, it cannot hide one.
func decodeByte(s string) (c byte, size int) {
	switch {
	case s[0] == '+':
		return ' ', 1
	case s[0] == '%' && len(s) >= 3:
		high, ok1 := unhex(s[1])
		low, ok2 := unhex(s[2])
		if ok1 && ok2 {
			return high<<4 | low, 3
		}
	}
	return s[0], 1
}

func unhex(c byte) (v byte, ok bool) {
	switch {
	case isDigit(c):
		return c - '0', true
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return (c | 0x20) - 'a' + 10, true
	}
	return 0, false
}

// decoded returns what an encoded key id stands for, s itself if nothing is
// encoded. It is not ok if that is too long for one.
func decoded(s string) (id string, ok bool) {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s, true
	}
	var b [abi.MaxAccessKeyID]byte
	n := 0
	for s != "" {
		if n == len(b) {
			return "", false
		}
		c, size := decodeByte(s)
		b[n] = c
		n++
		s = s[size:]
	}
	return string(b[:n]), true
}
