package main

import "github.com/keymoat/keymoat/abi"

// counters are the numbers of the counters in Envoy's /stats. All that can
// occur are there from the start, at zero, so that a first refusal shows as an
// increase.
type counters struct {
	decisions [len(effects)][abi.ReasonMatched + 1][abi.LevelAccessKey + 1]uint32
	errors    [len(problems)]uint32

	candidateAllows  uint32 // the candidate would allow what is refused
	candidateDenies  uint32 // the candidate would refuse what is allowed
	passed           uint32 // refused, but let through in report_only mode
	vpcHeaderRemoved uint32 // from a peer that is not trusted with it
}

var effects = [...]abi.Effect{abi.EffectDeny, abi.EffectAllow}

func newCounters(h host) (c counters) {
	for _, effect := range effects {
		for _, reason := range abi.Reasons() {
			for _, level := range abi.Levels() {
				if occurs(effect, reason, level) {
					c.decisions[effect][reason][level] = h.counter(
						"keymoat.decision." + effect.String() + "." + reason.String() + "." + level.String())
				}
			}
		}
	}
	for p, name := range problems {
		if name != "" {
			c.errors[p] = h.counter("keymoat.error." + name)
		}
	}
	c.candidateAllows = h.counter("keymoat.candidate.Allow")
	c.candidateDenies = h.counter("keymoat.candidate.Deny")
	c.passed = h.counter("keymoat.report_only_passed")
	c.vpcHeaderRemoved = h.counter("keymoat.vpc_header_removed")
	return c
}

// occurs reports whether there are decisions with these three.
func occurs(e abi.Effect, r abi.Reason, l abi.Level) bool {
	switch r {
	case abi.ReasonNoAccessKey:
		return l == abi.LevelNone
	case abi.ReasonTemporaryCredential, abi.ReasonExemptService, abi.ReasonNoActivePolicy:
		return l == abi.LevelNone && e == abi.EffectAllow
	case abi.ReasonAmbiguousAccessKey, abi.ReasonAccountMismatch, abi.ReasonUnknownAccount:
		return l == abi.LevelNone && e == abi.EffectDeny
	case abi.ReasonMatched:
		return l != abi.LevelNone && e == abi.EffectAllow
	}
	return l != abi.LevelNone && e == abi.EffectDeny
}

// of returns the counter of a judgement.
func (c *counters) of(j *judgement) uint32 {
	if j.problem != noProblem {
		return c.errors[j.problem]
	}
	return c.decisions[j.decision.Effect][j.decision.Reason][j.decision.Level]
}

// problem is what stands in place of a decision: the request could not be judged.
type problem uint8

const (
	noProblem problem = iota
	badAccessKeyID
	badSourceIP
	badVPCID
	notConfigured
	internalFault
)

// The names are those of the ABI's statuses; InvalidVpcId has none there,
// since an evaluator takes any VPC id.
var problems = [...]string{
	noProblem:      "",
	badAccessKeyID: abi.StatusInvalidAccessKeyID.String(),
	badSourceIP:    abi.StatusInvalidSourceIP.String(),
	badVPCID:       "InvalidVpcId",
	notConfigured:  abi.StatusNotLoaded.String(),
	internalFault:  abi.StatusInternal.String(),
}

func (p problem) String() string { return problems[p] }

func problemOf(s abi.Status) problem {
	switch s {
	case abi.StatusOK:
		return noProblem
	case abi.StatusInvalidAccessKeyID:
		return badAccessKeyID
	case abi.StatusInvalidSourceIP:
		return badSourceIP
	}
	return internalFault
}
