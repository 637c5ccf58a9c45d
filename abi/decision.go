package abi

import "strconv"

// DenialCode is the error code that a refused caller sees, the cloud's own.
const DenialCode = "InvalidAccessKeyId.AccessPolicyDenied"

// Effect is what is to be done with the call. Its zero value denies.
type Effect uint8

// The two effects.
const (
	EffectDeny  Effect = 0
	EffectAllow Effect = 1
)

// Reason says which rule decided. Zero is no reason: a decision that carries
// it did not come from an evaluator and must be taken for an error.
type Reason uint8

// The reasons, in the order of evaluation.
const (
	ReasonNone                Reason = 0
	ReasonNoAccessKey         Reason = 1  // the HTTP request claims no key id
	ReasonAmbiguousAccessKey  Reason = 2  // the HTTP request claims two different key ids
	ReasonTemporaryCredential Reason = 3  // by its form the id belongs to a temporary credential
	ReasonExemptService       Reason = 4  // the policies have no effect on this service
	ReasonAccountMismatch     Reason = 5  // the key is listed under another account than the request names
	ReasonUnknownAccount      Reason = 6  // no account of the policy set owns the key
	ReasonNoActivePolicy      Reason = 7  // neither the key nor its account has an active policy
	ReasonNoVPCPolicy         Reason = 8  // the call comes from a VPC, the policy has no VPC statement
	ReasonVPCNotListed        Reason = 9  // no VPC statement is about the VPC that the call comes from
	ReasonNoPublicPolicy      Reason = 10 // the call is public, the policy has no public statement
	ReasonSourceIPNotListed   Reason = 11 // the statements that apply do not list the source address
	ReasonMatched             Reason = 12 // an entry holds the source address
)

// Level is the policy that decided: none, the account's or the key's own.
type Level uint8

// The levels.
const (
	LevelNone      Level = 0
	LevelAccount   Level = 1
	LevelAccessKey Level = 2
)

// Network is the class of the call: from a VPC if it carries a VPC id, else public.
type Network uint8

// The networks.
const (
	NetworkPublic Network = 0
	NetworkVPC    Network = 1
)

var (
	effectNames = [...]string{EffectDeny: "Deny", EffectAllow: "Allow"}
	reasonNames = [...]string{
		ReasonNoAccessKey:         "NoAccessKey",
		ReasonAmbiguousAccessKey:  "AmbiguousAccessKey",
		ReasonTemporaryCredential: "TemporaryCredential",
		ReasonExemptService:       "ExemptService",
		ReasonAccountMismatch:     "AccountMismatch",
		ReasonUnknownAccount:      "UnknownAccount",
		ReasonNoActivePolicy:      "NoActivePolicy",
		ReasonNoVPCPolicy:         "NoVPCPolicy",
		ReasonVPCNotListed:        "VPCNotListed",
		ReasonNoPublicPolicy:      "NoPublicPolicy",
		ReasonSourceIPNotListed:   "SourceIPNotListed",
		ReasonMatched:             "Matched",
	}
	levelNames   = [...]string{LevelNone: "None", LevelAccount: "Account", LevelAccessKey: "AccessKey"}
	networkNames = [...]string{NetworkPublic: "Public", NetworkVPC: "VPC"}
)

// Effects, Reasons, Levels and Networks list every value that a decision may carry.
func Effects() []Effect   { return enumerate(len(effectNames), EffectDeny) }
func Reasons() []Reason   { return enumerate(len(reasonNames), ReasonNoAccessKey) }
func Levels() []Level     { return enumerate(len(levelNames), LevelNone) }
func Networks() []Network { return enumerate(len(networkNames), NetworkPublic) }

func (e Effect) String() string  { return nameOf(effectNames[:], uint8(e), "Effect") }
func (r Reason) String() string  { return nameOf(reasonNames[:], uint8(r), "Reason") }
func (l Level) String() string   { return nameOf(levelNames[:], uint8(l), "Level") }
func (n Network) String() string { return nameOf(networkNames[:], uint8(n), "Network") }

// MarshalText makes the names the JSON form.
func (e Effect) MarshalText() ([]byte, error)  { return []byte(e.String()), nil }
func (r Reason) MarshalText() ([]byte, error)  { return []byte(r.String()), nil }
func (l Level) MarshalText() ([]byte, error)   { return []byte(l.String()), nil }
func (n Network) MarshalText() ([]byte, error) { return []byte(n.String()), nil }

// UnmarshalText accepts exactly the names that String returns.
func (e *Effect) UnmarshalText(b []byte) error  { return fromName(effectNames[:], b, e, "Effect") }
func (r *Reason) UnmarshalText(b []byte) error  { return fromName(reasonNames[:], b, r, "Reason") }
func (l *Level) UnmarshalText(b []byte) error   { return fromName(levelNames[:], b, l, "Level") }
func (n *Network) UnmarshalText(b []byte) error { return fromName(networkNames[:], b, n, "Network") }

func fromName[T ~uint8](names []string, b []byte, v *T, kind string) error {
	for i, name := range names {
		if name != "" && name == string(b) {
			*v = T(i)
			return nil
		}
	}
	return &Error{Status: StatusInvalidArgument, Message: "unknown " + kind + " \"" + string(b) + "\""}
}

// Decision is the answer to one request.
//
// Statement and Entry name the most specific entry that matched: Statement is
// its statement's index in the policy of the deciding Level, Entry the block
// itself with host bits masked. Entry is the zero Prefix, and Statement is 0,
// when nothing matched.
type Decision struct {
	Effect    Effect
	Reason    Reason
	Level     Level
	Network   Network
	Statement int
	Entry     Prefix
}

