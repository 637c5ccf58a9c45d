package peers

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/types"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

// cedarSlices holds a policy set for each part of each key's policy, since an
// authorization walks all the policies that it is given. A set has one policy
// for each statement. Cedar cannot ask whether a member of a set holds an
// address, so the entries are written out in the policies.
type cedarSlices struct {
	division division
	policies policies[cedarParts]
}

type cedarParts map[string]*cedar.PolicySet

func loadCedar(by division) func(*workload.Workload) (Loaded, error) {
	return func(w *workload.Workload) (Loaded, error) {
		c := &cedarSlices{division: by}
		for p := range w.Policies() {
			sets := cedarParts{}
			for name, part := range divide(p, by) {
				set, err := cedar.NewPolicySetFromBytes(p.AccessKeyID, cedarText(part, w.Lists()))
				if err != nil {
					return nil, err
				}
				sets[name] = set
			}
			c.policies.add(p.AccessKeyID, &sets)
		}
		return c, nil
	}
}

func cedarText(p workload.Policy, lists [][]netip.Prefix) []byte {
	principal := "principal"
	if p.AccessKeyID != "" {
		principal = fmt.Sprintf("principal == AccessKey::%q", p.AccessKeyID)
	}
	var text bytes.Buffer
	for _, s := range p.Statements {
		fmt.Fprintf(&text, "permit (%s, action == Action::\"call\", resource == Network::%q)\nwhen {", principal, network(s.VPCID))
		for i, entry := range lists[s.List] {
			if i > 0 {
				text.WriteString(" ||")
			}
			fmt.Fprintf(&text, "\n  context.sourceIp.isInRange(ip(%q))", entry)
		}
		text.WriteString("\n};\n")
	}
	return text.Bytes()
}

func (c *cedarSlices) Prepare(requests []abi.Request) (Judge, error) {
	type prepared struct {
		key, part string
		request   cedar.Request
	}
	all := make([]prepared, len(requests))
	for i, r := range requests {
		all[i] = prepared{r.AccessKeyID, c.division(network(r.VPCID)), cedar.Request{
			Principal: cedar.NewEntityUID("AccessKey", types.String(r.AccessKeyID)),
			Action:    cedar.NewEntityUID("Action", "call"),
			Resource:  cedar.NewEntityUID("Network", types.String(network(r.VPCID))),
			Context: cedar.NewRecord(cedar.RecordMap{
				"sourceIp": types.IPAddr(netip.PrefixFrom(r.SourceIP, r.SourceIP.BitLen())),
			}),
		}}
	}
	return func(at int) (bool, error) {
		r := &all[at]
		parts := c.policies.of(r.key)
		if parts == nil {
			return true, nil
		}
		set := (*parts)[r.part]
		if set == nil {
			return false, nil
		}
		decision, diagnostic := cedar.Authorize(set, nil, r.request)
		if len(diagnostic.Errors) > 0 {
			return false, errors.New(diagnostic.Errors[0].String())
		}
		return decision == cedar.Allow, nil
	}, nil
}

func (c *cedarSlices) Close() error { return nil }
