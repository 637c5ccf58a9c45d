package credential

import "math/bits"

// This file looks at eight bytes at a time, as one number: a loop over bytes,
// and each branch in it, is what takes longest in the sandbox, where a branch
// that is taken is a jump through a table.

const (
	eachByte = 0x0101010101010101
	highBits = 0x80 * eachByte
)

// word64 and word32 return the bytes of s from i on, the first the lowest.
func word64(s string, i int) uint64 {
	b := s[i : i+8]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

func word32(s string, i int) uint32 {
	b := s[i : i+4]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}

// indexAny returns the index of the first of four bytes in s that does not stand
// before from, or the length of s. A byte that is given twice is looked for once.
func indexAny(s string, from int, c0, c1, c2, c3 byte) int {
	for ; from+8 <= len(s); from += 8 {
		w := word64(s, from)
		found := zeros(w^eachByte*uint64(c0)) | zeros(w^eachByte*uint64(c1)) | zeros(w^eachByte*uint64(c2)) | zeros(w^eachByte*uint64(c3))
		if found != 0 {
			return from + bits.TrailingZeros64(found)/8
		}
	}
	for ; from < len(s); from++ {
		if c := s[from]; c == c0 || c == c1 || c == c2 || c == c3 {
			break
		}
	}
	return from
}

// zeros has the highest bit of the first byte that is zero in w set, and no bit
// before it: taking one from each byte sets that of a zero.
func zeros(w uint64) uint64 { return (w - eachByte) &^ w & highBits }

// endOfPlainID returns the index behind the letters, digits and full stops that
// start at i, or the length of s if there may be more of them.
func endOfPlainID(s string, i int) int {
	for ; i+8 <= len(s); i += 8 {
		w := word64(s, i)
		// The highest bit of a byte tells whether it is at or above a bound; one
		// beyond ASCII spoils those behind it, but is found before them.
		letters := w | 0x20*eachByte
		plain := (letters + (0x80-'a')*eachByte) &^ (letters + (0x80-'z'-1)*eachByte)
		plain |= (w + (0x80-'0')*eachByte) &^ (w + (0x80-'9'-1)*eachByte)
		plain |= ^((w ^ '.'*eachByte) + 0x7f*eachByte)
		if other := ^(plain &^ w) & highBits; other != 0 {
			return i + bits.TrailingZeros64(other)/8
		}
	}
	return len(s)
}

// sameText compares names of the same length, eight bytes at a time: the last
// eight may overlap those before.
func sameText(a, b string) bool {
	if last := len(a) - 8; last >= 0 {
		i := 0
		for i < last && lowered64(word64(a, i)) == lowered64(word64(b, i)) {
			i += 8
		}
		if i >= last && lowered64(word64(a, last)) == lowered64(word64(b, last)) {
			return true
		}
	}
	for i := range len(a) { // short, not the same, or spelt with other marks
		if folded(a[i]) != folded(b[i]) {
			return false
		}
	}
	return true
}

// lowered64 is lowered for eight bytes.
func lowered64(w uint64) uint64 {
	ascii := w &^ highBits
	upper := (ascii + (0x80-'A')*eachByte) &^ (ascii + (0x80-'Z'-1)*eachByte) &^ w & highBits
	return w | upper>>2
}
