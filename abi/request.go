package abi

import "unsafe"

// Request is one call to be judged. An empty string is an absent field; only
// AccessKeyID and SourceIP are required.
type Request struct {
	AccessKeyID string `json:"AccessKeyId"`
	SourceIP    Addr   `json:"SourceIp"`
	VPCID       string `json:"VpcId,omitempty"`
	AccountID   string `json:"AccountId,omitempty"`
	Service     string `json:"Service,omitempty"`
	Action      string `json:"Action,omitempty"`
	Protocol    string `json:"Protocol,omitempty"`
}

// Limits of a request, in bytes.
const (
	MaxAccessKeyID = 128 // and at least 1, of the letters that ValidID accepts
	MaxField       = 255 // any other string field
)

// The binary request is a header of RequestHeaderSize bytes and the strings
// behind it, without separators or padding:
//
//	0  u8      how the source address is given: one of the Source constants
//	1  u8      length of the source address as text (0 unless SourceText)
//	2  u8      length of AccessKeyId
//	3  u8      length of VpcId
//	4  u8      length of AccountId
//	5  u8      length of Service
//	6  u8      length of Action
//	7  u8      length of Protocol
//	8  u8[16]  the address in network order; an IPv4 address in the first four
//	24 …       AccessKeyId, VpcId, AccountId, Service, Action, Protocol, source text
const (
	RequestHeaderSize = 24
	MaxRequestSize    = RequestHeaderSize + MaxAccessKeyID + 6*MaxField
	RequestBufferSize = 2048 // what keymoat_request_buffer points to; holds any request
)

// How a binary request gives the source address. SourceText lets a host
// without an address parser leave the reading to the guest, so that all hosts
// read alike.
const (
	SourceNone = 0
	SourceText = 1
	SourceIPv4 = 4
	SourceIPv6 = 6
)

// PutRequest writes the binary form to the front of dst, which must hold
// MaxRequestSize bytes, and returns its length. It allocates nothing.
func PutRequest(dst []byte, r *Request) (int, Status) {
	if (len(r.VPCID) | len(r.AccountID) | len(r.Service) | len(r.Action) | len(r.Protocol)) > MaxField {
		return 0, StatusInvalidRequest
	}
	if len(r.AccessKeyID)-1 >= MaxAccessKeyID || len(r.AccessKeyID) == 0 {
		return 0, StatusInvalidAccessKeyID
	}
	if len(dst) < MaxRequestSize {
		return 0, StatusInvalidArgument
	}
	ip := r.SourceIP
	if ip.Is4In6() && ip.Zone() == "" { // Unmap would drop the zone, which is refused
		ip = ip.Unmap()
	}
	kind := uint64(SourceIPv6)
	switch {
	case ip.Is4():
		kind = SourceIPv4
		a := ip.As4()
		copy(dst[8:], a[:])
	case ip.Is6() && ip.Zone() == "":
		a := ip.As16()
		copy(dst[8:], a[:])
	default:
		return 0, StatusInvalidSourceIP
	}
	putHeader(dst, kind|
		uint64(len(r.AccessKeyID))<<16|uint64(len(r.VPCID))<<24|uint64(len(r.AccountID))<<32|
		uint64(len(r.Service))<<40|uint64(len(r.Action))<<48|uint64(len(r.Protocol))<<56)
	n := RequestHeaderSize
	n += copy(dst[n:], r.AccessKeyID)
	n += copy(dst[n:], r.VPCID)
	if len(r.AccountID)|len(r.Service)|len(r.Action)|len(r.Protocol) != 0 { // a copy of nothing takes as long as one of an id
		n += copy(dst[n:], r.AccountID)
		n += copy(dst[n:], r.Service)
		n += copy(dst[n:], r.Action)
		n += copy(dst[n:], r.Protocol)
	}
	return n, StatusOK
}

// putHeader writes eight bytes in a form that the compiler makes one store of:
// bytes written one by one would stall the guest, which reads them as a word.
func putHeader(dst []byte, h uint64) {
	_ = dst[7]
	dst[0], dst[1], dst[2], dst[3] = byte(h), byte(h>>8), byte(h>>16), byte(h>>24)
	dst[4], dst[5], dst[6], dst[7] = byte(h>>32), byte(h>>40), byte(h>>48), byte(h>>56)
}

