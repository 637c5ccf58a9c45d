package httpguard

import "strings"

// appendNodes appends the value of the parameter "for" of each element of a
// line of Forwarded (RFC 7239), an empty string where it is missing. It is not
// ok if the line is not well formed: then nobody knows where an element ends.
func appendNodes(nodes []string, line string) (_ []string, ok bool) {
	for {
		node, seen := "", false
		for {
			var name, value string
			line = skipSpace(line)
			if name, line, ok = cutToken(line); ok {
				if line, ok = strings.CutPrefix(line, "="); !ok {
					return nil, false
				}
				if value, line, ok = cutValue(line); !ok {
					return nil, false
				}
				if strings.EqualFold(name, "for") {
					if seen {
						return nil, false
					}
					node, seen = value, true
				}
			}
			line = skipSpace(line)
			if rest, more := strings.CutPrefix(line, ";"); more {
				line = rest
				continue
			}
			break
		}
		nodes = append(nodes, node)
		if line == "" {
			return nodes, true
		}
		if line, ok = strings.CutPrefix(line, ","); !ok {
			return nil, false
		}
	}
}

func skipSpace(s string) string { return strings.TrimLeft(s, " \t") }

// cutToken cuts a token (RFC 9110) off the front.
func cutToken(s string) (token, rest string, ok bool) {
	n := 0
	for n < len(s) && isTokenByte(s[n]) {
		n++
	}
	return s[:n], s[n:], n > 0
}

// cutValue cuts a token or a quoted string off the front.
func cutValue(s string) (value, rest string, ok bool) {
	if s == "" || s[0] != '"' {
		return cutToken(s)
	}
	var unescaped strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return unescaped.String(), s[i+1:], true
		case '\\':
			if i++; i == len(s) {
				return "", "", false
			}
		}
		unescaped.WriteByte(s[i])
	}
	return "", "", false
}

func isTokenByte(c byte) bool {
	return c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// validHeaderName reports whether s is a token, as names of headers are.
func validHeaderName(s string) bool {
	_, rest, ok := cutToken(s)
	return ok && rest == ""
}
