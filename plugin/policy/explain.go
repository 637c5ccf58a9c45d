package policy

import (
	"github.com/keymoat/keymoat/abi"
)

// Explain judges one request and tells each step of Evaluate. It asks the
// same questions through the same functions, and the decision is Evaluate's
// own. The error is an *abi.Error.
func (e *Evaluator) Explain(r abi.Request) (abi.Trace, error) {
	decision, status := e.Evaluate(&r).Decision(r.SourceIP)
	if status != abi.StatusOK {
		return abi.Trace{}, &abi.Error{Status: status}
	}
	r.SourceIP = r.SourceIP.Unmap()
	t := abi.Trace{Request: r, Decision: decision, Revision: e.Revision()}
	q, _ := queryOf(&r) // Evaluate could read it
	e.trace(&t, q)
	t.Steps[len(t.Steps)-1].Reason = decision.Reason.String()
	return t, nil
}

// trace adds the steps to t. Each part returns false where the evaluation ends.
func (e *Evaluator) trace(t *abi.Trace, q query) {
	r := &t.Request
	if isTemporary(q.key()) {
		addStep(t, abi.StepCredential, "The id has the form of a temporary credential; the policies do not apply to those.")
		return
	}
	addStep(t, abi.StepCredential, "The id has the form of a permanent AccessKey.")

	if r.Service == "" {
		addStep(t, abi.StepService, "The request names no service, so none is exempt.")
	} else if e.isExempt(q) {
		addStep(t, abi.StepService, "The policies have no effect on "+describeService(r)+".")
		return
	} else {
		addStep(t, abi.StepService, describeService(r)+" is not exempt.")
	}

	key := e.find(e.keys, q.key())
	account, refusal := e.owner(key, q)
	owner := addStep(t, abi.StepOwner, e.ownerAnswer(r, key, account, refusal))
	if refusal != abi.ReasonNone {
		return
	}
	owner.Account = e.id(account)

	policy, level := e.policy(key, account)
	addStep(t, abi.StepPolicy, e.policyAnswer(key, account, level)).Level = level.String()
	if level == abi.LevelNone {
		return
	}

	statements := e.statements(policy, q)
	applying := 0
	for _, s := range statements {
		if s.Verdict == abi.VerdictApplies {
			applying++
		}
	}
	addStep(t, abi.StepNetwork, networkAnswer(t, applying)).Statements = statements
	if applying > 0 {
		e.traceSource(t, q, policy, statements)
	}
}

// addStep is out of line to keep the guest small.
//
//go:noinline
func addStep(t *abi.Trace, name abi.StepName, answer string) *abi.Step {
	t.Steps = append(t.Steps, abi.Step{Step: name, Answer: answer})
	return &t.Steps[len(t.Steps)-1]
}

// owner is step 3, and policy step 4, as evaluate has them.
func (e *Evaluator) owner(key uint64, q query) (account uint64, refusal abi.Reason) {
	if key == 0 {
		if account = e.accountOf(q); account == 0 {
			return 0, abi.ReasonUnknownAccount
		}
		return account, abi.ReasonNone
	}
	account = e.accounts.start + load32(e.image, key+idOwner)>>7<<3
	if q.hasAccount() && !hasID(e.image, account, q.account()) {
		return account, abi.ReasonAccountMismatch
	}
	return account, abi.ReasonNone
}

func (e *Evaluator) policy(key, account uint64) (policy uint64, level abi.Level) {
	for _, l := range []abi.Level{abi.LevelAccessKey, abi.LevelAccount} {
		record := key
		if l == abi.LevelAccount {
			record = account
		}
		if record == 0 {
			continue
		}
		if policy = load32(e.image, record+idPolicy); load8(e.image, policy+policyState) == stateActive {
			return policy, l
		}
	}
	return 0, abi.LevelNone
}

