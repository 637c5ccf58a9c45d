package ip

import "errors"

// Prefix is a block of addresses. The zero Prefix is none. Those that ParsePrefix
// and Addr.Prefix return have no host bits set.
type Prefix struct {
	addr Addr
	bits uint8
}

// hosts has a one for each bit behind a prefix of that length.
func hosts(bits uint8) (hi, lo uint64) {
	if bits < 64 {
		return ^uint64(0) >> bits, ^uint64(0)
	}
	return 0, ^uint64(0) >> (bits - 64)
}

var errBits = errors.New("an address has fewer bits than that prefix")

// Prefix returns the block of the addresses that begin with as many bits as a.
// The zero Addr gives the zero Prefix, as in package netip.
func (a Addr) Prefix(bits int) (Prefix, error) {
	if !a.IsValid() {
		return Prefix{}, nil
	}
	if bits < 0 || bits > a.BitLen() {
		return Prefix{}, errBits
	}
	hi, lo := hosts(uint8(bits))
	a.hi &^= hi
	a.lo &^= lo
	return Prefix{a, uint8(bits)}, nil
}

// ParsePrefix reads an entry of an IPList: an address, or a CIDR block. An
// IPv4-mapped one is the IPv4 one it maps. Masked reports that host bits were
// set.
func ParsePrefix(s string) (p Prefix, masked bool, err error) {
	text, length, isBlock := s, "", false
	for i := 0; i < len(s); i++ {
		if s[i] == '/' {
			text, length, isBlock = s[:i], s[i+1:], true
			break
		}
	}
	a, err := ParseAddr(text)
	if err != nil {
		return Prefix{}, false, errPrefix
	}
	bits := a.BitLen()
	if isBlock {
		var ok bool
		if bits, ok = parseLength(length, bits); !ok {
			return Prefix{}, false, errPrefix
		}
	}
	if a.Is4In6() {
		if bits -= sizeIPv6 - sizeIPv4; bits < 0 {
			return Prefix{}, false, errMapped
		}
		a = a.Unmap()
	}
	p, err = a.Prefix(bits)
	return p, p.addr != a, err
}

// parseLength reads the length of a prefix: digits, no zero in front.
func parseLength(s string, most int) (n int, ok bool) {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' || n > most || s[0] == '0' && i > 0 {
			return 0, false
		}
		n = 10*n + int(s[i]-'0')
	}
	return n, s != "" && n <= most
}

// IsValid reports whether p is a block at all.
func (p Prefix) IsValid() bool { return p.addr.IsValid() }

// Addr returns the first address of the block.
func (p Prefix) Addr() Addr { return p.addr }

// Bits returns the length of the prefix.
func (p Prefix) Bits() int { return int(p.bits) }

// Next returns the address behind the block, the zero Addr if there is none.
func (p Prefix) Next() Addr {
	hi, lo := hosts(p.bits)
	a := p.addr
	a.hi |= hi
	if a.lo = (a.lo | lo) + 1; a.lo == 0 {
		if a.hi++; a.hi == 0 {
			return Addr{}
		}
	}
	return a
}

// Before orders blocks: IPv4 first, then by address, and of two that begin
// alike the wider one first.
func (p Prefix) Before(q Prefix) bool {
	switch {
	case p.addr.size != q.addr.size:
		return p.addr.size < q.addr.size
	case p.addr.hi != q.addr.hi:
		return p.addr.hi < q.addr.hi
	case p.addr.lo != q.addr.lo:
		return p.addr.lo < q.addr.lo
	}
	return p.bits < q.bits
}

// Holds reports whether all of q lies in p.
func (p Prefix) Holds(q Prefix) bool { return p.bits <= q.bits && p.Contains(q.addr) }

// Contains reports whether a lies in p.
func (p Prefix) Contains(a Addr) bool {
	hi, lo := hosts(p.bits)
	return p.IsValid() && p.addr.size == a.size && a.hi&^hi == p.addr.hi && a.lo&^lo == p.addr.lo
}

// String returns the block as an address, a slash and the length of the prefix.
func (p Prefix) String() string {
	if !p.IsValid() {
		return "invalid Prefix"
	}
	return string(appendDecimal(append(p.addr.append(nil), '/'), uint64(p.bits)))
}
