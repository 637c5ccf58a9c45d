package credential_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

// The readers below model how services of different habits get key ids out of
// a request. They are deliberately naive and share nothing with the package:
// what any of them reads, Find must not overlook.

type request struct {
	target  string
	headers []abi.HTTPHeader
}

func (r request) query() string {
	_, query, _ := strings.Cut(r.target, "?")
	return query
}

// values returns the header's lines, and both ways that proxies join them.
func (r request) values(name string) (values []string) {
	for _, h := range r.headers {
		if strings.EqualFold(h.Name, name) {
			values = append(values, h.Value)
		}
	}
	if len(values) > 1 {
		values = append(values, strings.Join(values, ","), strings.Join(values, ", "))
	}
	return values
}

var queryNames = []string{"AccessKeyId", "OSSAccessKeyId", "x-oss-access-key-id", "x-oss-credential", "AWSAccessKeyId", "X-Amz-Credential"}

// beforeScope is the id of a credential, to a service that cuts at the first slash.
func beforeScope(s string) string { id, _, _ := strings.Cut(s, "/"); return id }

var readers = map[string]func(r request) (ids []string){
	"net/url": func(r request) (ids []string) {
		values, _ := url.ParseQuery(r.query())
		for _, name := range queryNames {
			ids = append(ids, values[name]...)
		}
		return ids
	},
	"names without case and surrounding space, by the rules of Unicode": func(r request) (ids []string) {
		values, _ := url.ParseQuery(r.query())
		for name, v := range values {
			for _, known := range queryNames {
				if strings.EqualFold(strings.TrimSpace(name), known) {
					ids = append(ids, v...)
				}
			}
		}
		return ids
	},
	"semicolons part pairs": func(r request) (ids []string) {
		values, _ := url.ParseQuery(strings.ReplaceAll(r.query(), ";", "&"))
		for _, name := range queryNames {
			ids = append(ids, values[name]...)
		}
		return ids
	},
	"the fragment is cut off": func(r request) (ids []string) {
		query, _, _ := strings.Cut(r.query(), "#")
		values, _ := url.ParseQuery(query)
		for _, name := range queryNames {
			ids = append(ids, values[name]...)
		}
		return ids
	},
	"the query starts at the last question mark": func(r request) (ids []string) {
		values, _ := url.ParseQuery(r.target[strings.LastIndexByte(r.target, '?')+1:])
		if !strings.Contains(r.target, "?") {
			return nil
		}
		for _, name := range queryNames {
			ids = append(ids, values[name]...)
		}
		return ids
	},
	"pairs are decoded before they are cut": func(r request) (ids []string) {
		for pair := range strings.SplitSeq(r.query(), "&") {
			pair, err := url.QueryUnescape(pair)
			if err != nil {
				continue
			}
			name, value, _ := strings.Cut(pair, "=")
			for _, known := range queryNames {
				if strings.EqualFold(name, known) {
					ids = append(ids, value)
				}
			}
		}
		return ids
	},
	"a pair is split at every equals sign": func(r request) (ids []string) {
		for pair := range strings.SplitSeq(r.query(), "&") {
			parts := strings.Split(pair, "=")
			name, err := url.QueryUnescape(parts[0])
			if err != nil || len(parts) < 2 {
				continue
			}
			for _, known := range queryNames {
				if value, err := url.QueryUnescape(parts[1]); err == nil && name == known {
					ids = append(ids, value)
				}
			}
		}
		return ids
	},
	"id:signature behind a space": func(r request) (ids []string) {
		for _, v := range r.values("Authorization") {
			fields := strings.Split(v, " ")
			if len(fields) != 2 || !isFamily(fields[0]) {
				continue
			}
			if parts := strings.Split(fields[1], ":"); len(parts) == 2 {
				ids = append(ids, parts[0], beforeScope(parts[0]))
			}
		}
		return ids
	},
	"id:signature in any white space, cut from the right": func(r request) (ids []string) {
		for _, v := range r.values("Authorization") {
			fields := strings.Fields(v)
			if len(fields) != 2 || !isFamily(fields[0]) {
				continue
			}
			if i := strings.LastIndexByte(fields[1], ':'); i >= 0 {
				ids = append(ids, fields[1][:i])
			}
		}
		return ids
	},
	"white space removed, Credential first of three": func(r request) (ids []string) {
		for _, v := range r.values("Authorization") {
			v = strings.ReplaceAll(v, " ", "")
			v, ok := strings.CutPrefix(v, "AWS4-HMAC-SHA256")
			fields := strings.Split(v, ",")
			if !ok || len(fields) != 3 {
				continue
			}
			if v, ok = strings.CutPrefix(fields[0], "Credential="); ok {
				if parts := strings.Split(v, "/"); len(parts) >= 5 {
					ids = append(ids, strings.Join(parts[:len(parts)-4], "/"))
				}
			}
		}
		return ids
	},
	"parameters at commas": func(r request) (ids []string) {
		return parametersIn(r, func(s string) []string { return strings.Split(s, ",") }, "=")
	},
	"parameters at commas and white space": func(r request) (ids []string) {
		return parametersIn(r, func(s string) []string {
			return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' })
		}, "=")
	},
	"parameters at semicolons, too": func(r request) (ids []string) {
		return parametersIn(r, func(s string) []string {
			return strings.FieldsFunc(s, func(c rune) bool { return c == ',' || c == ';' })
		}, "=")
	},
	"parameters with colons": func(r request) (ids []string) {
		return parametersIn(r, func(s string) []string { return strings.Split(s, ",") }, ":")
	},
	"a header of its own": func(r request) (ids []string) {
		for _, name := range []string{"x-ots-accesskeyid", "x-acs-accesskey-id"} {
			for _, v := range r.values(name) {
				ids = append(ids, strings.TrimSpace(v))
			}
		}
		return ids
	},
	"a header of its own, as a CGI variable": func(r request) (ids []string) {
		for _, h := range r.headers {
			switch strings.ToUpper(strings.ReplaceAll(h.Name, "-", "_")) {
			case "X_OTS_ACCESSKEYID", "X_ACS_ACCESSKEY_ID":
				ids = append(ids, h.Value)
			}
		}
		return ids
	},
}

