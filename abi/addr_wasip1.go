package abi

import "github.com/keymoat/keymoat/abi/ip"

// Addr and Prefix are those of package net/netip in hosts, see addr.go.
type (
	Addr   = ip.Addr
	Prefix = ip.Prefix
)

func addrFrom4(b [4]byte) Addr         { return ip.AddrFrom4(b) }
func addrFrom16(b [16]byte) Addr       { return ip.AddrFrom16(b) }
func parseAddr(s string) (Addr, error) { return ip.ParseAddr(s) }