func (e *Evaluator) ownerAnswer(r *abi.Request, key, account uint64, refusal abi.Reason) string {
	switch {
	case refusal == abi.ReasonAccountMismatch:
		return "The key is listed under account " + e.id(account) + ", the request names " + quote(r.AccountID) + "."
	case refusal == abi.ReasonUnknownAccount && r.AccountID != "":
		return "The key is not listed, and account " + quote(r.AccountID) + " is not known."
	case refusal == abi.ReasonUnknownAccount:
		return "The key is not listed, the request names no account, and the policy set has " + decimal(e.Accounts()) + " of them."
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
		from = "The call comes from " + quote(t.Request.VPCID)
	}
	switch t.Decision.Reason {
	case abi.ReasonNoPublicPolicy:
		return from + ", and the policy has no public statement."
	case abi.ReasonNoVPCPolicy:
		return from + ", and the policy has no VPC statement."
	case abi.ReasonVPCNotListed:
		return from + ", which no VPC statement is about."
	}
	return from + "; " + plural(applying, "statement applies", "statements apply") + "."
}

func (e *Evaluator) traceSource(t *abi.Trace, q query, policy uint64, statements []abi.StatementTrace) {
	ip := t.Request.SourceIP
	answer := "No entry holds " + ip.String() + "."
	if t.Decision.Reason == abi.ReasonMatched {
		answer = t.Decision.Entry.String() + " in statement " + decimal(t.Decision.Statement) + " holds " + ip.String() + "."
	}
	step := addStep(t, abi.StepSource, answer)
	for _, s := range statements {
		if s.Verdict != abi.VerdictApplies {
			continue
		}
		s.Verdict = abi.VerdictNotListed
		if label := search(e.image, e.listOf(policy, s.Statement), q); label != 0 {
			entry, _ := ip.Prefix(int(label - 1))
			s.Verdict, s.Entry = abi.VerdictMatched, entry.String()
		}
		step.Statements = append(step.Statements, s)
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return decimal(n) + " " + many
}

func describeService(r *abi.Request) string {
	text := r.Service
	if r.Action != "" {
		text += " " + r.Action
	}
	if r.Protocol != "" {
		text += " over " + r.Protocol
	}
	return text
}

// id returns the id that a record holds, empty for the account that has none.
func (e *Evaluator) id(at uint64) string {
	length := load32(e.image, at+idOwner)&127 + 1
	if id := e.image[at+idText : at+idText+length]; id[0] != 0 {
		return string(id)
	}
	return ""
}

// statements lists the statements of a policy in their order, each with what
// step 5 says of it.
func (e *Evaluator) statements(policy uint64, q query) []abi.StatementTrace {
	var all []abi.StatementTrace
	const none = abi.MaxStatements
	public := none
	if list := load32(e.image, policy+policyPublic); list != 0 {
		public = int(list & 7)
	}
	addPublic := func() {
		s := abi.StatementTrace{Statement: public, Type: abi.TypeClassic, Verdict: abi.VerdictOtherNetwork}
		if !q.hasVPC() {
			s.Verdict = abi.VerdictApplies
		}
		all = append(all, s)
		public = none
	}
	at := policy + policyStatement
	for range e.image[policy+policyVPCs] {
		s := abi.StatementTrace{Statement: int(load32(e.image, at+vpcList) & 7), Type: abi.TypeVPC, Value: abi.AllowAllVPC}
		text := load32(e.image, at+vpcText)
		if text != 0 {
			s.Value = string(e.text(text))
		}
		switch {
		case !q.hasVPC():
			s.Verdict = abi.VerdictOtherNetwork
		case text == 0 || isText(e.image, text, q.vpc()):
			s.Verdict = abi.VerdictApplies
		default:
			s.Verdict = abi.VerdictOtherVPC
		}
		if public < s.Statement {
			addPublic()
		}
		all = append(all, s)
		at += vpcSize
	}
	if public != none {
		addPublic()
	}
	return all
}

// listOf returns the address list of the statement with that index.
func (e *Evaluator) listOf(policy uint64, statement int) uint64 {
	if list := load32(e.image, policy+policyPublic); list != 0 && int(list&7) == statement {
		return list &^ 7
	}
	at := policy + policyStatement
	for load32(e.image, at+vpcList)&7 != uint64(statement) {
		at += vpcSize
	}
	return load32(e.image, at+vpcList) &^ 7
}
