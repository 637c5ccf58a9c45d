//go:build !wasip1

package abi

import "net/netip"

// Addr and Prefix are those of package net/netip. In the guest they are those of
// package ip, which has the same methods without the 118 kB of WebAssembly that
// netip brings along.
type (
	Addr   = netip.Addr
	Prefix = netip.Prefix
)

func addrFrom4(b [4]byte) Addr         { return netip.AddrFrom4(b) }
func addrFrom16(b [16]byte) Addr       { return netip.AddrFrom16(b) }
func parseAddr(s string) (Addr, error) { return netip.ParseAddr(s) }
