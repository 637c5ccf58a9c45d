package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const inside = "192.168.3.4:51234" // listed for vpc

func TestTheVPCIDOfATLV(t *testing.T) {
	const path = tlvPath + "vpc_id"
	tests := []struct {
		name, value string
		counter     string
	}{
		{"a VPC that is listed", "\x01" + vpc, "decision.Allow.Matched.AccessKey"},
		{"a VPC that is not listed", "\x01vpc-other", "decision.Deny.VPCNotListed.AccessKey"},
		{"another subtype: an endpoint", "\x02ep-m5e1234", "error.InvalidVpcId"},
		{"another subtype with what looks like a VPC", "\x02" + vpc, "error.InvalidVpcId"},
		{"no subtype", vpc, "error.InvalidVpcId"},
		{"empty", "", "error.InvalidVpcId"},
		{"a subtype and nothing", "\x01", "error.InvalidVpcId"},
		{"a prefix and nothing", "\x01vpc-", "error.InvalidVpcId"},
		{"something in front", "\x01 " + vpc, "error.InvalidVpcId"},
		{"something behind", "\x01" + vpc + "\x00", "error.InvalidVpcId"},
		{"upper case", "\x01" + strings.ToUpper(vpc), "error.InvalidVpcId"},
		{"bytes that were no UTF-8", "\x01vpc-m5e!!", "error.InvalidVpcId"},
		{"the word for any VPC", "\x01AllowAllVPC", "error.InvalidVpcId"},
		{"too long", "\x01vpc-" + strings.Repeat("a", 65), "error.InvalidVpcId"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newVisit(t, configuration(`"vpc_id":{"from":"proxy_protocol_tlv","key":"vpc_id"}`))
			v.properties[sourcePath], v.properties[path] = inside, test.value
			require.Equal(t, strings.Contains(test.counter, "Allow"), v.send())
			require.Equal(t, map[string]int{"keymoat." + test.counter: 1}, v.counted())
		})
	}
	t.Run("no TLV: a public call", func(t *testing.T) {
		v := newVisit(t, configuration(`"vpc_id":{"from":"proxy_protocol_tlv","key":"vpc_id"}`))
		require.True(t, v.send())
		v.properties[sourcePath] = inside
		require.False(t, v.send(), "a VPC's address over the public network")
	})
	t.Run("Envoy cannot tell: refused", func(t *testing.T) {
		v := newVisit(t, configuration(`"vpc_id":{"from":"proxy_protocol_tlv","key":"vpc_id"}`))
		v.unknown[path] = true
		require.False(t, v.send())
		require.Equal(t, map[string]int{"keymoat.error.InvalidVpcId": 1}, v.counted())
	})
}

func TestAStaticVPC(t *testing.T) {
	v := newVisit(t, configuration(`"vpc_id":{"from":"static","value":"`+vpc+`"}`))
	v.properties[sourcePath] = inside
	require.True(t, v.send())
	v.properties[sourcePath] = listed // for the public network only
	require.False(t, v.send())
	require.Equal(t, vpc, v.body(t)["VpcId"])
}

