package credential

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzIndexEither holds the search by words to one by bytes.
func FuzzIndexEither(f *testing.F) {
	f.Add("SignedHeaders=host", 0, byte('='), byte(':'))
	f.Add("\x00\x01\x80\xff==<>:;;:<=\x3d\x3c", 1, byte('='), byte('<'))
	f.Add(strings.Repeat("a", 40)+",", 3, byte(','), byte(','))
	f.Add("=======:", 8, byte(0), byte(0xff))
	f.Fuzz(func(t *testing.T, s string, from int, c, d byte) {
		if from < 0 || from > len(s) {
			return
		}
		want := from
		for want < len(s) && s[want] != c && s[want] != d {
			want++
		}
		require.Equal(t, want, indexEither(s, from, c, d), "%q from %d for %q or %q", s, from, c, d)
	})
}

func TestAnyByteIsFoundAtAnyPlace(t *testing.T) {
	for c := range 256 {
		for length := range 20 {
			for at := range length {
				b := []byte(strings.Repeat(string(rune(0x100)), length))[:length]
				for i := range b {
					b[i] = byte(c) ^ byte(1+i%3)
				}
				b[at] = byte(c)
				require.Equal(t, at, indexEither(string(b), 0, byte(c), byte(c)), "%q", b)
				require.Equal(t, at, indexEither(string(b), at, byte(c), byte(c)), "%q", b)
				require.Equal(t, length, indexEither(string(b), at+1, byte(c), byte(c)), "%q", b)
			}
		}
	}
}
