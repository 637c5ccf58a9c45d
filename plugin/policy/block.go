package policy

import "github.com/keymoat/keymoat/abi/ip"

// anyHolds reports whether one of the blocks holds all of p.
//
//go:noinline
func anyHolds(all []ip.Prefix, p ip.Prefix) bool {
	for _, b := range all {
		if b.Holds(p) {
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

func blocks(entries ...string) []ip.Prefix {
	all := make([]ip.Prefix, len(entries))
	for i, entry := range entries {
		all[i], _, _ = ip.ParsePrefix(entry)
	}
	return all
}
