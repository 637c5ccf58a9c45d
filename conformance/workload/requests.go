package workload

import (
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/keymoat/keymoat/abi"
)

// kind is what a request is meant to meet.
type kind int

const (
	publicListed kind = iota
	publicUnlisted
	vpcListed
	vpcUnlisted
	otherVPC
)

// Cycle is the number of requests in which each kind has exactly its share.
const Cycle = 40

// mix holds each kind as often as it occurs in a cycle.
var mix = func() []kind {
	var kinds []kind
	for _, share := range []struct {
		kind
		count int
	}{{publicListed, 18}, {publicUnlisted, 2}, {vpcListed, 18}, {vpcUnlisted, 1}, {otherVPC, 1}} {
		kinds = append(kinds, slices.Repeat([]kind{share.kind}, share.count)...)
	}
	return kinds
}()

// Requests returns the first n requests of the workload and the decision that
// each must get. The answers follow from how a request was made; no policy was
// evaluated to find them.
func (w *Workload) Requests(n int) ([]abi.Request, []abi.Decision) {
	r := source(3)
	requests, decisions := make([]abi.Request, n), make([]abi.Decision, n)
	kinds := make([]kind, Cycle)
	for i := range requests {
		if i%Cycle == 0 {
			copy(kinds, mix)
			r.Shuffle(Cycle, func(i, j int) { kinds[i], kinds[j] = kinds[j], kinds[i] })
		}
		key := i % max(w.Keys, 1)
		if w.random {
			key = r.IntN(w.Keys)
		}
		requests[i], decisions[i] = w.request(r, key, kinds[i%Cycle])
	}
	return requests, decisions
}

func (w *Workload) request(r *rand.Rand, key int, k kind) (abi.Request, abi.Decision) {
	policy, level := w.account, abi.LevelAccount
	if w.Keys > 0 {
		policy, level = w.ofKey(key), abi.LevelAccessKey
	}
	request := abi.Request{AccessKeyID: keyID(key)}
	decision := abi.Decision{Effect: abi.EffectDeny, Level: level, Network: abi.NetworkVPC}

	// Every policy here has its public statement first and VPC statements behind it.
	statement := 1 + r.IntN(len(policy)-1)
	if k == publicListed || k == publicUnlisted {
		statement, decision.Network = 0, abi.NetworkPublic
	}
	request.VPCID = policy[statement].VPCID
	if k == otherVPC {
		request.VPCID = unlistedVPC(r, policy)
	}
	entries := w.lists[policy[statement].List]
	entry := entries[r.IntN(len(entries))]

	switch k {
	case publicListed, vpcListed:
		request.SourceIP = addressIn(r, entry)
		decision.Effect, decision.Reason = abi.EffectAllow, abi.ReasonMatched
		decision.Statement, decision.Entry = statement, entry
	case publicUnlisted, vpcUnlisted:
		request.SourceIP = beside(r, entry, entries)
		decision.Reason = abi.ReasonSourceIPNotListed
	case otherVPC:
		request.SourceIP = addressIn(r, entry)
		decision.Reason = abi.ReasonVPCNotListed
	}
	return request, decision
}

// beside draws an address that no entry holds from the network, 256 times as
// large, that entry lies in.
func beside(r *rand.Rand, entry netip.Prefix, entries []netip.Prefix) netip.Addr {
	around := netip.PrefixFrom(entry.Addr(), entry.Bits()-8).Masked()
	for {
		if ip := addressIn(r, around); !contains(entries, ip) {
			return ip
		}
	}
}

func unlistedVPC(r *rand.Rand, policy []Statement) string {
	for {
		id := vpcID(r.IntN(vpcs))
		if !slices.ContainsFunc(policy, func(s Statement) bool { return s.VPCID == id }) {
			return id
		}
	}
}
