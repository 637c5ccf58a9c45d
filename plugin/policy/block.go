package policy

import (
	"net/netip"
	"strings"
)

// address is an IP address, an IPv4 one in the upper half of hi. Computing with
// these is the same for both families, and takes a third of the code that it
// takes with the addresses of package netip.
type address struct{ hi, lo uint64 }

// next returns the address behind a, or the lowest if a is the highest.
func (a address) next() address {
	if a.lo++; a.lo == 0 {
		a.hi++
	}
	return a
}

// block is an entry of an IPList.
type block struct {
	first address
	bits  uint8 // length of the prefix
	ipv4  bool
}

// hosts has a one for each bit behind a prefix of that length.
func hosts(bits uint8) address {
	if bits < 64 {
		return address{^uint64(0) >> bits, ^uint64(0)}
	}
	return address{0, ^uint64(0) >> (bits - 64)}
}

// last returns the highest address of the block.
func (b block) last() address {
	h := hosts(b.bits)
	return address{b.first.hi | h.hi, b.first.lo | h.lo}
}

// before orders blocks: IPv4 first, then by address, and of two that begin
// alike the wider one first.
func (b block) before(c block) bool {
	switch {
	case b.ipv4 != c.ipv4:
		return b.ipv4
	case b.first.hi != c.first.hi:
		return b.first.hi < c.first.hi
	case b.first.lo != c.first.lo:
		return b.first.lo < c.first.lo
	}
	return b.bits < c.bits
}

// holds reports whether all of c lies in b.
func (b block) holds(c block) bool {
	h := hosts(b.bits)
	return b.ipv4 == c.ipv4 && b.bits <= c.bits && c.first.hi&^h.hi == b.first.hi && c.first.lo&^h.lo == b.first.lo
}

func (b block) String() string {
	ip := netip.AddrFrom4([4]byte{byte(b.first.hi >> 56), byte(b.first.hi >> 48), byte(b.first.hi >> 40), byte(b.first.hi >> 32)})
	if !b.ipv4 {
		var bytes [16]byte
		for i := range 8 {
			bytes[i], bytes[8+i] = byte(b.first.hi>>(56-8*i)), byte(b.first.lo>>(56-8*i))
		}
		ip = netip.AddrFrom16(bytes)
	}
	return netip.PrefixFrom(ip, int(b.bits)).String()
}

// parseEntry reads an address or a CIDR block. Masked reports that host bits
// were set; problem says why the entry cannot be read, or is "".
func parseEntry(s string) (b block, masked bool, problem string) {
	text, length, isBlock := strings.Cut(s, "/")
	ip, err := netip.ParseAddr(text)
	bits, ok := ip.BitLen(), true
	if isBlock {
		bits, ok = parseLength(length, bits)
	}
	switch {
	case err != nil || ip.Zone() != "" || !ok:
		return b, false, "is not an IPv4 or IPv6 address or CIDR block"
	case ip.Is4In6() && bits < 96:
		return b, false, "is wider than the IPv4-mapped addresses; write it as an IPv4 block, or as an IPv6 block that does not begin with ::ffff:"
	}
	bytes := ip.As16()
	b.first = address{be64(bytes[:8]), be64(bytes[8:])}
	if b.ipv4 = ip.Unmap().Is4(); b.ipv4 {
		b.first = address{hi: b.first.lo << 32}
		bits -= ip.BitLen() - 32
	}
	b.bits = uint8(bits)
	given, h := b.first, hosts(b.bits)
	b.first.hi &^= h.hi
	b.first.lo &^= h.lo
	return b, b.first != given, ""
}

// parseLength reads the length of a prefix: digits, no zero in front. Package
// netip reads blocks too, with 17 kB of what strconv has for errors.
func parseLength(s string, most int) (n int, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || n > most || s[0] == '0' && i > 0 {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, s != "" && n <= most
}

// anyHolds reports whether one of the blocks holds all of c.
//
//go:noinline
func anyHolds(all []block, c block) bool {
	for _, b := range all {
		if b.holds(c) {
			return true
		}
	}
	return false
}

// privateBlocks are the addresses that no public call can come from.
var privateBlocks = blocks(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"100.64.0.0/10",          // RFC 6598, shared by carriers
	"127.0.0.0/8", "::1/128", // loopback
	"169.254.0.0/16", "fe80::/10", // link-local
	"fc00::/7", // RFC 4193, unique local
)

func blocks(entries ...string) []block {
	all := make([]block, len(entries))
	for i, entry := range entries {
		all[i], _, _ = parseEntry(entry)
	}
	return all
}
