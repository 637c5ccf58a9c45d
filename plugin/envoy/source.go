package main

import (
	"strings"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
)

// sourcePath is where Envoy tells the address that a request comes from. Which
// that is follows from use_remote_address and xff_num_trusted_hops.
const sourcePath = "source\x00address"

// source is the address that a request comes from, as Envoy sees it.
type source struct {
	seen string // without the port, as Envoy wrote it; as IPv4 if it is that in the form of IPv6
	kind uint8  // abi.SourceIPv4, abi.SourceIPv6, or abi.SourceNone if it cannot be read
	ip   [16]byte
	// direct says that it is the peer of the connection. What Envoy takes from
	// X-Forwarded-For has port 0, as no connection has.
	direct bool
}

// parse reads an address with its port: 192.0.2.1:80 or [2001:db8::1]:80.
func (s *source) parse(text string) {
	if s.parseIPv4(text) {
		return
	}
	host, port := text, ""
	if colon := strings.LastIndexByte(text, ':'); colon >= 0 {
		host, port = text[:colon], text[colon+1:]
	}
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	s.seen, s.direct = host, isPort(port)
	if port == "" {
		return
	}
	a, _ := ip.ParseAddr(host)
	if a.Is4In6() {
		a = a.Unmap()
		s.seen = a.String()
	}
	s.set(a)
}

// parseIPv4 reads what nearly every request has, in one pass and little code.
// Whatever it does not take is left to parse.
func (s *source) parseIPv4(text string) bool {
	const unread = 256 // no digit of this octet yet
	dots, octet := 0, unread
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case '0' <= c && c <= '9' && octet != 0: // no digit follows a leading zero
			if octet == unread {
				octet = 0
			}
			if octet = octet*10 + int(c-'0'); octet >= unread {
				return false
			}
		case c == '.' && octet != unread && dots < 3:
			s.ip[dots] = byte(octet)
			dots, octet = dots+1, unread
		case c == ':' && octet != unread && dots == 3 && i+1 < len(text):
			s.ip[3] = byte(octet)
			s.seen, s.kind, s.direct = text[:i], abi.SourceIPv4, isPort(text[i+1:])
			return true
		default:
			return false
		}
	}
	return false
}

func isPort(port string) bool { return port != "" && port != "0" }

func (s *source) set(a ip.Addr) {
	switch {
	case a.Is4():
		b := a.As4()
		s.kind = abi.SourceIPv4
		copy(s.ip[:], b[:])
	case a.Is6():
		s.kind, s.ip = abi.SourceIPv6, a.As16()
	default:
		s.kind = abi.SourceNone
	}
}

// addr is the address as requests hold it, not valid if it cannot be read.
func (s *source) addr() abi.Addr { return abi.SourceAddr(s.kind, s.ip) }

// peer is the address as it is looked for in blocks.
func (s *source) peer() ip.Addr {
	switch s.kind {
	case abi.SourceIPv4:
		return ip.AddrFrom4([4]byte(s.ip[:4]))
	case abi.SourceIPv6:
		return ip.AddrFrom16(s.ip)
	}
	return ip.Addr{}
}

// parseSource reads an address; the zero Addr stands for one that cannot be read.
func parseSource(text string) ip.Addr {
	a, _ := ip.ParseAddr(text)
	return a.Unmap()
}

// parsePeer reads an address with or without a port.
func parsePeer(text string) ip.Addr {
	if a := parseSource(text); a.IsValid() {
		return a
	}
	var s source
	s.parse(text)
	return s.peer()
}
