package credential

import (
	"strings"
	"unicode/utf8"

	"github.com/keymoat/keymoat/abi"
)

// Find reads every place of a request that can name a key id. The target is
// the request target as on the wire; the names of the headers compare without
// case, and a header that occurs twice may be listed twice or joined by commas.
//
// The claim goes with the outcome:
//
//	None        the zero Claim
//	One         the claim; of several places that name the same id, the first in the order of Place
//	Ambiguous   the zero Claim
//	Unreadable  no id, but the scheme and the place that could not be read
//
// One unreadable place makes the request Unreadable, whatever the others say.
func Find(target string, headers []abi.HTTPHeader) (Claim, Outcome) {
	var f Finder
	f.Target(target)
	for i := range headers {
		f.Header(headers[i].Name, headers[i].Value)
	}
	return f.Result()
}

// HeaderNames returns the names, in lower case, of all headers that a Finder
// reads. A host need forward no others.
func HeaderNames() []string {
	names := []string{contentType}
	for p, place := range places {
		if Place(p) != Nowhere && !place.query {
			names = append(names, place.name)
		}
	}
	return names
}

// Reads reports whether a Finder reads a header of that name, in whatever spelling.
func Reads(name string) bool {
	for p, place := range places {
		if Place(p) != Nowhere && !place.query && SameName(name, place.name) {
			return true
		}
	}
	return SameName(name, contentType)
}

// Finder is Find for a host that meets the parts of a request one by one. Its
// zero value is ready for a request; the order of the calls does not matter.
// It keeps the strings it is given, and so does its Result: they must not
// change while it is in use.
type Finder struct {
	claim     Claim // readable, if it holds an id
	bad       Claim // unreadable, if its place is not Nowhere
	ambiguous bool
	form      bool
	odd       int // odd names of the query
}

const contentType = "content-type"

// Header reads one header line. Headers that cannot name a key id are ignored.
func (f *Finder) Header(name, value string) {
	switch {
	case isName(name, HeaderAuthorization):
		f.authorization(value)
	case isName(name, HeaderOTSAccessKeyID):
		f.header(HeaderOTSAccessKeyID, name, value)
	case isName(name, HeaderACSAccessKeyID):
		f.header(HeaderACSAccessKeyID, name, value)
	case SameName(name, contentType):
		f.form = f.form || isForm(value)
	}
}

// Form reports whether the body is said to be a form. A field of it may claim a
// key id, which is not read: a caller who signs with that one can name another
// in a header or in the query, where the service does not look.
func (f *Finder) Form() bool { return f.form }

// isForm looks for the two kinds of forms anywhere in a Content-Type. Services
// differ in what they let stand around them.
func isForm(value string) bool {
	for i := indexAny(value, 0, 'f', 'f', 'F', 'F'); i < len(value); i = indexAny(value, i+1, 'f', 'f', 'F', 'F') {
		for _, kind := range [...]string{"form-urlencoded", "form-data"} {
			if len(value)-i >= len(kind) && SameName(value[i:i+len(kind)], kind) {
				return true
			}
		}
	}
	return false
}

// Result returns what the parts seen so far claim, as Find does.
func (f *Finder) Result() (Claim, Outcome) {
	switch {
	case f.bad.Place != Nowhere:
		return f.bad, Unreadable
	case f.ambiguous:
		return Claim{}, Ambiguous
	case f.claim.AccessKeyID == "":
		return Claim{}, None
	default:
		return f.claim, One
	}
}

// add records a claim, and reports whether it is readable.
func (f *Finder) add(id string, scheme Scheme, place Place) bool {
	if !abi.ValidID(id) {
		f.unreadable(scheme, place)
		return false
	}
	f.claimed(Claim{AccessKeyID: id, Scheme: scheme, Place: place})
	return true
}

// claimed records a claim whose id is valid.
func (f *Finder) claimed(c Claim) {
	switch {
	case f.claim.AccessKeyID == "":
		f.claim = c
	case f.claim.AccessKeyID != c.AccessKeyID:
		f.ambiguous = true
	case c.before(f.claim):
		f.claim = c
	}
}

//go:noinline
func (f *Finder) unreadable(scheme Scheme, place Place) {
	c := Claim{Scheme: scheme, Place: place}
	if f.bad.Place == Nowhere || c.before(f.bad) {
		f.bad = c
	}
}

// header reads a header that holds nothing but a key id. Only some services
// take it for that one if it is spelt with other marks than hyphens.
func (f *Finder) header(place Place, name, value string) {
	exact := places[place].name
	for i := range len(name) {
		if lowered(name[i]) != exact[i] {
			f.unreadable(places[place].scheme, place)
			return
		}
	}
	f.list(place, value)
}

// list reads the key ids of a header that holds nothing else. A proxy may have
// joined two such headers by a comma.
func (f *Finder) list(place Place, value string) {
	empty := true
	for value != "" {
		var id string
		id, value, _ = strings.Cut(value, ",")
		if id = trim(id); id != "" {
			f.add(id, places[place].scheme, place)
			empty = false
		}
	}
	if empty {
		f.unreadable(places[place].scheme, place)
	}
}

// isName reports whether a header of that name is the place.
func isName(name string, place Place) bool { return SameName(name, places[place].name) }

// SameName reports whether some service may take the name of one header for
// that of the other: ASCII letters compare without case, and all other marks as
// one. Servers that hand headers on as CGI variables make '_' of '-', and
// lighttpd of everything that is no letter or digit.
func SameName(a, b string) bool {
	return len(a) == len(b) && sameText(a, b)
}

func folded(c byte) byte {
	if isLetter(c) || isDigit(c) || c >= utf8.RuneSelf {
		return lowered(c)
	}
	return '-'
}

func lowered(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// isSpace takes every control character for white space: services trim
// different sets of them.
func isSpace(c byte) bool { return c <= ' ' || c == 0x7f }

func isLetter(c byte) bool { c |= 0x20; return 'a' <= c && c <= 'z' }

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func trim(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