// Allowed reports whether the call may go on. It is false for the zero Decision.
func (d Decision) Allowed() bool { return d.Effect == EffectAllow && d.Reason != ReasonNone }

// Code returns DenialCode for a denial and "" otherwise.
func (d Decision) Code() string {
	if d.Effect == EffectAllow {
		return ""
	}
	return DenialCode
}

// AppendJSON appends the decision as one JSON object without white space. No
// value in it needs escaping.
func (d Decision) AppendJSON(b []byte) []byte {
	b = appendStrings(b, `{"Effect":"`, d.Effect.String(), `","Reason":"`, d.Reason.String(),
		`","Level":"`, d.Level.String(), `","Network":"`, d.Network.String(), `"`)
	if d.Entry.IsValid() {
		b = appendStrings(b, `,"Statement":`, strconv.Itoa(d.Statement), `,"Entry":"`, d.Entry.String(), `"`)
	}
	if code := d.Code(); code != "" {
		b = appendStrings(b, `,"Code":"`, code, `"`)
	}
	return append(b, '}')
}

func appendStrings(b []byte, all ...string) []byte {
	for _, s := range all {
		b = append(b, s...)
	}
	return b
}

// MarshalJSON returns what AppendJSON appends.
func (d Decision) MarshalJSON() ([]byte, error) { return d.AppendJSON(nil), nil }

// Word is a decision, or the status that stands in its place, packed into the
// 64 bits that keymoat_evaluate returns:
//
//	bits  0–7   status; if not zero, all other bits are zero
//	bits  8–15  effect
//	bits 16–23  reason
//	bits 24–31  level
//	bits 32–39  network
//	bits 40–47  statement
//	bits 48–55  prefix length of the matched entry
//	bit  56     an entry matched: statement and prefix length count
//	bits 57–63  zero, so that a signed 64-bit integer is never negative
type Word uint64

const wordMatched Word = 1 << 56

// ErrorWord returns the word of a request that could not be decided.
func ErrorWord(s Status) Word { return Word(s) }

// NewWord packs a decision without a matched entry.
func NewWord(e Effect, r Reason, l Level, n Network) Word {
	return Word(e)<<8 | Word(r)<<16 | Word(l)<<24 | Word(n)<<32
}

// WithEntry adds the statement and the prefix length of the entry that matched.
func (w Word) WithEntry(statement, bits uint8) Word {
	return w | Word(statement)<<40 | Word(bits)<<48 | wordMatched
}

// Status returns the status, StatusOK if the word holds a decision.
func (w Word) Status() Status { return Status(w) }

// Reason returns the reason, without the checks that Decision makes.
func (w Word) Reason() Reason { return Reason(w >> 16) }

// Append appends the word in the order that batches return it: little-endian.
func (w Word) Append(b []byte) []byte {
	return append(b, byte(w), byte(w>>8), byte(w>>16), byte(w>>24), byte(w>>32), byte(w>>40), byte(w>>48), byte(w>>56))
}

// Decision unpacks the word. The source address of the request restores the
// matched entry. The status is not StatusOK if the word holds one, and
// StatusInternal if it holds a value that no evaluator returns.
func (w Word) Decision(source Addr) (d Decision, s Status) {
	s = w.Unpack(source, &d)
	return d, s
}

// occurring has, for each reason, a bit for each pair of level and effect that
// an evaluator gives it with: bit 2×level + effect.
var occurring = [...]uint8{
	ReasonNoAccessKey:         1<<EffectAllow | 1<<EffectDeny, // which of them is configured
	ReasonAmbiguousAccessKey:  1 << EffectDeny,
	ReasonTemporaryCredential: 1 << EffectAllow,
	ReasonExemptService:       1 << EffectAllow,
	ReasonAccountMismatch:     1 << EffectDeny,
	ReasonUnknownAccount:      1 << EffectDeny,
	ReasonNoActivePolicy:      1 << EffectAllow,
	ReasonNoVPCPolicy:         deniedByPolicy,
	ReasonVPCNotListed:        deniedByPolicy,
	ReasonNoPublicPolicy:      deniedByPolicy,
	ReasonSourceIPNotListed:   deniedByPolicy,
	ReasonMatched:             1<<(2*uint(LevelAccount)+uint(EffectAllow)) | 1<<(2*uint(LevelAccessKey)+uint(EffectAllow)),
}

const deniedByPolicy = 1<<(2*uint(LevelAccount)+uint(EffectDeny)) | 1<<(2*uint(LevelAccessKey)+uint(EffectDeny))

// Occurs reports whether an evaluator can give this reason with this effect and
// at this level. A host must take any other decision for an error.
func (d Decision) Occurs() bool {
	return int(d.Reason) < len(occurring) && d.Effect <= EffectAllow && d.Level <= LevelAccessKey && d.Network <= NetworkVPC &&
		occurring[d.Reason]>>(2*d.Level+Level(d.Effect))&1 != 0
}

// Unpack is Decision into d, which spares a copy where every nanosecond counts.
func (w Word) Unpack(source Addr, d *Decision) Status {
	*d = Decision{}
	if s := w.Status(); s != StatusOK {
		return s
	}
	effect, reason, level, network := Effect(w>>8), Reason(w>>16), Level(w>>24), Network(w>>32)
	if w>>57 != 0 || !(Decision{Effect: effect, Reason: reason, Level: level, Network: network}).Occurs() {
		return StatusInternal
	}
	if w&wordMatched != 0 {
		entry, err := source.Unmap().Prefix(int(uint8(w >> 48)))
		if err != nil || !entry.IsValid() { // the zero Addr gives no error
			return StatusInternal
		}
		d.Statement, d.Entry = int(uint8(w>>40)), entry
	}
	d.Effect, d.Reason, d.Level, d.Network = effect, reason, level, network
	return StatusOK
}
