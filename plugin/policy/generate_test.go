package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/keymoat/keymoat/abi"
)

// generator makes policy sets and requests that meet one another often: few
// keys, accounts, VPCs and addresses, and blocks that nest.
type generator struct{ *rand.Rand }

func (g generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g generator) keyID() string {
	return g.pick("LTAI5tExample0000000001", "LTAI5tExample0000000002", "LTAI5tExample0000000003", "LTAI5tExample000000000", "AKIAEXAMPLE000000001",
		"a", "ab", "abcdefg", "abcdefgh", "abcdefghi", strings.Repeat("k", 128), "x-y_z.=")
}

func (g generator) accountID() string {
	return g.pick("1000000000000001", "1000000000000002", "100000000000000", "a")
}

func (g generator) vpc() string {
	return g.pick("vpc-a", "vpc-b", "vpc-bp1234567890abcdef", "vpc-"+strings.Repeat("z", 64))
}

func (g generator) addr() netip.Addr {
	// A few bits set here and there, so that blocks of all sizes are hit.
	if g.IntN(2) == 0 {
		var b [4]byte
		b[0] = g.byte()
		b[g.IntN(4)] |= 1 << g.IntN(8)
		b[3] |= g.byte()
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	b[0] = g.byte()
	b[g.IntN(16)] |= 1 << g.IntN(8)
	b[15] |= g.byte()
	if g.IntN(4) == 0 {
		copy(b[:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	}
	return netip.AddrFrom16(b)
}

func (g generator) byte() byte { return [...]byte{0, 1, 10, 0x20, 127, 128, 254, 255}[g.IntN(8)] }

func (g generator) entry() string {
	ip := g.addr()
	switch g.IntN(4) {
	case 0:
		return ip.String()
	case 1:
		return g.pick("0.0.0.0/0", "::/0", "10.0.0.0/8", "255.255.255.255", "0.0.0.0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:0:0/96", "128.0.0.0/1", "8000::/1")
	}
	low := 0
	if ip.Is4In6() {
		low = 96
	}
	return fmt.Sprintf("%s/%d", ip, low+g.IntN(ip.BitLen()-low+1))
}

func (g generator) ipList() string {
	n := 1 + g.IntN(6)
	if g.IntN(20) == 0 {
		n = 50
	}
	if g.IntN(4) == 0 {
		text := g.entry()
		for range n - 1 {
			text += g.pick(" ", ",", ";", ", ") + g.entry()
		}
		return `"` + text + `"`
	}
	text := `["` + g.entry()
	for range n - 1 {
		text += g.pick(`","`, `","`, " ") + g.entry()
	}
	return text + `"]`
}

func (g generator) policy() string {
	var statements []string
	public := false
	for range g.IntN(5) {
		if !public && g.IntN(3) == 0 {
			public = true
			statements = append(statements, fmt.Sprintf(`{"Type":"ClassicWhiteList","IPList":%s}`, g.ipList()))
			continue
		}
		value := g.vpc()
		if g.IntN(3) == 0 {
			value = "AllowAllVPC"
		}
		statements = append(statements, fmt.Sprintf(`{"Type":"VPCWhiteList","Value":%q,"IPList":%s}`, value, g.ipList()))
	}
	return fmt.Sprintf(`{"Version":1,"Status":%q,"Statements":[%s]}`, g.pick("Active", "Active", "Active", "Inactive"), strings.Join(statements, ","))
}

func (g generator) set() string {
	var accounts []string
	accountIDs, keyIDs := map[string]bool{}, map[string]bool{}
	for range g.IntN(4) {
		id := g.accountID()
		if accountIDs[id] {
			continue
		}
		accountIDs[id] = true
		var keys []string
		for range g.IntN(6) {
			id := g.keyID()
			if keyIDs[id] {
				continue
			}
			keyIDs[id] = true
			key := fmt.Sprintf(`{"AccessKeyId":%q`, id)
			if g.IntN(5) > 0 {
				key += `,"AccessKeyPolicy":` + g.policy()
			}
			keys = append(keys, key+"}")
		}
		account := fmt.Sprintf(`{"AccountId":%q`, id)
		if g.IntN(4) > 0 {
			account += `,"AccessKeyPolicy":` + g.policy()
		}
		accounts = append(accounts, account+`,"AccessKeys":[`+strings.Join(keys, ",")+"]}")
	}
	exempt := ""
	switch g.IntN(3) {
	case 0:
		exempt = `,"ExemptServices":[]`
	case 1:
		exempt = `,"ExemptServices":[{"Service":"Ecs"},{"Service":"oss","Action":"PutObject"},{"Service":"Cms","Protocol":"http"}]`
	}
	return `{"Accounts":[` + strings.Join(accounts, ",") + "]" + exempt + "}"
}

func (g generator) request() abi.Request {
	r := abi.Request{AccessKeyID: g.keyID(), SourceIP: g.addr()}
	if g.IntN(20) == 0 {
		r.AccessKeyID = g.pick("STS.abc", "TMP.x", "ASIAEXAMPLE000000001", "ASIAexample", "STS", "", strings.Repeat("k", 129), "a\x00", "abcdefgh\x00", "a b", "é", "a/b")
	}
	if g.IntN(40) == 0 {
		r.SourceIP = netip.Addr{}
	}
	if g.IntN(2) == 0 {
		r.VPCID = g.vpc()
	}
	if g.IntN(40) == 0 {
		r.VPCID = g.pick("AllowAllVPC", "VPC-A", strings.Repeat("v", 255), strings.Repeat("v", 256), "\x00")
	}
	if g.IntN(2) == 0 {
		r.AccountID = g.accountID()
	}
	if g.IntN(4) == 0 {
		r.Service, r.Action, r.Protocol = g.pick("ECS", "Oss", "cms", "eventBRIDGE", "mns"), g.pick("", "putobject", "PutCustomEvent"), g.pick("", "HTTP", "https")
	}
	return r
}
