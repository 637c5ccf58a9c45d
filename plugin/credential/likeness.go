package credential

import (
	"math/bits"
	"unicode/utf8"
)

// Some services take a name for another that only resembles it. By Unicode's
// rules, or Java's, the Kelvin sign is a k in another case, the long s an s, the
// dotless i an i, and the sharp s in upper case is SS; other characters are
// trimmed, or dropped as escapes that are none. Nobody knows them all. So whatever
// is odd in a name may stand for any letter, for a double one, or for none: if it
// could be the name of a key id by that, the request is unreadable.

// likeness is how far a text that is read byte by byte may be a name.
type likeness struct {
	name      string // at most 31 bytes
	backwards bool   // the text is read from its end
	reached   uint32 // bit n: n letters of the name may have been read
	double    uint32 // bit n: the next two letters are the same
	letters   int    // that were read
}

func newLikeness(name string, backwards bool) likeness {
	l := likeness{name: name, backwards: backwards, reached: 1}
	for n := range len(name) - 1 {
		if l.at(n) == l.at(n+1) {
			l.double |= 1 << n
		}
	}
	return l
}

// at returns the letter of the name that comes after n others.
func (l *likeness) at(n int) byte {
	if l.backwards {
		n = len(l.name) - 1 - n
	}
	return lowered(l.name[n])
}

// letter goes on with a byte that is what it seems to be.
func (l *likeness) letter(c byte) {
	c = lowered(c)
	var reached uint32
	for left := l.reached; left != 0; left &= left - 1 {
		if n := bits.TrailingZeros32(left); n < len(l.name) && l.at(n) == c {
			reached |= 2 << n
		}
	}
	l.reached = reached
	l.letters++
}

// odd is what is reached with a byte that is not, if that stands for something.
func (l *likeness) odd() uint32 { return l.reached<<1 | l.reached&l.double<<2 }

// whole reports whether the name may have been read to its end. A third of it
// has to be there: a word in another script resembles everything.
func (l *likeness) whole() bool {
	return l.reached>>len(l.name)&1 != 0 && 3*l.letters >= len(l.name)
}

// Where the readings of names of parameters and of words of families begin.
var (
	likePlaces = func() (all [len(places)]likeness) {
		for p, place := range places {
			all[p] = newLikeness(place.name, false)
		}
		return all
	}()
	likeFamilies = func() (all [len(families)]likeness) {
		for i, family := range families {
			all[i] = newLikeness(family, false)
		}
		return all
	}()
)

// likeQueryName returns the place whose name that of a query's pair may be to some
// service, or Nowhere.
func likeQueryName(pair string) Place {
	for p := range places {
		if places[p].query && likePlaces[p].names(pair) {
			return Place(p)
		}
	}
	return Nowhere
}

// names reports whether the name may be that of a pair, which it reads.
func (l likeness) names(pair string) bool {
	const most = 256 // bytes of a name: what is still alike then counts as alike
	var (
		dropped [8]uint32 // what is reached at the index, modulo 8, if an escape that is none is dropped
		until   int       // the last such index
	)
	for i, size, read := 0, 1, 0; i < len(pair); i += size {
		l.reached |= dropped[i&7]
		dropped[i&7] = 0
		if l.reached == 0 && i >= until {
			return false
		}
		c := pair[i]
		if size = 1; c == '%' || c == '+' {
			c, size = decodeByte(pair[i:])
		}
		switch {
		case c == '%' && size == 1: // alone, with one or two digits, or as JavaScript's %u00e9
			dropped[(i+2)&7] |= l.reached
			dropped[(i+3)&7] |= l.reached
			dropped[(i+6)&7] |= l.reached | l.odd()
			until = i + 6
		case c == '=':
			return l.whole()
		case endsSomeNames(c):
			if l.whole() {
				return true
			}
		case c >= utf8.RuneSelf:
			l.reached |= l.odd()
		case isSpace(c):
			continue
		default:
			l.letter(c)
		}
		if read++; read == most {
			return 3*l.letters >= len(l.name)
		}
	}
	return l.whole()
}

// mayEndInName reports whether s may end in a name to some service.
func mayEndInName(s, name string) bool {
	l := newLikeness(name, true)
	for i := len(s) - 1; i >= 0 && l.reached != 0; i-- {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			l.reached |= l.odd()
		case !isSpace(c):
			l.letter(c)
		}
		if l.whole() {
			return true
		}
	}
	return false
}

// mayStartWithFamily reports whether some service may take the front of s for the
// word of a family of schemes.
func mayStartWithFamily(s string) bool {
	for _, l := range likeFamilies {
		for i := 0; i < len(s) && l.reached != 0; i++ {
			c := s[i]
			switch {
			case c >= utf8.RuneSelf:
				l.reached |= l.odd()
			case isLetter(c):
				l.letter(c)
			default:
				l.reached = 0
			}
			if l.whole() && (i+1 == len(s) || isSpace(s[i+1]) || isDigit(s[i+1]) || isLetter(c) && s[i+1] >= utf8.RuneSelf) {
				return true
			}
		}
	}
	return false
}
