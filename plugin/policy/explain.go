package policy

import (
	"strconv"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/strictjson"
)

// Explain judges one request and tells each step of Evaluate, whose decision
// it takes for granted: where the evaluation ended follows from the reason. The
// error is an *abi.Error.
func (e *Evaluator) Explain(r abi.Request) (abi.Trace, error) {
	decision, status := e.Evaluate(&r).Decision(r.SourceIP)
	if status != abi.StatusOK {
		return abi.Trace{}, newError(status, "")
	}
	r.SourceIP = r.SourceIP.Unmap()
	t := abi.Trace{Request: r, Decision: decision, Revision: e.Revision()}
	q, _ := queryOf(&r) // Evaluate could read it
	e.trace(&t, q)
	t.Steps[len(t.Steps)-1].Reason = decision.Reason.String()
	return t, nil
}

// trace adds the steps to t, up to the one that decided.
func (e *Evaluator) trace(t *abi.Trace, q query) {
	r, reason, level := &t.Request, t.Decision.Reason, t.Decision.Level
	if reason == abi.ReasonTemporaryCredential {
		addStep(t, abi.StepCredential, "The id has the form of a temporary credential; the policies do not apply to those.")
		return
	}
	addStep(t, abi.StepCredential, "The id has the form of a permanent AccessKey.")

	addStep(t, abi.StepService, serviceAnswer(r, reason))
	if reason == abi.ReasonExemptService {
		return
	}

	key := e.find(e.keys, q.key())
	account := e.accountOf(q)
	if key != 0 {
		account = e.accounts.start + load32(e.image, key+idOwner)>>7<<3
	}
	owner := addStep(t, abi.StepOwner, e.ownerAnswer(r, key, account, reason))
	if reason == abi.ReasonAccountMismatch || reason == abi.ReasonUnknownAccount {
		return
	}
	owner.Account = e.id(account)

	addStep(t, abi.StepPolicy, e.policyAnswer(key, account, level)).Level = level.String()
	holder := account
	switch level {
	case abi.LevelNone:
		return
	case abi.LevelAccessKey:
		holder = key
	}
	e.traceStatements(t, q, load32(e.image, holder+idPolicy))
}

// addStep is out of line to keep the guest small.
//
//go:noinline
func addStep(t *abi.Trace, name abi.StepName, answer string) *abi.Step {
	t.Steps = append(t.Steps, abi.Step{Step: name, Answer: answer})
	return &t.Steps[len(t.Steps)-1]
}

func serviceAnswer(r *abi.Request, reason abi.Reason) string {
	service := r.Service
	if r.Action != "" {
		service += " " + r.Action
	}
	if r.Protocol != "" {
		service += " over " + r.Protocol
	}
	switch {
	case r.Service == "":
		return "The request names no service, so none is exempt."
	case reason == abi.ReasonExemptService:
		return "The policies have no effect on " + service + "."
	}
	return service + " is not exempt."
}

func (e *Evaluator) ownerAnswer(r *abi.Request, key, account uint64, reason abi.Reason) string {
	switch {
	case reason == abi.ReasonAccountMismatch:
		return "The key is listed under account " + e.id(account) + ", the request names " + strictjson.Quote(r.AccountID) + "."
	case reason == abi.ReasonUnknownAccount && r.AccountID != "":
		return "The key is not listed, and account " + strictjson.Quote(r.AccountID) + " is not known."
	case reason == abi.ReasonUnknownAccount:
		return "The key is not listed, the request names no account, and the policy set has " + strconv.Itoa(e.Accounts()) + " of them."
	case key != 0:
		return "The key is listed under account " + e.id(account) + "."
	case r.AccountID != "":
		return "The key is not listed; the request names account " + e.id(account) + "."
	}
	return "The key is not listed; it belongs to the only account there is."
}