func TestTheVPCHeaderIsBelievedFromTrustedPeersOnly(t *testing.T) {
	const trusting = `"vpc_id":{"from":"header","name":"X-VPC-Id","trusted_peers":["192.168.3.4","2001:db8:1::/48","127.0.0.0/8"]}`
	tests := []struct {
		name, source, peer string
		values             []string
		counter            string
		removed            bool
	}{
		{"from a trusted peer", inside, "", []string{vpc}, "decision.Allow.Matched.AccessKey", false},
		{"from a trusted peer over IPv6", "[2001:db8:1::1]:443", "", []string{"vpc-other"}, "decision.Deny.VPCNotListed.AccessKey", false},
		{"from a trusted peer, no VPC id", inside, "", []string{"vpc"}, "error.InvalidVpcId", false},
		{"from a trusted peer, empty", inside, "", []string{""}, "error.InvalidVpcId", false},
		{"from a trusted peer, twice", inside, "", []string{vpc, vpc}, "error.InvalidVpcId", false},
		{"from a trusted peer, two in one", inside, "", []string{vpc + "," + vpc}, "error.InvalidVpcId", false},
		{"from a trusted peer, none", listed, "", nil, "decision.Allow.Matched.AccessKey", false},
		{"from any other peer: a public call", "192.168.3.5:51234", "", []string{vpc}, "decision.Deny.SourceIPNotListed.AccessKey", true},
		{"from any other peer, listed for the public network", listed, "", []string{vpc}, "decision.Allow.Matched.AccessKey", true},
		{"from any other peer, several", listed, "", []string{vpc, vpc}, "decision.Allow.Matched.AccessKey", true},
		{"X-Forwarded-For names a trusted peer", "192.168.3.4:0", "", []string{vpc}, "decision.Deny.SourceIPNotListed.AccessKey", true},
		{"behind a trusted peer that Envoy names", "192.168.3.5:0", "127.0.0.1", []string{vpc}, "decision.Allow.Matched.AccessKey", false},
		{"behind a trusted peer, with a port", "192.168.3.5:0", "127.0.0.1:9000", []string{vpc}, "decision.Allow.Matched.AccessKey", false},
		{"behind a peer that is not trusted", "192.168.3.5:0", "192.0.2.1", []string{vpc}, "decision.Deny.SourceIPNotListed.AccessKey", true},
		{"behind something that is no address", "192.168.3.5:0", "-", []string{vpc}, "decision.Deny.SourceIPNotListed.AccessKey", true},
		{"from an address that cannot be read", "/pipe", "", []string{vpc}, "error.InvalidSourceIp", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			v := newVisit(t, configuration(trusting))
			v.properties[sourcePath] = test.source
			if test.peer != "" {
				v.properties[peerPath] = test.peer
			}
			for _, value := range test.values {
				v.header("x-vpc-id", value)
			}
			require.Equal(t, strings.Contains(test.counter, "Allow"), v.send())
			want := map[string]int{"keymoat." + test.counter: 1}
			if test.removed {
				want["keymoat.vpc_header_removed"] = 1
				require.Equal(t, []string{"x-vpc-id"}, slices.Compact(v.removed))
			}
			require.Equal(t, want, v.counted())
		})
	}
	t.Run("that cannot be removed: refused", func(t *testing.T) {
		v := newVisit(t, configuration(trusting))
		v.stuck = true
		v.header("x-vpc-id", vpc)
		require.False(t, v.send())
		require.Equal(t, map[string]int{"keymoat.error.Internal": 1}, v.counted())
	})
	t.Run("removed in report_only mode too", func(t *testing.T) {
		v := newVisit(t, configuration(trusting, `"mode":"report_only"`))
		v.header("x-vpc-id", vpc)
		require.True(t, v.send())
		require.Equal(t, []string{"x-vpc-id"}, v.removed)
	})
}

func TestInAnotherSpellingTheVPCHeaderIsRemovedWhoeverSendsIt(t *testing.T) {
	for configured, spelling := range map[string]string{"x-vpc-id": "x_vpc_id", "X_Vpc-Id": "x-vpc_id"} {
		trusting := configuration(`"vpc_id":{"from":"header","name":"` + configured + `","trusted_peers":["192.168.3.4"]}`)
		v := newVisit(t, trusting)
		v.properties[sourcePath] = inside
		v.header(spelling, vpc)
		require.False(t, v.send(), "not believed from a trusted peer")
		require.Equal(t, []string{spelling}, v.removed)

		v.removed = nil
		v.header(configured, vpc)
		require.True(t, v.send(), "the configured one beside it is")
		require.Equal(t, []string{spelling}, v.removed)

		v.removed, v.properties[sourcePath] = nil, listed
		require.True(t, v.send())
		require.ElementsMatch(t, []string{spelling, strings.ToLower(configured)}, v.removed)
		require.Equal(t, 3, v.counted()["keymoat.vpc_header_removed"])

		v.stuck = true
		require.False(t, v.send())
		require.Equal(t, 1, v.counted()["keymoat.error.Internal"])
	}
}

func TestAVPCHeaderMeansNothingUnlessConfigured(t *testing.T) {
	v := newVisit(t, configuration())
	v.properties[sourcePath] = inside
	v.header("x-vpc-id", vpc)
	require.False(t, v.send())
	require.Empty(t, v.removed)
}
