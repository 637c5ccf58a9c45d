package peers

import (
	"github.com/gaissmai/bart"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

// bartMaps is what one would write by hand in Go: a map from key to networks
// and a routing table for each list, equal lists shared.
type bartMaps struct {
	policies policies[bartPolicy]
}

type bartPolicy struct {
	public *bart.Lite
	vpcs   map[string]*bart.Lite
}

func loadBart(w *workload.Workload) (Loaded, error) {
	tables := make([]*bart.Lite, len(w.Lists()))
	for i, entries := range w.Lists() {
		tables[i] = new(bart.Lite)
		for _, entry := range entries {
			tables[i].Insert(entry)
		}
	}
	b := new(bartMaps)
	for p := range w.Policies() {
		policy := &bartPolicy{vpcs: map[string]*bart.Lite{}}
		for _, s := range p.Statements {
			if s.VPCID == "" {
				policy.public = tables[s.List]
			} else {
				policy.vpcs[s.VPCID] = tables[s.List]
			}
		}
		b.policies.add(p.AccessKeyID, policy)
	}
	return b, nil
}

func (b *bartMaps) Prepare(requests []abi.Request) (Judge, error) {
	return func(at int) (bool, error) {
		r := &requests[at]
		policy := b.policies.of(r.AccessKeyID)
		if policy == nil {
			return true, nil
		}
		list := policy.public
		if r.VPCID != "" {
			list = policy.vpcs[r.VPCID]
		}
		return list != nil && list.Contains(r.SourceIP), nil
	}, nil
}

func (b *bartMaps) Close() error { return nil }
