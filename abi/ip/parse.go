package ip

// parseError says what a text is not.
type parseError string

func (e parseError) Error() string { return string(e) }

const (
	errAddr   parseError = "is not an IPv4 or IPv6 address"
	errPrefix parseError = "is not an IPv4 or IPv6 address or CIDR block"
	errMapped parseError = "is wider than the IPv4-mapped addresses; write it as an IPv4 block, or as an IPv6 block that does not begin with ::ffff:"
)

// ParseAddr reads an address: four decimal numbers without leading zeros, or an
// IPv6 address of RFC 4291. Zones, ports and surrounding space are errors.
func ParseAddr(s string) (Addr, error) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '.':
			if v, ok := parseIPv4(s); ok {
				return Addr{hi: uint64(v) << 32, size: sizeIPv4}, nil
			}
			return Addr{}, errAddr
		case ':':
			if a, ok := parseIPv6(s); ok {
				return a, nil
			}
			return Addr{}, errAddr
		}
	}
	return Addr{}, errAddr
}

// parseIPv4 reads four numbers with dots between.
func parseIPv4(s string) (v uint32, ok bool) {
	for octet := range 4 {
		if octet > 0 {
			if s == "" || s[0] != '.' {
				return 0, false
			}
			s = s[1:]
		}
		n, digits := uint32(0), 0
		for digits < len(s) && s[digits]-'0' <= 9 {
			n = n*10 + uint32(s[digits]-'0')
			if digits++; n > 255 || digits > 1 && s[0] == '0' {
				return 0, false
			}
		}
		if digits == 0 {
			return 0, false
		}
		v, s = v<<8|n, s[digits:]
	}
	return v, s == ""
}

// parseIPv6 reads eight groups, of which :: leaves out one or more, and the
// last two of which may be written as an IPv4 address.
func parseIPv6(s string) (a Addr, ok bool) {
	var groups [8]uint16
	n, gap := 0, -1 // groups read, and how many of them stand before the ::
	if len(s) >= 2 && s[:2] == "::" {
		gap, s = 0, s[2:]
	}
	for s != "" {
		if n == 8 {
			return Addr{}, false
		}
		v, digits := uint32(0), 0
		for digits < len(s) && digits < 5 {
			d, isHex := hexDigit(s[digits])
			if !isHex {
				break
			}
			v, digits = v<<4|uint32(d), digits+1
		}
		if digits < len(s) && s[digits] == '.' {
			v4, isIPv4 := parseIPv4(s)
			if !isIPv4 || n > 6 || gap < 0 && n != 6 {
				return Addr{}, false
			}
			groups[n], groups[n+1], n = uint16(v4>>16), uint16(v4), n+2
			break
		}
		if digits == 0 || digits > 4 {
			return Addr{}, false
		}
		groups[n], n, s = uint16(v), n+1, s[digits:]
		if s == "" {
			break
		}
		if s[0] != ':' || len(s) == 1 {
			return Addr{}, false
		}
		if s = s[1:]; s[0] == ':' {
			if gap >= 0 {
				return Addr{}, false
			}
			gap, s = n, s[1:]
		}
	}
	if gap < 0 && n != 8 || gap >= 0 && n == 8 {
		return Addr{}, false
	}
	if gap < 0 {
		gap = n
	}
	copy(groups[8-(n-gap):], groups[gap:n])
	clear(groups[gap : 8-(n-gap)])
	a.size = sizeIPv6
	for i := range 4 {
		a.hi, a.lo = a.hi<<16|uint64(groups[i]), a.lo<<16|uint64(groups[4+i])
	}
	return a, true
}

func hexDigit(c byte) (digit byte, ok bool) {
	switch {
	case c-'0' <= 9:
		return c - '0', true
	case c|0x20 >= 'a' && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10, true
	}
	return 0, false
}
