package credential

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzIndexAny holds the search by words to one by bytes.
func FuzzIndexAny(f *testing.F) {
	f.Add("SignedHeaders=host", 0, byte('='), byte(':'), byte(','), byte('\x00'))
	f.Add("\x00\x01\x80\xff==<>:;;:<=\x3d\x3c", 1, byte('='), byte('<'), byte('='), byte(':'))
	f.Add(strings.Repeat("a", 40)+",", 3, byte(','), byte(','), byte(','), byte(','))
	f.Add("=======:", 8, byte(0), byte(0xff), byte(1), byte(0x80))
	f.Fuzz(func(t *testing.T, s string, from int, c0, c1, c2, c3 byte) {
		if from < 0 || from > len(s) {
			return
		}
		want := from
		for want < len(s) && s[want] != c0 && s[want] != c1 && s[want] != c2 && s[want] != c3 {
			want++
		}
		require.Equal(t, want, indexAny(s, from, c0, c1, c2, c3), "%q from %d for %q %q %q %q", s, from, c0, c1, c2, c3)
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
				text := string(b)
				for place := range 4 {
					set := [4]byte{byte(c) ^ 4, byte(c) ^ 8, byte(c) ^ 0x80, byte(c) ^ 0xff}
					set[place] = byte(c)
					find := func(from int) int { return indexAny(text, from, set[0], set[1], set[2], set[3]) }
					require.Equal(t, at, find(0), "%q", b)
					require.Equal(t, at, find(at), "%q", b)
					require.Equal(t, length, find(at+1), "%q", b)
				}
			}
		}
	}
}

// Letters that differ in one bit only, beside the bounds of the alphabet, are not the same.
func TestEveryPairOfBytesIsComparedAsAlone(t *testing.T) {
	for _, name := range []string{"12345678", "x-thirteen-13"} {
		for at := range len(name) {
			for a := range 256 {
				for b := range 256 {
					first := name[:at] + string([]byte{byte(a)}) + name[at+1:]
					second := name[:at] + string([]byte{byte(b)}) + name[at+1:]
					if SameName(first, second) != (folded(byte(a)) == folded(byte(b))) {
						t.Fatalf("%q %q", first, second)
					}
				}
			}
		}
	}
}

func TestAPlainIDEndsAtEveryByteThatIsNotOfOne(t *testing.T) {
	for at := range 20 {
		for c := range 256 {
			text := strings.Repeat("a", at) + string([]byte{byte(c)}) + strings.Repeat("9", 30)
			end := endOfPlainID(text, 0)
			if isLetter(byte(c)) || isDigit(byte(c)) || c == '.' {
				require.Equal(t, len(text), end, "%q", text)
			} else {
				require.Equal(t, at, end, "%q", text)
			}
		}
	}
}

// FuzzTarget holds the quick splitting of a query to a plain one, and what is set
// apart at a glance to the reader of all names.
func FuzzTarget(f *testing.F) {
	f.Add("/?Action=DescribeRegions&AccessKeyId=LTAI5tExample0000000001&Signature=x%3D")
	f.Add("/?%61ccesskeyid%3dLTAI5tExample0000000001;OSSAccessKeyId=a?x-oss-credential=b#X-Amz-Credential=c")
	f.Add("/?[\xf8\xf8\xf8\xf8KeYId&[AccessKeyId]=1&%zzAccessKeyId&\x00a\xdfkeyid")
	f.Add("http://host/?a+c+c+e+s+s+k+e+y+i+d=1&access\u212aeyid=2&acce\u017f\u017fkeyid=3")
	f.Fuzz(func(t *testing.T, target string) {
		var quick, plain Finder
		quick.Target(target)
		if _, query, found := strings.Cut(target, "?"); found {
			for _, pair := range strings.FieldsFunc(query, func(r rune) bool { return strings.ContainsRune("&;?#", r) }) {
				plain.pair(pair)
			}
		}
		if plain.odd > mostOdd {
			return // what is set apart at a glance is not counted
		}
		quick.odd, plain.odd = 0, 0
		require.Equal(t, plain, quick)
	})
}

// FuzzSameName holds the comparison by words to one by bytes.
func FuzzSameName(f *testing.F) {
	f.Add("authorization", "AUTHORIZATION")
	f.Add("x-acs-accesskey-id", "X_Acs_AccessKey-ID")
	f.Add("x-oss-\xc1\x40\x5b\x60\x7b", "x-oss-\xe1\x60\x7b\x40\x5b")
	f.Fuzz(func(t *testing.T, a, b string) {
		want := len(a) == len(b)
		for i := 0; want && i < len(a); i++ {
			want = folded(a[i]) == folded(b[i])
		}
		require.Equal(t, want, SameName(a, b))
		require.True(t, SameName(a, a))
		require.True(t, SameName(strings.Map(func(r rune) rune {
			if r < 0x80 {
				return rune(folded(byte(r)))
			}
			return r
		}, a), a) || !isASCII(a))
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}
