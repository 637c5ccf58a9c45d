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

// mayNameID sets most pairs apart, whose name is too short or starts with
// another letter. Nothing makes a name longer but what likeness is about.
func mayNameID(pair string) bool {
	const shortest = len("accesskeyid")
	if pair == "" {
		return false
	}
	switch c := pair[0]; c {
	case 'a', 'A', 'o', 'O', 'x', 'X', '%', '+', '[', ']':
	default:
		if !isSpace(c) && c < utf8.RuneSelf {
			return false
		}
	}
	if len(pair) >= shortest {
		first, rest := word64(pair, 0), word64(pair, shortest-8)
		if zeros(first^'='*eachByte)|zeros(rest^'='*eachByte) == 0 {
			return true
		}
		if (first|rest)&highBits|zeros(first^'%'*eachByte)|zeros(rest^'%'*eachByte) == 0 {
			return false
		}
	}
	// Short, but for what is odd in it, which may stand for two letters.
	letters, odd := 0, 0
	for i := 0; i < len(pair) && pair[i] != '='; i++ {
		switch c := pair[i]; {
		case c >= utf8.RuneSelf || c == '%':
			odd++
		case !isSpace(c):
			letters++
		}
	}
	return 3*letters >= shortest && letters+2*odd >= shortest
}

// pair reads one name=value pair of the query.
func (f *Finder) pair(pair string) {
	place, value, exact := f.cutQueryName(pair)
	if place == Nowhere {
		return
	}
	id, ok := cutScope(value)
	if ok = ok && exact; ok {
		id, ok = decoded(id)
	}
	if !ok {
		id = ""
	}
	f.add(id, places[place].scheme, place)
}

// mostOdd is how many odd names of a query are looked at, see likeness: each takes
// a microsecond, and many times that in the sandbox. One more is not readable.
const mostOdd = 256

// longestQueryName is the length of x-oss-access-key-id.
const longestQueryName = 19

// cutQueryName returns the place that the name of a pair stands for, Nowhere
// for most, and the value behind it, still encoded. The name compares decoded,
// without case and without white space. It ends at the first '=', encoded or
// not: some services decode a pair before they cut it. A name that is the
// place's only to some services is not exact.
func (f *Finder) cutQueryName(pair string) (place Place, value string, exact bool) {
	var name [longestQueryName]byte
	n, ended := 0, 0 // some services end a name at a zero byte or a bracket, some drop brackets
	exact = true
	for i := 0; i < len(pair); {
		c, size := pair[i], 1
		if c == '%' || c == '+' {
			c, size = decodeByte(pair[i:])
		}
		if c >= utf8.RuneSelf || c == '%' && size == 1 {
			if f.odd++; f.odd > mostOdd {
				return QueryAccessKeyID, "", false
			}
			return likeQueryName(pair), "", false
		}
		i += size
		if c == '=' {
			value = pair[i:]
			break
		}
		switch {
		case endsSomeNames(c):
			exact = false
			if ended == 0 {
				ended = n
			}
		case isSpace(c):
		case n < len(name):
			name[n] = lowered(c)
			n++
		case ended == 0:
			return Nowhere, "", false
		}
	}
	if place = placeNamed(name[:n]); place == Nowhere && ended > 0 {
		place = placeNamed(name[:ended])
	}
	return place, value, exact
}

func endsSomeNames(c byte) bool { return c == 0 || c == '[' || c == ']' }

func placeNamed(lower []byte) Place {
	switch string(lower) {
	case "accesskeyid":
		return QueryAccessKeyID
	case "ossaccesskeyid":
		return QueryOSSAccessKeyID
	case "x-oss-access-key-id":
		return QueryOSSAccessKeyIDV2
	case "x-oss-credential":
		return QueryOSSCredential
	case "awsaccesskeyid":
		return QueryAWSAccessKeyID
	case "x-amz-credential":
		return QueryAmazonCredential
	}
	return Nowhere
}

// decodeByte returns the first byte that s, which is not empty, stands for in
// a query, and how many bytes of s that takes. A '%' that starts no escape
// stands for itself, which no key id holds; in names see likeness.
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
// encoded. It is not ok if that is too long for one, or if a parser that splits
// at every '=', encoded or not, would read less of it than others.
func decoded(s string) (id string, ok bool) {
	if indexAny(s, 0, '%', '+', '=', '=') == len(s) {
		return s, true
	}
	var b [abi.MaxAccessKeyID]byte
	n := 0
	for s != "" {
		c, size := decodeByte(s)
		if n == len(b) || c == '=' {
			return "", false
		}
		b[n] = c
		n++
		s = s[size:]
	}
	return string(b[:n]), true
}
