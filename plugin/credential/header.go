package credential

import (
	"strings"
	"unicode/utf8"
)

// authorization reads the value of an Authorization header.
func (f *Finder) authorization(value string) {
	if !f.plain(value) {
		f.authorizations(value)
	}
}

// authorizations reads one credential, or several when a proxy has joined
// headers by commas, in whatever spelling. As commas also stand between the
// parameters of a credential, the value is read element by element, and an
// element that starts with the word of a scheme starts a credential.
func (f *Finder) authorizations(value string) {
	var (
		current word // of the credential that the element belongs to
		missing bool // its parameter with the id is still to come
	)
	for value != "" {
		element := value
		if end := indexAny(value, 0, ',', ',', ',', ','); end < len(value) {
			element, value = value[:end], value[end+1:]
		} else {
			value = ""
		}
		w, rest := cutWord(element)
		starts := w.kind != foreign
		if starts {
			if missing {
				f.unreadable(current.scheme, HeaderAuthorization)
			}
			current, missing = w, w.kind == parameters
		}
		switch {
		case current.kind == parameters:
			if f.parameter(current, rest) {
				missing = false
			}
		case current.kind == idAndSignature && starts:
			f.idAndSignature(current.scheme, rest)
		case current.kind == idAndSignature && strings.IndexByte(rest, ':') >= 0:
			// A second id, to a service that reads the value from its end.
			f.unreadable(current.scheme, HeaderAuthorization)
		case current.kind == otherVersion:
			f.unreadable(SchemeUnknown, HeaderAuthorization)
		}
	}
	if missing {
		f.unreadable(current.scheme, HeaderAuthorization)
	}
}

// idAndSignature reads what follows the word of the older schemes, id:signature.
func (f *Finder) idAndSignature(scheme Scheme, s string) {
	id, signature, ok := strings.Cut(s, ":")
	ok = ok && isSpace(s[0]) && strings.IndexByte(signature, ':') < 0
	if ok {
		id, ok = cutScope(id)
	}
	if !ok {
		f.unreadable(scheme, HeaderAuthorization)
		return
	}
	f.add(trim(id), scheme, HeaderAuthorization)
}

// parameter reads every parameter in s that holds the id and reports whether
// there was one. It does not care how parameters are parted.
func (f *Finder) parameter(w word, s string) (found bool) {
	for i := indexAny(s, 0, '=', '=', ':', ':'); i < len(s); i = indexAny(s, i+1, '=', '=', ':', ':') {
		ends, exact := endsInName(s[:i], w.parameter)
		if !ends {
			continue
		}
		found = true
		id, ok := cutScope(s[i+1:])
		id = trim(id)
		if !ok || !exact || indexAny(id, 0, '=', '=', '=', '=') < len(id) {
			id = ""
		}
		if !f.add(id, w.scheme, HeaderAuthorization) {
			break // to go on could not change that, and would take quadratic time
		}
	}
	return found
}

// endsInName reports whether s ends in a name, without regard to case and to
// white space, inside the name too: some services remove it first. A name that
// is this one only to some services is not exact.
func endsInName(s, lower string) (ends, exact bool) {
	n := len(lower)
	for i := len(s) - 1; i >= 0 && n > 0; i-- {
		switch c := lowered(s[i]); {
		case c >= utf8.RuneSelf:
			return mayEndInName(s, lower), false
		case c == lower[n-1]:
			n--
		case !isSpace(c):
			return false, false
		}
	}
	return n == 0, true
}

// cutScope parts a key id from the scope that some schemes put behind it,
// id/date/region/service/request, still encoded. It is not ok if that is no
// scope: a service that counts slashes from the right would read another id.
func cutScope(s string) (id string, ok bool) {
	const maxSlashes, dateDigits = 4, 8
	if indexAny(s, 0, '/', '/', '%', '%') == len(s) {
		return s, true
	}
	id = s
	seen, digits := 0, 0
	for i, size := 0, 1; i < len(s); i += size {
		c := s[i]
		if size = 1; c == '%' {
			c, size = decodeByte(s[i:])
		}
		switch {
		case c == '/':
			if seen == 0 {
				id = s[:i]
			}
			if seen++; seen > maxSlashes {
				return "", false
			}
		case seen == 1 && digits < dateDigits:
			if !isDigit(c) {
				return "", false
			}
			digits++
		}
	}
	return id, seen == 0 || digits == dateDigits
}

