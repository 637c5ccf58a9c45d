package policy

import (
	"net/netip"

	"github.com/keymoat/keymoat/abi"
)

// set is a policy set that has been read and found valid. Strings may alias
// the document.
type set struct {
	accounts   []account
	keys       []accessKey
	exemptions []exemption
}

type account struct {
	id     string  // a zero byte for the account of a bare access key policy
	policy *policy // nil for none
}

type accessKey struct {
	id      string
	account int // index in set.accounts
	policy  *policy
}

// policy is an access key policy.
type policy struct {
	state      uint8 // as in the image
	statements []statement

	at uint32 // offset in the image, set by the builder
}

type statement struct {
	vpc  string // empty for the public network, or a VPC id, or AllowAllVPC
	list *entryList
}

// entryList is the content of an IPList. Statements whose IPList has the same
// text share one: most keys of a large set share a few lists, and none is read
// or built twice.
type entryList struct {
	entries []netip.Prefix // masked, IPv4-mapped ones unmapped
	places  []int32        // where each entry stands, see place

	errors, warnings findings // pointers count from the IPList
	private          int      // number of private entries, doubtful in a public statement alone

	placed bool   // set by the builder
	at     uint32 // offset among the lists, set by the builder
}

type exemption struct {
	service, action, protocol string // empty action or protocol: any
}

// builtinExemptions are the services on which the policies have no effect
// (the seed's note under "Important"), under the names that the clouds' APIs
// and audit records give them.
func builtinExemptions() []exemption {
	var all []exemption
	for _, service := range []string{
		"RocketMQ", "Ons", "MQ", // ApsaraMQ for RocketMQ
		"RabbitMQ", "amqp-open", // ApsaraMQ for RabbitMQ
		"MQTT", "OnsMqtt", // ApsaraMQ for MQTT
		"EventBridge",
		"SMQ", "MNS", "MNS-open", "SimpleMessageQueue", // Simple Message Queue, formerly MNS
		"Hologres", "Hologram",
	} {
		all = append(all, exemption{service: service})
	}
	// CloudMonitor only where it reports event monitoring data over HTTP.
	for _, service := range []string{"Cms", "CloudMonitor"} {
		all = append(all, exemption{service, "PutCustomEvent", "HTTP"})
	}
	return all
}

// isPrivate reports whether the whole block lies in addresses that no public
// call can come from.
func isPrivate(p netip.Prefix) bool {
	for _, block := range privateBlocks {
		if holds(block, p) {
			return true
		}
	}
	return false
}

var privateBlocks = prefixes(
	"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", // RFC 1918
	"100.64.0.0/10",          // RFC 6598, shared by carriers
	"127.0.0.0/8", "::1/128", // loopback
	"169.254.0.0/16", "fe80::/10", // link-local
	"fc00::/7", // RFC 4193, unique local
)

func prefixes(texts ...string) (all []netip.Prefix) {
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// validVPC reports whether s is the id of a VPC.
func validVPC(s string) bool {
	const prefix, most = "vpc-", 64
	if len(s) <= len(prefix) || len(s) > len(prefix)+most || s[:len(prefix)] != prefix {
		return false
	}
	for i := len(prefix); i < len(s); i++ {
		if c := s[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// parseEntry reads an address or a CIDR block. Masked reports that host bits
// were set; problem says why the entry cannot be read, or is "".
func parseEntry(s string) (p netip.Prefix, masked bool, problem string) {
	slash := -1
	for i := 0; i < len(s); i++ {
		if s[i] == '/' {
			slash = i
			break
		}
	}
	if slash < 0 {
		ip := abi.ParseSource(s)
		if !ip.IsValid() {
			return p, false, "is not an IPv4 or IPv6 address or CIDR block"
		}
		return netip.PrefixFrom(ip, ip.BitLen()), false, ""
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return p, false, "is not an IPv4 or IPv6 address or CIDR block"
	}
	if p.Addr().Is4In6() {
		if p.Bits() < 96 {
			return p, false, "is wider than the IPv4-mapped addresses; write it as an IPv4 block, or as an IPv6 block that does not begin with ::ffff:"
		}
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	whole := p.Masked()
	return whole, whole != p, ""
}
