package denial

import "github.com/keymoat/keymoat/abi"

// Denial is what is known of a request that was refused. Its strings may be
// whatever a caller sent: they are escaped, and cut when they are long. An
// empty string is left out of the answer.
type Denial struct {
	Problem Problem    // stands in place of a decision
	Reason  abi.Reason // of the decision, if there is no problem

	SourceIP  string // the source address as it was seen
	VPCID     string // of the VPC that the request came from
	RequestID string // by which both sides can name the request
	Host      string // that the request was for
}

// Code is the cloud's code for a denial, and the problem's name for a request
// that could not be judged.
func (d *Denial) Code() string {
	if d.Problem != NoProblem {
		return d.Problem.String()
	}
	return abi.DenialCode
}

// Status returns the HTTP status of the answer: of a denial the one that is
// configured. A request that could not be judged has broken no rule, and gets
// 403 whatever is configured.
func (d *Denial) Status(configured int) int {
	if d.Problem != NoProblem {
		return 403
	}
	return configured
}

// AppendMessage appends a sentence or two for people, not escaped for any
// format except that it holds no control characters.
func (d *Denial) AppendMessage(b []byte) []byte { return d.appendMessage(b, escapeNothing) }

func (d *Denial) appendMessage(b []byte, e escape) []byte {
	b = append(b, d.what()...)
	if d.SourceIP == "" {
		return b
	}
	if d.Problem == InvalidSourceIP {
		b = append(b, " It was given as "...)
		b = appendEscaped(b, d.SourceIP, e)
		return append(b, '.')
	}
	b = append(b, " The source address is "...)
	b = appendEscaped(b, d.SourceIP, e)
	if d.VPCID != "" && d.Problem == NoProblem {
		b = append(b, " in "...)
		b = appendEscaped(b, d.VPCID, e)
	}
	return append(b, '.')
}

// what says what is wrong. No text in it needs escaping.
func (d *Denial) what() string {
	switch d.Problem {
	case NoProblem:
	case InvalidAccessKeyID:
		return "The access key of the request cannot be read."
	case InvalidSourceIP:
		return "The source address of the request cannot be read."
	case InvalidVPCID:
		return "The VPC of the request cannot be read."
	default:
		return "The request could not be judged."
	}
	switch d.Reason {
	case abi.ReasonNoAccessKey:
		return "The request names no access key."
	case abi.ReasonAmbiguousAccessKey:
		return "The request names two different access keys."
	}
	return "Specified access key denied due to access policy."
}

// recommendation says what the caller can do. No text in it needs escaping.
func (d *Denial) recommendation() string {
	switch {
	case d.Problem == InvalidAccessKeyID:
		return "Sign the request with one access key and give its id in one form."
	case d.Problem != NoProblem:
		return "Report the request to those who run this service."
	case d.Reason == abi.ReasonNoAccessKey:
		return "Sign the request with an access key."
	case d.Reason == abi.ReasonAmbiguousAccessKey:
		return "Name the access key that signs the request and no other."
	}
	return "Call from a network that the policies for this access key list, or have the source address added to them."
}

// Problem is why a request could not be judged at all. Every problem refuses.
type Problem uint8

// The problems.
const (
	NoProblem          Problem = iota
	InvalidAccessKeyID         // a place that carries a key id holds something else
	InvalidSourceIP            // the source address cannot be read
	InvalidVPCID               // the place that the VPC id is taken from holds something else
	NotLoaded                  // there are no rules yet
	Internal                   // anything else
)

// The names are those of the ABI's statuses. InvalidVpcId has none there, since
// an evaluator takes any VPC id: it is the host that finds out.
var problemNames = [...]string{
	NoProblem:          "",
	InvalidAccessKeyID: "InvalidAccessKeyId",
	InvalidSourceIP:    "InvalidSourceIp",
	InvalidVPCID:       "InvalidVpcId",
	NotLoaded:          "NotLoaded",
	Internal:           "Internal",
}

// Problems lists every problem, for hosts that count them.
func Problems() []Problem {
	return []Problem{InvalidAccessKeyID, InvalidSourceIP, InvalidVPCID, NotLoaded, Internal}
}

// String returns the code of the problem, "" for NoProblem.
func (p Problem) String() string {
	if int(p) < len(problemNames) {
		return problemNames[p]
	}
	return problemNames[Internal]
}

// IsFault reports whether the problem lies with those who run the service and
// not with the request. A fault refuses also where refusals are only reported:
// what would become of the request is not known.
func (p Problem) IsFault() bool { return p >= NotLoaded }

// ProblemOf returns the problem that a status of the evaluator stands for.
func ProblemOf(s abi.Status) Problem {
	switch s {
	case abi.StatusOK:
		return NoProblem
	case abi.StatusInvalidAccessKeyID:
		return InvalidAccessKeyID
	case abi.StatusInvalidSourceIP:
		return InvalidSourceIP
	case abi.StatusNotLoaded:
		return NotLoaded
	}
	return Internal
}
