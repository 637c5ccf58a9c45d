// Package peers measures keymoat beside other systems that could do its work,
// on the workloads of package workload and in one process.
//
// README.md tells how each is set up and why that is fair to it.
package peers

import (
	"errors"
	"fmt"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

// The names of the contenders.
const (
	KeymoatWasm       = "keymoat, sandboxed"
	KeymoatBatch      = "keymoat, sandboxed, batches of 1,000"
	KeymoatNative     = "keymoat, native"
	OPAContains       = "OPA, net.cidr_contains"
	OPAMatches        = "OPA, net.cidr_contains_matches"
	CedarByKey        = "Cedar, a policy set per key"
	CedarByStatement  = "Cedar, a policy set per statement"
	CasbinByKey       = "Casbin, an enforcer per key"
	CasbinByStatement = "Casbin, an enforcer per statement"
	Bart              = "bart and Go maps"
)

// Contender is one way to judge a workload.
type Contender struct {
	Name string
	// Load starts the system with the workload's policy set.
	Load func(*workload.Workload) (Loaded, error)
	// shares is whether policies hold equal lists once.
	shares bool
}

// Holds is whether the workload fits into the memory of an ordinary machine.
func (c Contender) Holds(w *workload.Workload) bool { return c.shares || w.Keys <= 1000 }

// Ready loads the workload, prepares the requests and checks every answer: a
// peer that is wrong is no peer, however fast. The caller closes what it
// returns.
func (c Contender) Ready(w *workload.Workload, requests []abi.Request, decisions []abi.Decision) (Loaded, Judge, error) {
	loaded, err := c.Load(w)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.Name, err)
	}
	judge, err := loaded.Prepare(requests)
	if err == nil {
		err = check(judge, requests, decisions)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", c.Name, errors.Join(err, loaded.Close()))
	}
	return loaded, judge, nil
}

// Loaded is a system with its policies in place.
type Loaded interface {
	// Prepare brings requests into the form that the system likes best, which
	// is not timed, and returns the function that judges them, which is.
	Prepare(requests []abi.Request) (Judge, error)
	Close() error
}

// Judge answers whether request number at is allowed. One goroutine calls it
// with each number in ascending order, over and over.
type Judge func(at int) (allowed bool, err error)

// Others are the systems that keymoat is compared with. Those that walk what
// they are given come twice: as their users commonly divide it, by key, and
// divided as far as it goes, with less left for them to decide.
func Others() []Contender {
	return []Contender{
		{Name: OPAContains, Load: loadOPA(opaContains), shares: true},
		{Name: OPAMatches, Load: loadOPA(opaMatches), shares: true},
		{Name: CedarByKey, Load: loadCedar(byKey)},
		{Name: CedarByStatement, Load: loadCedar(byStatement)},
		{Name: CasbinByKey, Load: loadCasbin(byKey)},
		{Name: CasbinByStatement, Load: loadCasbin(byStatement)},
		{Name: Bart, Load: loadBart, shares: true},
	}
}

// All returns keymoat's contenders and then the others.
func All(cacheDir string) []Contender { return append(Keymoat(cacheDir), Others()...) }

func check(judge Judge, requests []abi.Request, decisions []abi.Decision) error {
	for i := range requests {
		allowed, err := judge(i)
		if err != nil {
			return fmt.Errorf("request %d: %w", i, err)
		}
		if want := decisions[i].Allowed(); allowed != want {
			return fmt.Errorf("request %d, %+v: allowed is %t and must be %t", i, requests[i], allowed, want)
		}
	}
	return nil
}

// policies finds the policy that is in force for a key, for systems that leave
// that to the program around them.
type policies[P any] struct {
	keys    map[string]*P
	account *P
}

func (p *policies[P]) add(accessKeyID string, policy *P) {
	if accessKeyID == "" {
		p.account = policy
		return
	}
	if p.keys == nil {
		p.keys = map[string]*P{}
	}
	p.keys[accessKeyID] = policy
}

// of returns the key's policy, else the account's, else nil: the call is then
// allowed.
func (p *policies[P]) of(accessKeyID string) *P {
	if policy, ok := p.keys[accessKeyID]; ok {
		return policy
	}
	return p.account
}

// division is how a policy is cut into parts that are looked up before the
// system is asked: it names the part that a network belongs to.
type division func(network string) string

func byKey(string) string               { return "" }
func byStatement(network string) string { return network }

// network names where a request comes from and what a statement is about.
func network(vpcID string) string {
	if vpcID == "" {
		return "public"
	}
	return vpcID
}

// divide sorts the statements of a policy into their parts.
func divide(p workload.Policy, by division) map[string]workload.Policy {
	parts := map[string]workload.Policy{}
	for _, s := range p.Statements {
		name := by(network(s.VPCID))
		part := parts[name]
		part.AccessKeyID = p.AccessKeyID
		part.Statements = append(part.Statements, s)
		parts[name] = part
	}
	return parts
}
