package main

import (
	"encoding/json"
	"net/netip"
	"slices"

	"github.com/keymoat/keymoat/conformance/workload"
	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
	"github.com/keymoat/keymoat/plugin/policy"
)

// client is where all requests come from. It takes the place of an entry in the
// middle of every public list.
var client = netip.MustParsePrefix("127.0.0.1/32")

// key is one of the 100 keys with its lists.
type key struct {
	id     string
	public []string
	vpcs   map[string][]string
}

func keys() (all []key) {
	w := workload.Hundred()
	for p := range w.Policies() {
		k := key{id: p.AccessKeyID, vpcs: map[string][]string{}}
		for _, s := range p.Statements {
			entries := slices.Clone(w.Lists()[s.List])
			if s.VPCID == "" {
				entries[len(entries)/2] = client
			}
			texts := make([]string, len(entries))
			for i, entry := range entries {
				texts[i] = entry.String()
			}
			if s.VPCID == "" {
				k.public = texts
			} else {
				k.vpcs[s.VPCID] = texts
			}
		}
		all = append(all, k)
	}
	return all
}

// configuration is the plugin configuration with all lists of some keys. There
// is no policy for the others, so that they may be used from anywhere.
func configuration(some []key) string {
	type object = map[string]any
	var accessKeys []any
	for _, k := range some {
		statements := []any{object{"Type": "ClassicWhiteList", "IPList": k.public}}
		for id, entries := range k.vpcs {
			statements = append(statements, object{"Type": "VPCWhiteList", "Value": id, "IPList": entries})
		}
		accessKeys = append(accessKeys, object{"AccessKeyId": k.id, "AccessKeyPolicy": object{"Status": "Active", "Statements": statements}})
	}
	b, err := json.Marshal(object{
		"account_id": workload.Account, // of the others, also where a change of the rules brings a second account
		"policy_set": object{"Accounts": []any{object{"AccountId": workload.Account, "AccessKeys": accessKeys}}},
	})
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot hold
	}
	return string(b)
}

// imageConfiguration is the same with the policy set compiled.
func imageConfiguration(rules string) (string, error) {
	var c map[string]any
	if err := json.Unmarshal([]byte(rules), &c); err != nil {
		return "", err
	}
	set, err := json.Marshal(c["policy_set"])
	if err != nil {
		return "", err
	}
	image, _, err := policy.Compile(set)
	if err != nil {
		return "", err
	}
	delete(c, "policy_set")
	c["policy_image"] = image // as base64
	b, err := json.Marshal(c)
	return string(b), err
}

// rbac is Envoy's own filter with rules, by name.
func rbac(policies envoytest.Object) []any {
	return []any{envoytest.Object{"name": "envoy.filters.http.rbac", "typed_config": envoytest.Object{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
		"rules": envoytest.Object{"action": "ALLOW", "policies": policies},
	}}}
}

func addresses(entries []string) envoytest.Object {
	var ids []any
	for _, entry := range entries {
		p := netip.MustParsePrefix(entry)
		ids = append(ids, envoytest.Object{"remote_ip": envoytest.Object{"address_prefix": p.Addr().String(), "prefix_len": p.Bits()}})
	}
	return envoytest.Object{"or_ids": envoytest.Object{"ids": ids}}
}

var anything = []any{envoytest.Object{"any": true}}

// oneList allows the public list of one key to every request.
func oneList(entries []string) []any {
	return rbac(envoytest.Object{"list": envoytest.Object{"permissions": anything, "principals": []any{addresses(entries)}}})
}

// everyList allows each key its public list, as far as RBAC can tell whose
// request it is: by a text in Authorization.
func everyList(all []key) []any {
	policies := envoytest.Object{}
	for _, k := range all {
		policies[k.id] = envoytest.Object{
			"permissions": []any{envoytest.Object{"header": envoytest.Object{
				"name": "authorization", "string_match": envoytest.Object{"contains": "Credential=" + k.id + ","}}}},
			"principals": []any{addresses(k.public)},
		}
	}
	return rbac(policies)
}
