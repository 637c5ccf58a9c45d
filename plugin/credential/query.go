package credential

import (
	"strings"
	"unicode/utf8"

	"github.com/keymoat/keymoat/abi"
)

// Target reads the query of a request target, in origin or absolute form.
func (f *Finder) Target(target string) {
	start := strings.IndexByte(target, '?')
	if start < 0 {
		return
	}
	for start++; start < len(target); {
		// Some service ends a pair at each of these. No key id holds any, so that one
		// that does not end it there reads no key id.
		end := indexAny(target, start, '&', ';', '?', '#')
		if pair := target[start:end]; mayNameID(pair) {
			f.pair(pair)
		}
		start = end + 1
	}
}

// mayNameID sets most pairs apart, whose name is too short, as nothing that is
// done to a name makes it longer, or starts with another letter.
func mayNameID(pair string) bool {
	const shortest = len("accesskeyid")
	if len(pair) < shortest {
		return false
	}
	if zeros(word64(pair, 0)^'='*eachByte)|zeros(word64(pair, shortest-8)^'='*eachByte) != 0 {
		return false
	}
	switch c := pair[0]; c {
	case 'a', 'A', 'o', 'O', 'x', 'X', '%', '+':
		return true
	default:
		return isSpace(c) || c >= utf8.RuneSelf
	}
}

// pair reads one name=value pair of the query.
func (f *Finder) pair(pair string) {
	place, value, exact := cutQueryName(pair)
	if place == Nowhere {
		return
	}
	id, ok := cutScope(value)
	// A parser that splits at every '=' would read less of this value than others.
	if ok = ok && exact && strings.IndexByte(id, '=') < 0; ok {
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
// not: some services decode a pair before they cut it. A name that is the
// place's only to some services, because of bytes beyond ASCII, is not exact.
func cutQueryName(pair string) (place Place, value string, exact bool) {
	var name [longestQueryName]byte
	n := 0
	exact = true
	for i := 0; i < len(pair); {
		c, size := pair[i], 1
		if c == '%' || c == '+' {
			c, size = decodeByte(pair[i:])
		}
		if c >= utf8.RuneSelf {
			c, size = alike(pair[i:])
			exact = false
		}
		i += size
		if c == '=' {
			value = pair[i:]
			break
		}
		if isSpace(c) {
			continue
		}
		if n == len(name) {
			return Nowhere, "", false
		}
		name[n] = lowered(c)
		n++
	}
	switch string(name[:n]) {
	case "accesskeyid":
		return QueryAccessKeyID, value, exact
	case "ossaccesskeyid":
		return QueryOSSAccessKeyID, value, exact
	case "x-oss-access-key-id":
		return QueryOSSAccessKeyIDV2, value, exact
	case "x-oss-credential":
		return QueryOSSCredential, value, exact
	case "awsaccesskeyid":
		return QueryAWSAccessKeyID, value, exact
	case "x-amz-credential":
		return QueryAmazonCredential, value, exact
	}
	return Nowhere, "", false
}

// alike returns the letter that some services take for the character beyond
// ASCII that s, encoded or not, starts with, and how many bytes of s that takes.
// By Unicode's rules the Kelvin sign is a k in another case, and the long s an
// s. Of anything else one byte passes for white space, which some services trim
// by those rules or others.
//
//go:noinline
func alike(s string) (c byte, size int) {
	var character [3]byte
	var ends [3]int
	for i, at := 0, 0; i < len(ends) && at < len(s); i++ {
		character[i], size = decodeByte(s[at:])
		at += size
		ends[i] = at
	}
	switch {
	case string(character[:]) == "\u212a":
		return 'k', ends[2]
	case string(character[:2]) == "\u017f":
		return 's', ends[1]
	}
	return ' ', ends[0]
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