func (e *Evaluator) policyAnswer(key, account uint64, level abi.Level) string {
	own := "The key has no policy of its own"
	if key != 0 && e.image[load32(e.image, key+idPolicy)+policyState] == stateInactive {
		own = "The key's own policy is Inactive"
	}
	theirs := "has none"
	if e.image[load32(e.image, account+idPolicy)+policyState] == stateInactive {
		theirs = "has an Inactive one"
	}
	switch level {
	case abi.LevelAccessKey:
		return "The key's own policy is Active; it alone decides."
	case abi.LevelAccount:
		return own + "; the account's policy is Active and decides."
	}
	return own + ", and the account " + theirs + ": access is not restricted."
}

func networkAnswer(t *abi.Trace, applying int) string {
	from := "The call is public"
	if t.Request.VPCID != "" {
		from = "The call comes from " + strictjson.Quote(t.Request.VPCID)
	}
	switch t.Decision.Reason {
	case abi.ReasonNoPublicPolicy:
		return from + ", and the policy has no public statement."
	case abi.ReasonNoVPCPolicy:
		return from + ", and the policy has no VPC statement."
	case abi.ReasonVPCNotListed:
		return from + ", which no VPC statement is about."
	}
	if applying == 1 {
		return from + "; 1 statement applies."
	}
	return from + "; " + strconv.Itoa(applying) + " statements apply."
}

func sourceAnswer(t *abi.Trace) string {
	ip := t.Request.SourceIP.String()
	if t.Decision.Reason == abi.ReasonMatched {
		return t.Decision.Entry.String() + " in statement " + strconv.Itoa(t.Decision.Statement) + " holds " + ip + "."
	}
	return "No entry holds " + ip + "."
}

// id returns the id that a record holds, empty for the account that has none.
//
//go:noinline
func (e *Evaluator) id(at uint64) string {
	length := load32(e.image, at+idOwner)&127 + 1
	if id := e.image[at+idText : at+idText+length]; id[0] != 0 {
		return string(id)
	}
	return ""
}

// traceStatements adds steps 5 and 6, each with the statements of the policy
// that it is about, in their order.
func (e *Evaluator) traceStatements(t *abi.Trace, q query, policy uint64) {
	var network, source []abi.StatementTrace
	public := load32(e.image, policy+policyPublic)
	at := policy + policyStatement
	end := at + vpcSize*load8(e.image, policy+policyVPCs)
	for public != 0 || at < end {
		var s abi.StatementTrace
		var list uint64
		var applies bool
		if public != 0 && (at == end || public&7 < load32(e.image, at+vpcList)&7) {
			list, public = public, 0
			s.Type = abi.TypeClassic
			applies = !q.hasVPC()
		} else {
			list = load32(e.image, at+vpcList)
			text := load32(e.image, at+vpcText)
			at += vpcSize
			s.Type, s.Value = abi.TypeVPC, abi.AllowAllVPC
			if text != 0 {
				s.Value = string(e.text(text))
			}
			applies = q.hasVPC() && (text == 0 || s.Value == t.Request.VPCID)
		}
		s.Statement = int(list & 7)
		switch {
		case applies:
			s.Verdict = abi.VerdictApplies
		case s.Type == abi.TypeVPC && q.hasVPC():
			s.Verdict = abi.VerdictOtherVPC
		default:
			s.Verdict = abi.VerdictOtherNetwork
		}
		network = append(network, s)
		if !applies {
			continue
		}
		s.Verdict = abi.VerdictNotListed
		if label := search(e.image, list&^7, q); label != 0 {
			entry, _ := t.Request.SourceIP.Prefix(int(label - 1))
			s.Verdict, s.Entry = abi.VerdictMatched, entry.String()
		}
		source = append(source, s)
	}
	addStep(t, abi.StepNetwork, networkAnswer(t, len(source))).Statements = network
	if source != nil {
		addStep(t, abi.StepSource, sourceAnswer(t)).Statements = source
	}
}
