package policy

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
)

// generator makes policy sets, and requests that meet them often: ids that are
// listed or differ from one that is by a letter, addresses at the edges of
// blocks that are listed, and few of everything else.
type generator struct {
	*rand.Rand
	keys   []string
	blocks []netip.Prefix
}

func newGenerator(seed, seed2 uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, seed2))}
}

func (g *generator) pick(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g *generator) chance(oneIn int) bool { return g.IntN(oneIn) == 0 }

func (g *generator) keyID() string {
	if g.chance(2) {
		return g.pick("LTAI5tExample0000000001", "LTAI5tExample0000000002", "LTAI5tExample0000000003", "LTAI5tExample000000000", "AKIAEXAMPLE000000001",
			"a", "ab", "abcdefg", "abcdefgh", "abcdefghi", strings.Repeat("k", 128), "x-y_z.=", "ASIAexample000000001", "STSx", "TMP")
	}
	// Of all lengths at which an id is read in another way.
	lengths := []int{1, 3, 4, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 40, 127, 128}
	return g.otherLetter(strings.Repeat("k", lengths[g.IntN(len(lengths))]))
}

func (g *generator) otherLetter(id string) string {
	b := []byte(id)
	b[g.IntN(len(b))] = "kK0.-_="[g.IntN(7)]
	return string(b)
}

func (g *generator) accountID() string {
	return g.pick("1000000000000001", "1000000000000002", "100000000000000", "a", strings.Repeat("1", 33))
}

// vpc ids have equal ends, of which their tags are made.
func (g *generator) vpc() string {
	return g.pick("vpc-a", "vpc-b", "vpc-0a", "vpc-123", "vpc-1234", "vpc-12345", "vpc-bp1234567890abcdef", "vpc-cp1234567890abcdef", "vpc-dp234567890abcdef",
		"vpc-"+strings.Repeat("z", 28), "vpc-"+strings.Repeat("z", 29), "vpc-"+strings.Repeat("z", 64), "vpc-y"+strings.Repeat("z", 63))
}

func (g *generator) addr() netip.Addr {
	if len(g.blocks) > 0 && g.chance(2) {
		return g.edge()
	}
	// A few bits set here and there, so that blocks of all sizes are hit.
	if g.chance(2) {
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
	if g.chance(4) {
		copy(b[:], []byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff})
	}
	return netip.AddrFrom16(b)
}

// edge is the first or last address of a block that is listed, or one beside it.
func (g *generator) edge() netip.Addr {
	block := g.blocks[g.IntN(len(g.blocks))]
	edge := block.Addr()
	if g.chance(2) { // the last
		b := edge.AsSlice()
		for i := block.Bits(); i < 8*len(b); i++ {
			b[i/8] |= 0x80 >> (i % 8)
		}
		edge, _ = netip.AddrFromSlice(b)
	}
	beside := edge
	switch g.IntN(3) {
	case 0:
		beside = edge.Prev()
	case 1:
		beside = edge.Next()
	}
	if beside.IsValid() {
		return beside
	}
	return edge
}

func (g *generator) byte() byte { return [...]byte{0, 1, 10, 0x20, 127, 128, 254, 255}[g.IntN(8)] }

func (g *generator) entry() string {
	addr := g.addr()
	text := addr.String()
	switch g.IntN(4) {
	case 0:
	case 1:
		text = g.pick("0.0.0.0/0", "::/0", "10.0.0.0/8", "255.255.255.255", "0.0.0.0", "::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "::ffff:0:0/96", "128.0.0.0/1", "8000::/1")
	default:
		low := 0
		if addr.Is4In6() {
			low = 96
		}
		text = fmt.Sprintf("%s/%d", addr, low+g.IntN(addr.BitLen()-low+1))
	}
	if p, masked, err := ip.ParsePrefix(text); err == nil && !masked {
		g.blocks = append(g.blocks, netip.MustParsePrefix(p.String()))
	}
	return text
}

func (g *generator) ipList() string {
	n := 1 + g.IntN(6)
	switch g.IntN(20) {
	case 0:
		n = 50
	case 1: // about as many segments as fit one node
		n = 6 + g.IntN(8)
	}
	if g.chance(4) {
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

func (g *generator) policy() string {
	var statements []string
	public := false
	for range g.IntN(9) {
		if !public && g.chance(3) {
			public = true
			statements = append(statements, fmt.Sprintf(`{"Type":"ClassicWhiteList","IPList":%s}`, g.ipList()))
			continue
		}
		value := g.vpc()
		if g.chance(4) {
			value = "AllowAllVPC"
		}
		statements = append(statements, fmt.Sprintf(`{"Type":"VPCWhiteList","Value":%q,"IPList":%s}`, value, g.ipList()))
	}
	return fmt.Sprintf(`{"Version":1,"Status":%q,"Statements":[%s]}`, g.pick("Active", "Active", "Active", "Inactive"), strings.Join(statements, ","))
}

// set is a policy set, or now and then a policy by itself.
func (g *generator) set() string {
	if g.chance(12) {
		return g.policy()
	}
	var accounts []string
	accountIDs, keyIDs := map[string]bool{}, map[string]bool{}
	for range g.IntN(4) {
		id := g.accountID()
		if accountIDs[id] {
			continue
		}
		accountIDs[id] = true
		var keys []string
		for range g.IntN(8) {
			id := g.keyID()
			if len(g.keys) > 0 && g.chance(3) {
				id = g.otherLetter(g.keys[g.IntN(len(g.keys))])
			}
			if keyIDs[id] {
				continue
			}
			keyIDs[id] = true
			g.keys = append(g.keys, id)
			key := fmt.Sprintf(`{"AccessKeyId":%q`, id)
			if !g.chance(5) {
				key += `,"AccessKeyPolicy":` + g.policy()
			}
			keys = append(keys, key+"}")
		}
		account := fmt.Sprintf(`{"AccountId":%q`, id)
		if !g.chance(4) {
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

func (g *generator) request() abi.Request {
	r := abi.Request{AccessKeyID: g.keyID(), SourceIP: g.addr()}
	if len(g.keys) > 0 && g.chance(2) {
		r.AccessKeyID = g.keys[g.IntN(len(g.keys))]
		if g.chance(4) {
			r.AccessKeyID = g.otherLetter(r.AccessKeyID)
		}
	}
	if g.chance(20) {
		r.AccessKeyID = g.pick("STS.abc", "TMP.x", "ASIAEXAMPLE000000001", "ASIAexample", "STS", "", strings.Repeat("k", 129), "a\x00", "abcdefgh\x00", "a b", "é", "a/b")
	}
	if g.chance(40) {
		r.SourceIP = netip.Addr{}
	}
	if g.chance(60) {
		r.SourceIP = netip.MustParseAddr(g.pick("fe80::1%eth0", "::ffff:10.0.0.1%eth0"))
	}
	if g.chance(2) {
		r.VPCID = g.vpc()
	}
	if g.chance(40) {
		r.VPCID = g.pick("AllowAllVPC", "VPC-A", strings.Repeat("v", 255), strings.Repeat("v", 256), "\x00")
	}
	if g.chance(2) {
		r.AccountID = g.accountID()
	}
	if g.chance(40) {
		r.AccountID = g.pick("\x00", "b", strings.Repeat("1", 255), strings.Repeat("1", 256))
	}
	if g.chance(4) {
		r.Service, r.Action, r.Protocol = g.pick("ECS", "Oss", "cms", "eventBRIDGE", "mns", "CloudMonitor", strings.Repeat("s", 255)),
			g.pick("", "putobject", "PutCustomEvent"), g.pick("", "HTTP", "https")
	}
	return r
}
