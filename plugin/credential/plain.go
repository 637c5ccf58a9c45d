package credential

import "github.com/keymoat/keymoat/abi"

// plain reads an Authorization value as the clouds' SDKs write it, and reports
// whether it is one: if not, it has read nothing, and the reader of every
// spelling has to. Both find the same in what is plain; a fuzz target sees to it.
//
//	ACS3-HMAC-SHA256 Credential=<id>[/<scope>],SignedHeaders=…,Signature=…
//	OSS <id>:<signature>
//
// Nearly all requests come this way. In the sandbox, where branches and calls are
// dear, it takes a quarter of the time.
func (f *Finder) plain(value string) bool {
	const (
		middle = "-HMAC-SHA256 Credential="
		enough = len("ACS3") + len(middle)
	)
	if len(value) < enough {
		return false
	}
	start, scheme := enough, SchemeUnknown
	switch word32(value, 0) {
	case 'A' | 'C'<<8 | 'S'<<16 | '3'<<24:
		scheme = SchemeACS3
	case 'O' | 'S'<<8 | 'S'<<16 | '4'<<24:
		scheme = SchemeOSS4
	case 'S' | 'L'<<8 | 'S'<<16 | '4'<<24:
		scheme = SchemeSLS4
	case 'A' | 'W'<<8 | 'S'<<16 | '4'<<24:
		scheme = SchemeAWS4
	case 'a' | 'c'<<8 | 's'<<16 | ' '<<24:
		start, scheme = len("acs "), SchemeACS
	case 'O' | 'S'<<8 | 'S'<<16 | ' '<<24:
		start, scheme = len("OSS "), SchemeOSS
	case 'L' | 'O'<<8 | 'G'<<16 | ' '<<24:
		start, scheme = len("LOG "), SchemeLOG
	case 'M' | 'N'<<8 | 'S'<<16 | ' '<<24:
		start, scheme = len("MNS "), SchemeMNS
	case 'A' | 'W'<<8 | 'S'<<16 | ' '<<24:
		start, scheme = len("AWS "), SchemeAWS
	default:
		return false
	}
	withParameters := start == enough
	if withParameters && (word64(value, 4)^word64(middle, 0))|(word64(value, 12)^word64(middle, 8))|
		(word64(value, 20)^word64(middle, 16)) != 0 {
		return false
	}
	end := endOfPlainID(value, start)
	if end >= len(value) || uint(end-start-1) >= abi.MaxAccessKeyID {
		return false
	}
	if withParameters && !plainParameters(value, end) || !withParameters && !plainSignature(value, end) {
		return false
	}
	f.claimed(Claim{AccessKeyID: value[start:end], Scheme: scheme, Place: HeaderAuthorization})
	return true
}

// plainSignature reports whether a colon and a signature end the value, and
// nothing in it could be another id.
func plainSignature(value string, colon int) bool {
	if value[colon] != ':' {
		return false
	}
	at := nextSpecial(value, colon+1)
	for at < len(value) && value[at] == '=' { // base64
		at = nextSpecial(value, at+1)
	}
	return at == len(value)
}

// plainParameters reports whether a scope or nothing, and then parameters that
// are not about the id, end the value.
func plainParameters(value string, at int) bool {
	if value[at] == '/' {
		end := nextSpecial(value, at)
		if _, ok := cutScope(value[at:end]); !ok {
			return false
		}
		at = end
	}
	if at == len(value) || value[at] != ',' {
		return false
	}
	for at < len(value) {
		switch {
		case value[at] == ',':
			at++
			if at < len(value) && value[at] == ' ' {
				at++
			}
			// No scheme's word starts like SignedHeaders, Signature or AdditionalHeaders.
			if at+2 > len(value) || value[at:at+2] != "Si" && value[at:at+2] != "Ad" {
				return false
			}
		case value[at] != '=' || value[at-1] != 's' && value[at-1] != 'e': // nor do names that hold the id end so
			return false
		}
		at = nextSpecial(value, at+1)
	}
	return true
}

// nextSpecial returns the index of the next byte that ends a parameter or its
// name, or the length of the value.
func nextSpecial(value string, from int) int { return indexAny(value, from, ',', '=', ':', ':') }
