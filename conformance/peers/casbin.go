package peers

import (
	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

// casbinShards holds an enforcer for each part of each key's policy, since an
// enforcer tries its rules one by one. A rule is a network and an address
// block.
type casbinShards struct {
	division division
	policies policies[casbinParts]
}

type casbinParts map[string]*casbin.Enforcer

const casbinModel = `
[request_definition]
r = network, ip

[policy_definition]
p = network, block

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = r.network == p.network && ipMatch(r.ip, p.block)
`

func loadCasbin(by division) func(*workload.Workload) (Loaded, error) {
	return func(w *workload.Workload) (Loaded, error) {
		c := &casbinShards{division: by}
		for p := range w.Policies() {
			enforcers := casbinParts{}
			for name, part := range divide(p, by) {
				var rules [][]string
				for _, s := range part.Statements {
					for _, entry := range w.Lists()[s.List] {
						rules = append(rules, []string{network(s.VPCID), entry.String()})
					}
				}
				m, err := model.NewModelFromString(casbinModel)
				if err != nil {
					return nil, err
				}
				if enforcers[name], err = casbin.NewEnforcer(m); err != nil {
					return nil, err
				}
				if _, err := enforcers[name].AddPolicies(rules); err != nil {
					return nil, err
				}
			}
			c.policies.add(p.AccessKeyID, &enforcers)
		}
		return c, nil
	}
}

func (c *casbinShards) Prepare(requests []abi.Request) (Judge, error) {
	type prepared struct {
		key, part string
		request   []any
	}
	all := make([]prepared, len(requests))
	for i, r := range requests {
		net := network(r.VPCID)
		all[i] = prepared{r.AccessKeyID, c.division(net), []any{net, r.SourceIP.String()}}
	}
	return func(at int) (bool, error) {
		r := &all[at]
		parts := c.policies.of(r.key)
		if parts == nil {
			return true, nil
		}
		enforcer := (*parts)[r.part]
		if enforcer == nil {
			return false, nil
		}
		return enforcer.Enforce(r.request...)
	}, nil
}

func (c *casbinShards) Close() error { return nil }
