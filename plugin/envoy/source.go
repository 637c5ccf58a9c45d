package main

import (
	"net/netip"
	"strings"

	"github.com/keymoat/keymoat/abi"
)

// source is the address that a request comes from, as Envoy sees it.
type source struct {
	ip   netip.Addr // not valid if it cannot be read
	seen string     // as Envoy wrote it
	// direct says that it is the peer of the connection. What Envoy takes from
	// X-Forwarded-For has port 0, as no connection has.
	direct bool
}

// parseSource reads an address with its port: 192.0.2.1:80 or [2001:db8::1]:80.
func parseSource(s string) source {
	colon := strings.LastIndexByte(s, ':')
	if colon < 0 {
		return source{seen: s}
	}
	host, port := s[:colon], s[colon+1:]
	if n := len(host); n > 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	return source{ip: abi.ParseSource(host), seen: host, direct: port != "" && port != "0"}
}

// parsePeer reads an address with or without a port.
func parsePeer(s string) netip.Addr {
	if ip := abi.ParseSource(s); ip.IsValid() {
		return ip
	}
	return parseSource(s).ip
}
