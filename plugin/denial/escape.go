package denial

import "unicode/utf8"

// longest is how many bytes of a value an answer holds. Whatever a caller can
// send comes back to it, so without a limit answers could be made very long.
const longest = 255

// escape is what a value must not hold as it is.
type escape uint8

const (
	escapeNothing escape = iota
	escapeJSON
	escapeXML
)

// appendEscaped appends a value of whatever bytes. Control characters, line ends
// and what is not UTF-8 become U+FFFD.
func appendEscaped(b []byte, s string, e escape) []byte {
	s = Cut(s)
	for i, size := 0, 0; i < len(s); i += size {
		c := s[i]
		if size = 1; c >= utf8.RuneSelf {
			_, size = utf8.DecodeRuneInString(s[i:])
		}
		switch {
		case c < ' ' || c == 0x7f || size == 1 && c >= utf8.RuneSelf || size > 1 && unseen(s[i:i+size]):
			b = append(b, "\uFFFD"...)
		case e == escapeJSON && (c == '"' || c == '\\'):
			b = append(b, '\\', c)
		case e == escapeXML && c == '<':
			b = append(b, "&lt;"...)
		case e == escapeXML && c == '>':
			b = append(b, "&gt;"...)
		case e == escapeXML && c == '&':
			b = append(b, "&amp;"...)
		default:
			b = append(b, s[i:i+size]...)
		}
	}
	return b
}

// unseen reports whether a character is a control character beyond ASCII, a
// line end, or one of the two that XML has no place for.
func unseen(s string) bool {
	c, _ := utf8.DecodeRuneInString(s)
	return c < 0xa0 || c == 0x2028 || c == 0x2029 || c == 0xfffe || c == 0xffff
}

// Cut shortens a value to what an answer holds of it, not within a character.
// A host that logs what a caller sent does the same.
func Cut(s string) string {
	if len(s) <= longest {
		return s
	}
	n := longest
	for n > longest-utf8.UTFMax && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
