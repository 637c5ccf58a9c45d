package credential

import "strconv"

// Claim is one key id and where the request names it.
type Claim struct {
	AccessKeyID string
	Scheme      Scheme
	Place       Place
}

// before orders claims, so that of two equal ids the same one is reported
// whatever the order of the headers.
func (c Claim) before(other Claim) bool {
	if c.Place != other.Place {
		return c.Place < other.Place
	}
	return c.Scheme < other.Scheme
}

// Outcome says how many key ids a request claims. Only None and One are
// answers to go on with; the zero value is a refusal.
type Outcome uint8

// The outcomes.
const (
	Unreadable Outcome = 0 // a place that carries a key id cannot be read for sure
	Ambiguous  Outcome = 1 // two different key ids
	None       Outcome = 2 // no key id
	One        Outcome = 3 // one key id, in one or more places
)

var outcomeNames = [...]string{Unreadable: "Unreadable", Ambiguous: "Ambiguous", None: "None", One: "One"}

func (o Outcome) String() string {
	if int(o) < len(outcomeNames) {
		return outcomeNames[o]
	}
	return unknown("Outcome", uint8(o))
}

// Scheme is the way of signing that a claim belongs to.
type Scheme uint8

// The schemes. SchemeUnknown is a version, of a family of schemes known here,
// that is not, or a word that only some services take for that of a scheme: its
// claims are Unreadable.
const (
	SchemeUnknown Scheme = iota
	SchemeRPC            // Alibaba Cloud RPC
	SchemeACS            // Alibaba Cloud ROA
	SchemeACS3           // Alibaba Cloud V3
	SchemeACS4           // Alibaba Cloud V4
	SchemeOSS            // Object Storage Service V1
	SchemeOSS2           // Object Storage Service V2
	SchemeOSS4           // Object Storage Service V4
	SchemeLOG            // Simple Log Service V1
	SchemeSLS4           // Simple Log Service V4
	SchemeMNS            // Simple Message Queue, formerly MNS
	SchemeMNS4           // the same, V4
	SchemeOTS            // Tablestore
	SchemeODPS           // MaxCompute
	SchemeDataHub        // DataHub
	SchemeFC             // Function Compute
	SchemeAWS            // AWS Signature Version 2
	SchemeAWS4           // AWS Signature Version 4 and 4A
)

var schemeNames = [...]string{
	SchemeUnknown: "Unknown",
	SchemeRPC:     "RPC",
	SchemeACS:     "ACS",
	SchemeACS3:    "ACS3",
	SchemeACS4:    "ACS4",
	SchemeOSS:     "OSS",
	SchemeOSS2:    "OSS2",
	SchemeOSS4:    "OSS4",
	SchemeLOG:     "LOG",
	SchemeSLS4:    "SLS4",
	SchemeMNS:     "MNS",
	SchemeMNS4:    "MNS4",
	SchemeOTS:     "OTS",
	SchemeODPS:    "ODPS",
	SchemeDataHub: "DATAHUB",
	SchemeFC:      "FC",
	SchemeAWS:     "AWS",
	SchemeAWS4:    "AWS4",
}

// String returns the word that opens the Authorization header of the scheme,
// in upper case, or "RPC" or "OTS", which have none.
func (s Scheme) String() string {
	if int(s) < len(schemeNames) {
		return schemeNames[s]
	}
	return unknown("Scheme", uint8(s))
}

// Place is where a request names a key id: one header or one query parameter.
type Place uint8

// The places.
const (
	Nowhere               Place = iota
	HeaderAuthorization         // every scheme but RPC and OTS
	HeaderOTSAccessKeyID        // Tablestore
	HeaderACSAccessKeyID        // the SDKs repeat the id here beside a security token
	QueryAccessKeyID            // RPC, and MNS URLs
	QueryOSSAccessKeyID         // OSS V1 URLs
	QueryOSSAccessKeyIDV2       // OSS V2 URLs
	QueryOSSCredential          // OSS V4 URLs
	QueryAWSAccessKeyID         // AWS Signature Version 2 URLs
	QueryAmazonCredential       // AWS Signature Version 4 URLs
)

var places = [...]struct {
	name   string
	query  bool
	scheme Scheme // the scheme of a claim found there; Authorization names its own
}{
	Nowhere:               {"", false, SchemeUnknown},
	HeaderAuthorization:   {"authorization", false, SchemeUnknown},
	HeaderOTSAccessKeyID:  {"x-ots-accesskeyid", false, SchemeOTS},
	HeaderACSAccessKeyID:  {"x-acs-accesskey-id", false, SchemeACS3},
	QueryAccessKeyID:      {"AccessKeyId", true, SchemeRPC},
	QueryOSSAccessKeyID:   {"OSSAccessKeyId", true, SchemeOSS},
	QueryOSSAccessKeyIDV2: {"x-oss-access-key-id", true, SchemeOSS2},
	QueryOSSCredential:    {"x-oss-credential", true, SchemeOSS4},
	QueryAWSAccessKeyID:   {"AWSAccessKeyId", true, SchemeAWS},
	QueryAmazonCredential: {"X-Amz-Credential", true, SchemeAWS4},
}

// Name returns the name of the header, in lower case, or of the query
// parameter, as the cloud's documentation spells it.
func (p Place) Name() string {
	if int(p) < len(places) {
		return places[p].name
	}
	return ""
}

// InQuery reports whether the place is a query parameter.
func (p Place) InQuery() bool { return int(p) < len(places) && places[p].query }

// String returns the kind and the name, such as "header authorization".
func (p Place) String() string {
	switch {
	case p == Nowhere:
		return "nowhere"
	case int(p) >= len(places):
		return unknown("Place", uint8(p))
	case p.InQuery():
		return "query " + p.Name()
	default:
		return "header " + p.Name()
	}
}

func unknown(kind string, v uint8) string { return kind + "(" + strconv.Itoa(int(v)) + ")" }