// AppendRequest appends the binary form to b, which grows as needed.
func AppendRequest(b []byte, r *Request) ([]byte, Status) {
	at := len(b)
	if cap(b)-at < MaxRequestSize {
		b = append(make([]byte, 0, 2*cap(b)+MaxRequestSize), b...)
	}
	n, s := PutRequest(b[at:at+MaxRequestSize], r)
	return b[:at+n], s
}

// DecodeRequest reads one binary request from the front of b and returns it
// with its length, which is 0 if that cannot be known. The strings of the
// request alias b: they hold only as long as b does not change. A request with
// an unreadable address is returned with the zero Addr, for the evaluator to
// refuse.
func DecodeRequest(b []byte) (r Request, n int, s Status) {
	if len(b) < RequestHeaderSize {
		return Request{}, 0, StatusInvalidRequest
	}
	return decodeRequest(b, int(b[2]))
}

// decodeRequest reads a request whose AccessKeyId has keySize bytes.
func decodeRequest(b []byte, keySize int) (r Request, n int, s Status) {
	key := RequestHeaderSize + keySize
	vpc := key + int(b[3])
	account := vpc + int(b[4])
	service := account + int(b[5])
	action := service + int(b[6])
	protocol := action + int(b[7])
	n = protocol + int(b[1])
	if n > len(b) {
		return Request{}, 0, StatusInvalidRequest
	}
	text := unsafe.String(&b[0], n)
	r.AccessKeyID = text[RequestHeaderSize:key]
	r.VPCID = text[key:vpc]
	r.AccountID = text[vpc:account]
	r.Service = text[account:service]
	r.Action = text[service:action]
	r.Protocol = text[action:protocol]
	switch kind := b[0]; {
	case kind == SourceText:
		r.SourceIP = ParseSource(text[protocol:])
	case b[1] != 0: // a second address, and readers that differ on which one counts
		return Request{}, n, StatusInvalidRequest
	case kind == SourceIPv4 || kind == SourceIPv6:
		r.SourceIP = SourceAddr(kind, [16]byte(b[8:24]))
	case kind != SourceNone:
		return Request{}, n, StatusInvalidRequest
	}
	return r, n, StatusOK
}

// SourceAddr returns the source address of a binary request, of which kind is
// byte 0 and b the bytes from 8 to 23. It is the zero Addr for any other kind
// than SourceIPv4 and SourceIPv6.
func SourceAddr(kind uint8, b [16]byte) Addr {
	switch kind {
	case SourceIPv4:
		return addrFrom4([4]byte(b[:4]))
	case SourceIPv6:
		return addrFrom16(b).Unmap()
	}
	return Addr{}
}

// ParseSource reads a source address: IPv4 or IPv6, an IPv4-mapped one as the
// IPv4 address it maps. Zones, ports, leading zeros, surrounding space and
// host names make it unreadable, and the result the zero Addr.
func ParseSource(s string) Addr {
	ip, err := parseAddr(s)
	if err != nil || ip.Zone() != "" {
		return Addr{}
	}
	return ip.Unmap()
}

// ValidID reports whether s can be an AccessKey or account id: 1 to 128
// letters, digits and the marks that clouds and S3-compatible stores use.
func ValidID(s string) bool {
	if s == "" || len(s) > MaxAccessKeyID {
		return false
	}
	for i := 0; i < len(s); i++ {
		if !idByte[s[i]] {
			return false
		}
	}
	return true
}

// ValidVPCID reports whether s is the id of a VPC, as policies and hosts that
// read it off the wire take one: vpc- and 1 to 64 lower-case letters or digits.
func ValidVPCID(s string) bool {
	const prefix, most = "vpc-", 64
	if len(s) <= len(prefix) || len(s) > len(prefix)+most || s[:len(prefix)] != prefix {
		return false
	}
	for i := len(prefix); i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

var idByte = func() (t [256]bool) {
	for _, c := range "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._=-" {
		t[c] = true
	}
	return t
}()

// ShortID shortens a key id for logs, LTAI5t…0001, so that no log holds a whole one.
func ShortID(id string) string {
	const head, tail = 6, 4
	if len(id) < head+tail+2 {
		if len(id) <= 2 {
			return "…"
		}
		return id[:1] + "…"
	}
	return id[:head] + "…" + id[len(id)-tail:]
}
