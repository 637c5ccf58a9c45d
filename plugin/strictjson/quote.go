package strictjson

import "unicode/utf8"

// AppendQuoted appends s as a JSON string; what is not UTF-8 in it is replaced.
// jsontext has that too, but its way would take up 17 kB of the guest.
func AppendQuoted(b []byte, s string) []byte {
	const digits = "0123456789abcdef"
	b = append(b, '"')
	for i, c := range s {
		var text string
		switch {
		case c == utf8.RuneError:
			text = "\ufffd"
		case c == '"':
			text = `\"`
		case c == '\\':
			text = `\\`
		case '\b' <= c && c <= '\r' && c != '\v':
			text = `\` + "btnvfr"[c-'\b':][:1]
		case c < ' ':
			text = `\u00` + digits[c>>4:][:1] + digits[c&15:][:1]
		default:
			text = s[i:][:utf8.RuneLen(c)]
		}
		b = append(b, text...)
	}
	return append(b, '"')
}
