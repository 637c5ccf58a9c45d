// Package ip has the IP addresses and blocks of the guest. It reads, writes and
// compares them exactly as package net/netip does for hosts; a fuzz target holds
// the one to the other. The guest has its own because netip brings package
// unique along, for zones that keymoat refuses: 118 kB of WebAssembly.
//
// Programs that embed keymoat use net/netip, and need nothing of this package.
package ip

// Addr is an IPv4 or IPv6 address without a zone. The zero Addr is none. Addrs
// are compared with ==; the IPv4-mapped form of an IPv4 address is another one.
type Addr struct {
	// The bits of the address, from the highest of hi on, so that prefixes of
	// both families are computed alike: an IPv4 address fills half of hi.
	hi, lo uint64
	size   uint8 // in bits: 32, 128, or 0
}

const (
	sizeIPv4 = 32
	sizeIPv6 = 128
)

// AddrFrom4 returns the IPv4 address of four bytes in network order.
func AddrFrom4(b [4]byte) Addr {
	return Addr{hi: uint64(b[0])<<56 | uint64(b[1])<<48 | uint64(b[2])<<40 | uint64(b[3])<<32, size: sizeIPv4}
}

// AddrFrom16 returns the IPv6 address of sixteen bytes in network order.
func AddrFrom16(b [16]byte) Addr {
	a := Addr{size: sizeIPv6}
	for i := range 8 {
		a.hi, a.lo = a.hi<<8|uint64(b[i]), a.lo<<8|uint64(b[8+i])
	}
	return a
}

// Halves returns the address in two words, from the highest bit of hi on: an
// IPv4 address is in the upper half of hi.
func (a Addr) Halves() (hi, lo uint64) { return a.hi, a.lo }

// IsValid reports whether a is an address at all.
func (a Addr) IsValid() bool { return a.size != 0 }

// Is4 reports whether a is an IPv4 address, which an IPv4-mapped one is not.
func (a Addr) Is4() bool { return a.size == sizeIPv4 }

// Is6 reports whether a is an IPv6 address.
func (a Addr) Is6() bool { return a.size == sizeIPv6 }

// Is4In6 reports whether a is an IPv4-mapped IPv6 address, ::ffff:0:0/96.
func (a Addr) Is4In6() bool { return a.Is6() && a.hi == 0 && a.lo>>32 == 0xffff }

// Unmap returns the IPv4 address that an IPv4-mapped one maps, and any other as it is.
func (a Addr) Unmap() Addr {
	if a.Is4In6() {
		return Addr{hi: a.lo << 32, size: sizeIPv4}
	}
	return a
}

// BitLen returns 32, 128, or 0 for the zero Addr.
func (a Addr) BitLen() int { return int(a.size) }

// Zone returns "": addresses with zones are not read.
func (Addr) Zone() string { return "" }

// As4 returns an IPv4 address in network order.
func (a Addr) As4() [4]byte {
	return [4]byte{byte(a.hi >> 56), byte(a.hi >> 48), byte(a.hi >> 40), byte(a.hi >> 32)}
}

// As16 returns an IPv6 address in network order.
func (a Addr) As16() (b [16]byte) {
	for i := range 8 {
		b[i], b[8+i] = byte(a.hi>>(56-8*i)), byte(a.lo>>(56-8*i))
	}
	return b
}

// group returns one of the eight groups that an IPv6 address is written in.
func (a Addr) group(i int) uint16 {
	if i < 4 {
		return uint16(a.hi >> (48 - 16*i))
	}
	return uint16(a.lo >> (112 - 16*i))
}

// String returns the address as RFC 5952 writes it: 192.0.2.1, 2001:db8::1,
// ::ffff:192.0.2.1.
func (a Addr) String() string { return string(a.append(nil)) }

func (a Addr) append(b []byte) []byte {
	switch {
	case !a.IsValid():
		return append(b, "invalid IP"...)
	case a.Is4In6():
		return a.Unmap().append(append(b, "::ffff:"...))
	case a.Is4():
		for i, octet := range a.As4() {
			if i > 0 {
				b = append(b, '.')
			}
			b = appendDecimal(b, uint64(octet))
		}
		return b
	}
	from, to := a.zeros()
	for i := 0; i < 8; i++ {
		if i == from {
			b = append(b, ':', ':')
			if i = to; i == 8 {
				break
			}
		} else if i > 0 {
			b = append(b, ':')
		}
		b = appendHex(b, a.group(i))
	}
	return b
}

// zeros returns the first of the longest runs of two or more groups that are
// zero, which :: stands for; from is -1 if there is none.
func (a Addr) zeros() (from, to int) {
	from, to = -1, 0
	for i := 0; i < 8; i++ {
		end := i
		for end < 8 && a.group(end) == 0 {
			end++
		}
		if end-i >= 2 && end-i > to-from {
			from, to = i, end
		}
		if end > i {
			i = end
		}
	}
	return from, to
}

func appendDecimal(b []byte, n uint64) []byte {
	if n >= 10 {
		b = appendDecimal(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

func appendHex(b []byte, group uint16) []byte {
	for shift := 12; shift >= 0; shift -= 4 {
		if digits := group >> shift; digits != 0 || shift == 0 {
			b = append(b, "0123456789abcdef"[digits&15])
		}
	}
	return b
}
