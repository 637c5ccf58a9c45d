package main

import (
	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/denial"
)

// counters are the numbers of the counters in Envoy's /stats. All that can
// occur are there from the start, at zero, so that a first refusal shows as an
// increase.
type counters struct {
	decisions [abi.EffectAllow + 1]tally // zero for what cannot occur
	problems  [denial.Internal + 1]uint32
	// allowed counts what Envoy has not been told yet. A call for each allowed
	// request would cost as much as its decision; refusals are told at once.
	allowed tally

	candidateAllows  uint32 // the candidate would allow what is refused
	candidateDenies  uint32 // the candidate would refuse what is allowed
	candidateFails   uint32 // the candidate gave no answer
	passed           uint32 // refused, but let through in report_only mode
	vpcHeaderRemoved uint32 // from a request whose peer is not trusted with it
}

// tally holds a number for each reason and level.
type tally [abi.ReasonMatched + 1][abi.LevelAccessKey + 1]uint32

// define defines the counters. It returns false if Envoy cannot have one.
func (c *counters) define(h host) (ok bool) {
	ok = true
	counter := func(name string) uint32 {
		id := h.counter("keymoat." + name)
		ok = ok && id != 0
		return id
	}
	for _, effect := range abi.Effects() {
		for _, reason := range abi.Reasons() {
			for _, level := range abi.Levels() {
				if (abi.Decision{Effect: effect, Reason: reason, Level: level}).Occurs() {
					c.decisions[effect][reason][level] = counter("decision." + effect.String() + "." + reason.String() + "." + level.String())
				}
			}
		}
	}
	for _, problem := range denial.Problems() {
		c.problems[problem] = counter("error." + problem.String())
	}
	c.candidateAllows = counter("candidate.Allow")
	c.candidateDenies = counter("candidate.Deny")
	c.candidateFails = counter("candidate.Fault")
	c.passed = counter("report_only_passed")
	c.vpcHeaderRemoved = counter("vpc_header_removed")
	return ok
}

// count counts a request and reports whether it is allowed. It makes a word
// that no evaluator returns a problem of the request.
func (c *counters) count(h host, r *request) (allowed bool) {
	if r.problem == denial.NoProblem {
		effect, reason, level, id := c.lookUp(r.word)
		switch {
		case id == 0:
			r.problem = denial.Internal
		case effect == abi.EffectAllow:
			c.allowed[reason][level]++
			return true
		default:
			h.add(id, 1)
			return false
		}
	}
	h.add(c.problems[r.problem], 1)
	return false
}

// lookUp returns what a decision is counted by, and its counter, 0 if no
// evaluator returns such a word.
func (c *counters) lookUp(w abi.Word) (effect abi.Effect, reason abi.Reason, level abi.Level, id uint32) {
	effect, reason, level = abi.Effect(w>>8), w.Reason(), abi.Level(w>>24) // bytes 1 to 3, see abi.Word
	if w.Status() != abi.StatusOK || effect > abi.EffectAllow || reason > abi.ReasonMatched || level > abi.LevelAccessKey {
		return effect, reason, level, 0
	}
	return effect, reason, level, c.decisions[effect][reason][level]
}

// allows reports whether a word is a decision that allows.
func (c *counters) allows(w abi.Word) bool {
	effect, _, _, id := c.lookUp(w)
	return effect == abi.EffectAllow && id != 0
}

// flush tells Envoy of the allowed requests since the last time.
func (c *counters) flush(h host) {
	for reason := range c.allowed {
		for level, n := range c.allowed[reason] {
			if n > 0 {
				h.add(c.decisions[abi.EffectAllow][reason][level], int64(n))
				c.allowed[reason][level] = 0
			}
		}
	}
}
