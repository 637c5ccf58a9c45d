package workload

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/keymoat/keymoat/abi"
)

// portion is a share of a list: so many blocks of one size.
type portion struct {
	count int
	ipv6  bool
	bits  int
}

var (
	publicShape = []portion{{30, false, 32}, {8, false, 28}, {5, false, 24}, {2, false, 20}, {2, true, 128}, {2, true, 64}, {1, true, 48}}
	vpcShape    = []portion{{25, false, 32}, {12, false, 28}, {8, false, 24}, {2, true, 128}, {3, true, 64}}
)

var (
	allIPv4       = netip.MustParsePrefix("0.0.0.0/0")
	globalUnicast = netip.MustParsePrefix("2000::/3")

	// A VPC takes its addresses from one of these.
	privateIPv4 = []netip.Prefix{
		netip.MustParsePrefix("10.0.0.0/8"),
		netip.MustParsePrefix("172.16.0.0/12"),
		netip.MustParsePrefix("192.168.0.0/16"),
	}
	notPublic = append([]netip.Prefix{
		netip.MustParsePrefix("0.0.0.0/8"),
		netip.MustParsePrefix("100.64.0.0/10"),
		netip.MustParsePrefix("127.0.0.0/8"),
		netip.MustParsePrefix("169.254.0.0/16"),
		netip.MustParsePrefix("224.0.0.0/3"),
	}, privateIPv4...)
)

func publicList(r *rand.Rand) []netip.Prefix {
	return list(r, publicShape, allIPv4, globalUnicast, notPublic)
}

func vpcList(r *rand.Rand) []netip.Prefix {
	ipv4 := blockIn(r, privateIPv4[r.IntN(len(privateIPv4))], 16)
	ipv6 := blockIn(r, globalUnicast, 56)
	return list(r, vpcShape, ipv4, ipv6, nil)
}

// list draws blocks that overlap neither each other nor those to avoid.
func list(r *rand.Rand, shape []portion, ipv4, ipv6 netip.Prefix, avoid []netip.Prefix) []netip.Prefix {
	entries := make([]netip.Prefix, 0, abi.MaxEntries)
	for _, p := range shape {
		within := ipv4
		if p.ipv6 {
			within = ipv6
		}
		for wanted := len(entries) + p.count; len(entries) < wanted; {
			if block := blockIn(r, within, p.bits); !overlaps(block, entries) && !overlaps(block, avoid) {
				entries = append(entries, block)
			}
		}
	}
	r.Shuffle(len(entries), func(i, j int) { entries[i], entries[j] = entries[j], entries[i] })
	return entries
}

func overlaps(block netip.Prefix, blocks []netip.Prefix) bool {
	return slices.ContainsFunc(blocks, block.Overlaps)
}

func contains(blocks []netip.Prefix, ip netip.Addr) bool {
	return slices.ContainsFunc(blocks, func(b netip.Prefix) bool { return b.Contains(ip) })
}

func blockIn(r *rand.Rand, within netip.Prefix, bits int) netip.Prefix {
	return netip.PrefixFrom(addressIn(r, within), bits).Masked()
}

// addressIn draws every bit of an address behind the block's own.
func addressIn(r *rand.Rand, block netip.Prefix) netip.Addr {
	b := block.Addr().AsSlice()
	for i := range b {
		fixed := min(max(block.Bits()-8*i, 0), 8)
		host := byte(0xff >> fixed)
		b[i] = b[i]&^host | byte(r.Uint32())&host
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}
