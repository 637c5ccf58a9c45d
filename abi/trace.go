package abi

// Trace is a decision with the way that led to it, for people: every step of
// the evaluation that was taken, in order. The last step decided.
type Trace struct {
	Request  Request  `json:"Request"`
	Decision Decision `json:"Decision"`
	Revision string   `json:"Revision"`
	Steps    []Step   `json:"Steps"`
}

// StepName names a question of the evaluation.
type StepName string

// The steps in the order of evaluation; DESIGN.md numbers them 1 to 6.
const (
	StepCredential StepName = "Credential" // 1: is the credential temporary?
	StepService    StepName = "Service"    // 2: is the service exempt?
	StepOwner      StepName = "Owner"      // 3: which account owns the key?
	StepPolicy     StepName = "Policy"     // 4: which policy is in force?
	StepNetwork    StepName = "Network"    // 5: which statements are about this network?
	StepSource     StepName = "Source"     // 6: does one of them list the address?
)

// Steps lists every step in the order of evaluation.
func Steps() []StepName {
	return []StepName{StepCredential, StepService, StepOwner, StepPolicy, StepNetwork, StepSource}
}

// Step is one question that was asked and its answer.
type Step struct {
	Step       StepName         `json:"Step"`
	Answer     string           `json:"Answer"`               // a sentence
	Reason     string           `json:"Reason,omitempty"`     // set on the step that decided
	Account    string           `json:"Account,omitempty"`    // Owner: the owning account
	Level      string           `json:"Level,omitempty"`      // Policy: whose policy is in force
	Statements []StatementTrace `json:"Statements,omitempty"` // Network and Source: the statements of that policy
}

// StatementTrace tells what became of one statement.
type StatementTrace struct {
	Statement int     `json:"Statement"`
	Type      string  `json:"Type"`
	Value     string  `json:"Value,omitempty"`
	Verdict   Verdict `json:"Verdict"`
	Entry     string  `json:"Entry,omitempty"` // the most specific entry that holds the address
}

// Verdict is what became of a statement.
type Verdict string

// The verdicts.
const (
	VerdictOtherNetwork Verdict = "OtherNetwork" // it is about the other network, public or VPC
	VerdictOtherVPC     Verdict = "OtherVPC"     // it is about another VPC
	VerdictApplies      Verdict = "Applies"      // it is about the network of this call
	VerdictNotListed    Verdict = "NotListed"    // it applies and does not list the address
	VerdictMatched      Verdict = "Matched"      // it applies and lists the address
)

// Verdicts lists every verdict.
func Verdicts() []Verdict {
	return []Verdict{VerdictOtherNetwork, VerdictOtherVPC, VerdictApplies, VerdictNotListed, VerdictMatched}
}
