package policy

import "unsafe"

// Reading, writing and hashing of bytes, in one place. The compiler makes one
// load of each little-endian read, on WebAssembly too. encoding/binary would do
// the same, and bring 20 kB of reflection into the guest.
//
// Reads that the hot path does are in load.go and load_wasip1.go.

func be64(b []byte) uint64 {
	_ = b[7]
	return uint64(b[7]) | uint64(b[6])<<8 | uint64(b[5])<<16 | uint64(b[4])<<24 |
		uint64(b[3])<<32 | uint64(b[2])<<40 | uint64(b[1])<<48 | uint64(b[0])<<56
}

func put32(b []byte, v uint32) {
	_ = b[3]
	b[0], b[1], b[2], b[3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
}

func put64(b []byte, v uint64) {
	put32(b, uint32(v))
	put32(b[4:], uint32(v>>32))
}

// These are out of line to keep the guest small: each append in place takes up
// half a kilobyte.

//
//go:noinline
func append32(b []byte, v uint32) []byte {
	return append(b, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
}

//go:noinline
func appendText(b []byte, s string) []byte { return append(b, s...) }

// pad appends zeros up to a multiple of size.
//
//go:noinline
func pad(b []byte, size int) []byte {
	for len(b)%size != 0 {
		b = append(b, 0)
	}
	return b
}

// hashOf is the hash of the image format. It takes the bytes eight at a time:
// xor, a multiplication by an odd number, and a fold of the upper half into the
// lower. Each step is a bijection of the state, so a change within eight bytes
// always changes the hash: as a checksum it misses no flipped bit. The last
// multiplication lets the upper bits, which choose a bucket, depend on all.
//
// 8 to 32 bytes, as most ids have, take four words that overlap, and no loop:
// on WebAssembly a jump costs as much as a word.
func hashOf(t text) uint64 {
	n := t.size()
	h := n * hashOdd
	if n < 8 {
		return hashStep(h, shortWord(t)) * hashOdd
	}
	if n <= 32 {
		return hashWords(n, t.word(0), t.word(second(n)), t.word(third(n)), t.word(n-8))
	}
	for i := uint64(0); i < n-8; i += 8 {
		h = hashStep(h, t.word(i))
	}
	return hashStep(h, t.word(n-8)) * hashOdd
}

// checksum is the hash of all that stands behind the checksum in an image.
func checksum(image []byte) uint64 {
	rest := image[atChecksum+8:]
	return hashOf(textOf(unsafe.String(unsafe.SliceData(rest), len(rest))))
}

// second and third tell where the second and third of the four words begin
// that cover 8 to 32 bytes. The first begins at 0, the last at n-8. Written so
// that no compiler makes a branch of it: min(8, n-8) and max(0, n-16).
func second(n uint64) uint64 { return 8 + (n-16)&uint64(int64(n-16)>>63) }
func third(n uint64) uint64  { return (n - 16) &^ uint64(int64(n-16)>>63) }

// hashWords is hashOf n bytes, 8 to 32, of which it is given the four words.
func hashWords(n, w0, w1, w2, w3 uint64) uint64 {
	h := n * hashOdd
	h = (h ^ w0) * hashOdd
	h = (h ^ h>>32 ^ w1) * hashOdd
	h = (h ^ h>>32 ^ w2) * hashOdd
	h = (h ^ h>>32 ^ w3) * hashOdd
	return (h ^ h>>32) * hashOdd
}

const hashOdd = 0x9e3779b97f4a7c15 // 2^64 divided by the golden ratio

func hashStep(h, w uint64) uint64 {
	h = (h ^ w) * hashOdd
	return h ^ h>>32
}

// shortWord returns less than eight bytes as a word, padded with zeros. It is
// rare, and out of line: its loop would slow down whatever it is inlined into.
//
//go:noinline
func shortWord(t text) (w uint64) {
	s := t.String()
	for i := len(s) - 1; i >= 0; i-- {
		w = w<<8 | uint64(s[i])
	}
	return w
}

// hashFold is FNV-1a over the lower-case form.
func hashFold(s string) uint32 {
	h := uint32(2166136261)
	for i := 0; i < len(s); i++ {
		h = (h ^ uint32(lower(s[i]))) * 16777619
	}
	return h
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