func isFamily(word string) bool {
	for _, family := range []string{"acs", "OSS", "LOG", "MNS", "ODPS", "DATAHUB", "FC", "AWS"} {
		if strings.EqualFold(word, family) {
			return true
		}
	}
	return false
}

// parametersIn reads the parameter that holds the id from values that start
// with the word of a newer scheme.
func parametersIn(r request, split func(string) []string, equals string) (ids []string) {
	for _, v := range r.values("Authorization") {
		for word, name := range map[string]string{
			"ACS3-HMAC-SHA256": "Credential", "ACS4-HMAC-SHA256": "Credential", "OSS2": "AccessKeyId", "OSS4-HMAC-SHA256": "Credential",
			"SLS4-HMAC-SHA256": "Credential", "MNS4-HMAC-SHA256": "Credential", "AWS4-HMAC-SHA256": "Credential",
		} {
			rest, ok := strings.CutPrefix(v, word+" ")
			if !ok {
				continue
			}
			for _, parameter := range split(rest) {
				key, value, _ := strings.Cut(parameter, equals)
				if strings.EqualFold(strings.TrimSpace(key), name) {
					ids = append(ids, strings.TrimSpace(value), beforeScope(strings.TrimSpace(value)))
				}
			}
		}
	}
	return ids
}

// requireNothingOverlooked checks an answer of Find against every reader.
func requireNothingOverlooked(t *testing.T, r request) {
	claim, outcome := credential.Find(r.target, r.headers)
	if outcome != credential.None && outcome != credential.One {
		return // refused
	}
	for name, read := range readers {
		for _, id := range read(r) {
			if !abi.ValidID(id) {
				continue // no service knows it
			}
			require.Equal(t, credential.One, outcome, "a service (%s) reads %q in %q", name, id, r)
			require.Equal(t, claim.AccessKeyID, id, "a service (%s) reads another id in %q", name, r)
		}
	}
}

func TestNoServiceReadsAnIdThatFindOverlooks(t *testing.T) {
	read := map[string]bool{} // which readers have found something at all
	check := func(r request) {
		requireNothingOverlooked(t, r)
		for name, reader := range readers {
			for _, id := range reader(r) {
				read[name] = read[name] || abi.ValidID(id)
			}
		}
	}
	for _, s := range samples {
		target, headers := s.parse()
		check(request{target, headers})
	}
	for _, c := range slices.Concat(attacks, disguises) {
		var headers []abi.HTTPHeader
		for _, line := range c.headers {
			name, value, _ := strings.Cut(expand(line), ": ")
			headers = append(headers, abi.HTTPHeader{Name: name, Value: value})
		}
		check(request{expand(c.target), headers})
	}
	for name := range readers {
		require.True(t, read[name], "the reader %q read nothing in any request: it proves nothing", name)
	}
}