// kind is how an Authorization value holds the id.
type kind uint8

const (
	foreign        kind = iota // the word is no scheme's that holds a key id
	idAndSignature             // id:signature
	parameters                 // name=value, the id in one of them
	otherVersion               // a family of schemes known here, the version not, or its word not for sure
)

// word is what the first word of an Authorization value says.
type word struct {
	scheme    Scheme
	kind      kind
	parameter string // that holds the id, in lower case
}

// cutWord reads the word of a scheme off the front of s: the letters of a
// family, in any case, and for the newer schemes a version digit. What follows
// the digit is left in rest: the name of the algorithm does not matter, and
// some services do not ask for a space behind it. A foreign word leaves all of s.
func cutWord(s string) (w word, rest string) {
	const longest = len("datahub")
	start, odd := 0, -1
	for start < len(s) && !isLetter(s[start]) && !isDigit(s[start]) {
		switch { // white space of any kind, quotes, a byte order mark; or odd letters
		case s[start] < utf8.RuneSelf:
			odd = -1
		case odd < 0:
			odd = start
		}
		start++
	}
	var b [longest + 1]byte
	n, end := 0, start
	for end < len(s) && isLetter(s[end]) {
		if n == longest {
			return word{}, s
		}
		b[n] = lowered(s[end])
		n++
		end++
	}
	if odd < 0 && end < len(s) && s[end] >= utf8.RuneSelf {
		odd = start
	}
	version := end
	for end < len(s) && isDigit(s[end]) {
		end++
	}
	rest = s[end:]
	if end > version || rest == "" || !isTokenByte(rest[0]) { // else it is a longer word
		family := familyWord(b[:n])
		switch end - version {
		case 0:
			w = family
		case 1:
			b[n] = s[version]
			w = versionedWord(b[:n+1])
		}
		if family.kind != foreign && w.kind == foreign {
			w.kind = otherVersion
		}
	}
	if w.kind == foreign && odd >= 0 && mayStartWithFamily(s[odd:]) {
		w.kind = otherVersion
	}
	if w.kind == foreign {
		rest = s
	}
	return w, rest
}

// families are the words of familyWord and, without their digits, of versionedWord.
var families = [...]string{"acs", "oss", "log", "sls", "mns", "odps", "datahub", "fc", "aws"}

func familyWord(letters []byte) word {
	switch string(letters) {
	case "acs":
		return word{scheme: SchemeACS, kind: idAndSignature}
	case "oss":
		return word{scheme: SchemeOSS, kind: idAndSignature}
	case "log", "sls":
		return word{scheme: SchemeLOG, kind: idAndSignature}
	case "mns":
		return word{scheme: SchemeMNS, kind: idAndSignature}
	case "odps":
		return word{scheme: SchemeODPS, kind: idAndSignature}
	case "datahub":
		return word{scheme: SchemeDataHub, kind: idAndSignature}
	case "fc":
		return word{scheme: SchemeFC, kind: idAndSignature}
	case "aws":
		return word{scheme: SchemeAWS, kind: idAndSignature}
	}
	return word{}
}

func versionedWord(lettersAndDigit []byte) word {
	switch string(lettersAndDigit) {
	case "acs3":
		return word{SchemeACS3, parameters, "credential"}
	case "acs4":
		return word{SchemeACS4, parameters, "credential"}
	case "oss2":
		return word{SchemeOSS2, parameters, "accesskeyid"}
	case "oss4":
		return word{SchemeOSS4, parameters, "credential"}
	case "sls4":
		return word{SchemeSLS4, parameters, "credential"}
	case "mns4":
		return word{SchemeMNS4, parameters, "credential"}
	case "aws4":
		return word{SchemeAWS4, parameters, "credential"}
	}
	return word{}
}

// isTokenByte reports whether c can continue the word of a scheme (RFC 9110, token).
func isTokenByte(c byte) bool {
	return isLetter(c) || isDigit(c) || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}
