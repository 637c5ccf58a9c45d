// Package workload makes the policy sets and requests that keymoat and its
// peers are measured with, and says for each request what the right answer is.
//
// A workload is made from a fixed seed: the same one has the same bytes on
// every machine, so figures from two machines are about the same work.
//
//   - [Hundred]: 100 keys, each with a policy of its own that is as full as the
//     limits allow: one public statement and seven VPC statements of 50
//     entries. No two lists are equal. Requests take the keys in turn.
//   - [Million]: 1,000,000 keys, each with one public and one VPC statement of
//     50 entries, from 1,000 lists that the keys share. Requests take the keys
//     at random.
//   - [Small]: one policy for the whole account, the one of the cloud's own
//     example. It is for start-up times.
//
// # Lists
//
// Of the 50 entries of a public list, 30 are single IPv4 addresses, 8 are /28,
// 5 are /24 and 2 are /20, drawn over all public IPv4 space; 2 are single
// IPv6 addresses, 2 are /64 and 1 is /48, drawn over 2000::/3. A VPC list has
// 25 single addresses, 12 /28 and 8 /24 in one private /16, and 2 single
// addresses and 3 /64 in one IPv6 /56. Entries of a list do not overlap and
// lie in random order.
//
// # Requests
//
// Of every 40 requests, in random order, 18 are public and 18 from a listed
// VPC, with a random address of a random entry: they are allowed. Two are
// public and one is from a listed VPC, with an address beside a listed
// network, and one is from a VPC that is not listed: they are denied. Half are
// thus public, and a tenth is denied.
package workload

import (
	"iter"
	"math/rand/v2"
	"net/netip"
	"strconv"
)

// Account is the one account of every workload.
const Account = "1000000000000001"

// Workload is a policy set together with the traffic that it judges. It does
// not change and is safe for concurrent use.
type Workload struct {
	Name string
	Keys int // how many keys have a policy of their own

	lists   [][]netip.Prefix
	account []Statement               // the account's policy, if it has one
	ofKey   func(key int) []Statement // the policy of a key
	random  bool                      // requests take the keys at random
}

// Policy is an active access key policy in the generator's own terms, for
// systems that do not read keymoat's documents.
type Policy struct {
	AccessKeyID string // empty: the policy is the account's
	Statements  []Statement
}

// Statement allows the addresses of a list.
type Statement struct {
	VPCID string // empty: the statement is the public one
	List  int    // the list's place in Lists
}

// Lists returns every address list once. Statements name them by index, so
// that a system able to share equal lists can. The caller must not change them.
func (w *Workload) Lists() [][]netip.Prefix { return w.lists }

// Policies yields every policy of the set: the account's, if it has one, then
// those of the keys. They are made as they are asked for.
func (w *Workload) Policies() iter.Seq[Policy] {
	return func(yield func(Policy) bool) {
		if w.account != nil && !yield(Policy{Statements: w.account}) {
			return
		}
		for key := range w.Keys {
			if !yield(Policy{AccessKeyID: keyID(key), Statements: w.ofKey(key)}) {
				return
			}
		}
	}
}

// Hundred is the workload of the number table: 100 keys with full policies.
func Hundred() *Workload {
	const keys, statements = 100, 8
	r := source(1)
	w := &Workload{Name: "100 keys × (50 public + 7×50 VPC) entries", Keys: keys}
	for range keys {
		w.lists = append(w.lists, publicList(r))
		for range statements - 1 {
			w.lists = append(w.lists, vpcList(r))
		}
	}
	w.ofKey = func(key int) []Statement {
		policy := make([]Statement, statements)
		for i := range policy {
			policy[i].List = key*statements + i
			if i > 0 {
				policy[i].VPCID = vpcID(key*(statements-1) + i)
			}
		}
		return policy
	}
	return w
}

// Million is the workload of a large tenant: a million keys that share 1,000 lists.
func Million() *Workload {
	w := Sharing(1_000_000, 1_000)
	w.Name = "1,000,000 keys sharing 1,000 lists"
	return w
}

// Sharing is the workload of Million with other numbers: half of the lists are
// public, half are of VPCs, and each key takes one of either at random.
func Sharing(keys, lists int) *Workload {
	r := source(2)
	half := lists / 2
	w := &Workload{Name: strconv.Itoa(keys) + " keys sharing " + strconv.Itoa(lists) + " lists", Keys: keys, random: true}
	for range half {
		w.lists = append(w.lists, publicList(r))
	}
	for range half {
		w.lists = append(w.lists, vpcList(r))
	}
	w.ofKey = func(key int) []Statement {
		draw := source(1<<32 + uint64(key))
		return []Statement{
			{List: draw.IntN(half)},
			{List: half + draw.IntN(half), VPCID: vpcID(key)},
		}
	}
	return w
}

// Small is one account policy and no key's.
func Small() *Workload {
	return &Workload{
		Name: "one account policy",
		lists: [][]netip.Prefix{
			{netip.MustParsePrefix("203.0.113.1/32")},
			{netip.MustParsePrefix("192.168.0.0/16")},
		},
		account: []Statement{{List: 0}, {List: 1, VPCID: vpcID(0)}},
	}
}

// source returns the random numbers of one stream. PCG's sequence is fixed by
// its definition; the golden checksums in the tests guard the rest.
func source(stream uint64) *rand.Rand { return rand.New(rand.NewPCG(0x6b65796d6f6174, stream)) }

// keyID returns the id of a key as a string of its own: as in real traffic, no
// request shares memory with the policy set.
func keyID(key int) string { return numbered("LTAI5tExample", 10, key+1) }

// VPC ids come from a pool that all keys draw from.
const vpcs = 64

func vpcID(n int) string { return numbered("vpc-bench", 16, n%vpcs) }

func numbered(prefix string, digits, n int) string {
	number := strconv.Itoa(n)
	id := make([]byte, 0, 32)
	id = append(id, prefix...)
	for range digits - len(number) {
		id = append(id, '0')
	}
	return string(append(id, number...))
}
