package policy

import (
	"math/bits"
	"sync"

	"github.com/keymoat/keymoat/abi"
)

// Evaluator judges requests by one image. A nil Evaluator is one with nothing
// loaded: it answers every request with abi.StatusNotLoaded.
type Evaluator struct {
	image       []byte
	accounts    index
	keys        index
	soleAccount uint64
	exemptions  uint64

	revisionOnce sync.Once
	revision     string
}

// Evaluate judges one request. It allocates nothing.
func (e *Evaluator) Evaluate(r *abi.Request) abi.Word {
	q, status := queryOf(r)
	if status != abi.StatusOK {
		return e.refuse(status)
	}
	return e.evaluate(q)
}

// refuse answers a request that cannot be read; with nothing loaded no request
// is even looked at.
func (e *Evaluator) refuse(status abi.Status) abi.Word {
	if e == nil {
		status = abi.StatusNotLoaded
	}
	return abi.ErrorWord(status)
}

// evaluate is the decision itself. Its steps are numbered as in DESIGN.md;
// Explain tells the same steps in words.
//
// The way of most requests is straight on, and what others need is elsewhere:
// on WebAssembly what is not done still costs, if it stands beside.
func (e *Evaluator) evaluate(q query) abi.Word {
	// 0. Nothing loaded is an error, never a decision; so is what cannot be
	// read, which queryOf and EvaluateEncoded have seen to.
	if e == nil {
		return abi.ErrorWord(abi.StatusNotLoaded)
	}
	if q.mayBeSettled() {
		if w := e.beforeOwner(q); w != 0 {
			return w
		}
	}
	// 3. The account that owns the key: where it is listed, else the one that
	// the request names, else the only one there is.
	image := e.image
	record, level := e.find(e.keys, q.key()), abi.LevelAccessKey
	if record == 0 {
		if record, level = e.accountOf(q), abi.LevelAccount; record == 0 {
			return settle(q, abi.EffectDeny, abi.ReasonUnknownAccount)
		}
		// The letters of an id that is listed were checked when it was compiled.
		if !abi.ValidID(q.key().String()) {
			return abi.ErrorWord(abi.StatusInvalidAccessKeyID)
		}
	} else if q.hasAccount() && !hasID(image, e.owner(record), q.account()) {
		return settle(q, abi.EffectDeny, abi.ReasonAccountMismatch)
	}
	// 4. The key's policy alone if it is active, else the account's.
	policy := load32(image, record+idPolicy)
	if load8(image, policy+policyState) != stateActive {
		if level == abi.LevelAccessKey {
			policy, level = load32(image, e.owner(record)+idPolicy), abi.LevelAccount
		}
		if load8(image, policy+policyState) != stateActive {
			return settle(q, abi.EffectAllow, abi.ReasonNoActivePolicy)
		}
	}
	// 5. and 6. The statements about this network, and the entries in them.
	if q.hasVPC() {
		return e.matchVPC(policy, level, q)
	}
	public := load32(image, policy+policyPublic)
	if public == 0 {
		return abi.NewWord(abi.EffectDeny, abi.ReasonNoPublicPolicy, level, abi.NetworkPublic)
	}
	label := search(image, public&^7, q)
	if label == 0 {
		return abi.NewWord(abi.EffectDeny, abi.ReasonSourceIPNotListed, level, abi.NetworkPublic)
	}
	return abi.NewWord(abi.EffectAllow, abi.ReasonMatched, level, abi.NetworkPublic).WithEntry(uint8(public&7), uint8(label-1))
}

// beforeOwner is steps 1 and 2. It returns 0, which no decision is, when they
// do not settle the request.
//
//go:noinline
func (e *Evaluator) beforeOwner(q query) abi.Word {
	// 1. Temporary credentials are known by their form alone.
	if isTemporary(q.key()) {
		return settle(q, abi.EffectAllow, abi.ReasonTemporaryCredential)
	}
	// 2. On an exempt service the policies have no effect.
	if q.hasService() && e.isExempt(q) {
		return settle(q, abi.EffectAllow, abi.ReasonExemptService)
	}
	return 0
}

// owner returns the account's record that the record of a key refers to.
func (e *Evaluator) owner(key uint64) uint64 {
	return e.accounts.start + load32(e.image, key+idOwner)>>7<<3
}

// matchVPC is steps 5 and 6 for a call from a VPC.
func (e *Evaluator) matchVPC(policy uint64, level abi.Level, q query) abi.Word {
	at := e.statementAbout(policy, q.vpc())
	if at < atLists {
		if at == unclear {
			return e.matchSeveral(policy, level, q)
		}
		if load8(e.image, policy+policyVPCs) == 0 {
			return abi.NewWord(abi.EffectDeny, abi.ReasonNoVPCPolicy, level, abi.NetworkVPC)
		}
		return abi.NewWord(abi.EffectDeny, abi.ReasonVPCNotListed, level, abi.NetworkVPC)
	}
	list := load32(e.image, at+vpcList)
	label := search(e.image, list&^7, q)
	if label == 0 {
		return abi.NewWord(abi.EffectDeny, abi.ReasonSourceIPNotListed, level, abi.NetworkVPC)
	}
	return abi.NewWord(abi.EffectAllow, abi.ReasonMatched, level, abi.NetworkVPC).WithEntry(uint8(list&7), uint8(label-1))
}

// unclear is what statementAbout returns when it takes a closer look.
const unclear = 1

// statementAbout returns the only VPC statement of a policy that is about a
// VPC, 0 if none is, and unclear if several may be. It calls nothing, so that
// nothing has to be kept in memory for the time of a call.
func (e *Evaluator) statementAbout(policy uint64, vpc text) uint64 {
	n := vpc.size()
	if n-8 > 24 {
		return unclear
	}
	image, last := e.image, vpc.word(n-8)
	tags := load64(image, policy+policyTags)
	candidates := zeroBytes(tags^everyByte*(last*hashOdd>>56|2)) | zeroBytes(tags)
	if candidates&(candidates-1) != 0 {
		return unclear
	}
	if candidates == 0 {
		return 0
	}
	at := policy + policyStatement + vpcSize*uint64(bits.TrailingZeros64(candidates)>>3)
	text := load32(image, at+vpcText)
	if text == 0 {
		return at
	}
	second, third, bytes := second(n), third(n), text+textBytes
	if (load32(image, text)^n)|(load64(image, bytes)^vpc.word(0))|(load64(image, bytes+second)^vpc.word(second))|
		(load64(image, bytes+third)^vpc.word(third))|(load64(image, bytes+n-8)^last) != 0 {
		return 0
	}
	return at
}

// matchSeveral is matchVPC where several statements may be about the VPC.
//
//go:noinline
func (e *Evaluator) matchSeveral(policy uint64, level abi.Level, q query) abi.Word {
	vpc, tags := q.vpc(), load64(e.image, policy+policyTags)
	reason, matched, statement := abi.ReasonVPCNotListed, uint64(0), uint64(0)
	for candidates := zeroBytes(tags^everyByte*tagOf(vpc)) | zeroBytes(tags); candidates != 0; candidates &= candidates - 1 {
		at := policy + policyStatement + vpcSize*uint64(bits.TrailingZeros64(candidates)>>3)
		if text := load32(e.image, at+vpcText); text != 0 && !isText(e.image, text, vpc) {
			continue
		}
		reason = abi.ReasonSourceIPNotListed
		list := load32(e.image, at+vpcList)
		// Of equally specific entries the first statement's counts.
		if label := search(e.image, list&^7, q); label > matched {
			matched, statement = label, list&7
		}
	}
	if matched == 0 {
		if load8(e.image, policy+policyVPCs) == 0 {
			reason = abi.ReasonNoVPCPolicy
		}
		return abi.NewWord(abi.EffectDeny, reason, level, abi.NetworkVPC)
	}
	return abi.NewWord(abi.EffectAllow, abi.ReasonMatched, level, abi.NetworkVPC).WithEntry(uint8(statement), uint8(matched-1))
}

// settle ends an evaluation before a policy is reached.
func settle(q query, effect abi.Effect, reason abi.Reason) abi.Word {
	if !abi.ValidID(q.key().String()) {
		return abi.ErrorWord(abi.StatusInvalidAccessKeyID)
	}
	return abi.NewWord(effect, reason, abi.LevelNone, q.network())
}

func (q query) network() abi.Network {
	if q.hasVPC() {
		return abi.NetworkVPC
	}
	return abi.NetworkPublic
}

// isTemporary is step 1: the forms of Alibaba Cloud's STS and console
// credentials, and of AWS's temporary ones.
func isTemporary(id text) bool {
	if id.size() < 4 {
		return false
	}
	fourth := id.word32(0) >> 24 // which sets most ids apart
	return (fourth == '.' || fourth == 'A') && hasTemporaryPrefix(id)
}

//go:noinline
func hasTemporaryPrefix(t text) bool {
	id := t.String()
	return id[:4] == "STS." || id[:4] == "TMP." || id[:4] == "ASIA" && isAWSTemporary(id)
}

// isAWSTemporary looks at the 16 characters behind ASIA.
func isAWSTemporary(id string) bool {
	const prefix, length = len("ASIA"), len("ASIA") + 16
	if len(id) != length {
		return false
	}
	for i := prefix; i < length; i++ {
		if c := id[i]; (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

// isExempt is step 2.
func (e *Evaluator) isExempt(q query) bool {
	service, action, protocol := q.service().String(), q.action().String(), q.protocol().String()
	hash := uint64(hashFold(service))
	for at := e.exemptions; at < e.accounts.start; at += exemptSize {
		if load32(e.image, at+exemptHash) == hash && e.foldEqual(load32(e.image, at+exemptService), service) &&
			e.foldMatches(load32(e.image, at+exemptAction), action) && e.foldMatches(load32(e.image, at+exemptProtocol), protocol) {
			return true
		}
	}
	return false
}

func (e *Evaluator) foldMatches(text uint64, s string) bool { return text == 0 || e.foldEqual(text, s) }

// foldEqual compares a text in lower case with s, ASCII letters without case.
func (e *Evaluator) foldEqual(text uint64, s string) bool {
	t := e.text(text)
	if len(t) != len(s) {
		return false
	}
	for i := 0; i < len(s); i++ {
		if t[i] != lower(s[i]) {
			return false
		}
	}
	return true
}

func (e *Evaluator) text(at uint64) []byte {
	return e.image[at+textBytes : at+textBytes+load32(e.image, at)]
}

// accountOf returns the record of the account that owns a key that is not
// listed, or 0.
//
//go:noinline
func (e *Evaluator) accountOf(q query) uint64 {
	switch id := q.account(); {
	case !q.hasAccount():
		return e.soleAccount
	case id.String()[0] == 0: // the id of a bare policy's account, and of no other
		return 0
	default:
		return e.find(e.accounts, id)
	}
}

const everyByte = 0x0101010101010101

// zeroBytes sets the highest bit of each byte of w that is zero, and no other:
// adding 0x7f to the lower seven bits carries into the highest unless all are zero.
func zeroBytes(w uint64) uint64 {
	const low = everyByte * 0x7f
	return ^(w&low + low | w | low)
}

// searchIPv6 is search among the n segments at first, by halves.
func searchIPv6(image []byte, first, n uint64, q query) (label uint64) {
	if n == 0 {
		return 0
	}
	at := uint64(0)
	for left := n; left > 1; {
		half := left >> 1
		next := first + 16*(at+half)
		_, borrow := bits.Sub64(q.lo, load64(image, next+8), 0)
		_, borrow = bits.Sub64(q.hi, load64(image, next), borrow)
		at += half & (borrow - 1)
		left -= half
	}
	return load8(image, first+16*n+at)
}

// find returns the record of an id, or 0. It has hashOf and same in it, for
// ids of common length, because the words of the id serve both and because on
// WebAssembly a call costs as much as what it would do.
func (e *Evaluator) find(x index, id text) uint64 {
	n := id.size()
	if n-8 > 24 {
		return e.findUncommon(x, id)
	}
	image := e.image
	second, third := second(n), third(n)
	w0, w1, w2, w3 := id.word(0), id.word(second), id.word(third), id.word(n-8)
	bucket := x.start + 4*(hashWords(n, w0, w1, w2, w3)>>(x.shift&63))
	at, end := load32(image, bucket), load32(image, bucket+4)
	for at < end {
		text := at + idText
		last := load32(image, at+idOwner) & 127 // index of the last byte
		if last == n-1 && (load64(image, text)^w0)|(load64(image, text+second)^w1)|
			(load64(image, text+third)^w2)|(load64(image, text+n-8)^w3) == 0 {
			return at
		}
		at = text + last&^7 + 8
	}
	return 0
}

func (e *Evaluator) findUncommon(x index, id text) uint64 {
	bucket := x.start + 4*(hashOf(id)>>(x.shift&63))
	at, end := load32(e.image, bucket), load32(e.image, bucket+4)
	for at < end && !hasID(e.image, at, id) {
		at += idText + load32(e.image, at+idOwner)&127&^7 + 8
	}
	if at < end {
		return at
	}
	return 0
}

// hasID compares the id of a record with id.
func hasID(image []byte, record uint64, id text) bool {
	return load32(image, record+idOwner)&127 == id.size()-1 && same(image, record+idText, id)
}

// isText compares a text of the image with t.
func isText(image []byte, at uint64, t text) bool {
	return load32(image, at) == t.size() && same(image, at+textBytes, t)
}

// same compares t, which is not empty, with as many bytes of the image.
func same(image []byte, at uint64, t text) bool {
	n := t.size()
	if n-8 > 24 {
		return sameUncommon(image, at, t)
	}
	// Four words that overlap, as in hashOf.
	second, third := second(n), third(n)
	return (load64(image, at)^t.word(0))|(load64(image, at+second)^t.word(second))|
		(load64(image, at+third)^t.word(third))|(load64(image, at+n-8)^t.word(n-8)) == 0
}

//go:noinline
func sameUncommon(image []byte, at uint64, t text) bool {
	return string(image[at:at+t.size()]) == t.String()
}

// Image returns the image that the evaluator reads. It must not be changed.
func (e *Evaluator) Image() []byte { return e.image }

// Revision is the SHA-256 of the image in lower-case hexadecimal digits. The
// first call computes it.
//
//go:noinline
func (e *Evaluator) Revision() string {
	e.revisionOnce.Do(func() {
		const digits = "0123456789abcdef"
		var text []byte
		for _, b := range sum256(e.image) {
			text = append(text, digits[b>>4], digits[b&15])
		}
		e.revision = string(text)
	})
	return e.revision
}

// Accounts and AccessKeys count what the image holds.
func (e *Evaluator) Accounts() int   { return int(load32(e.image, atAccountCount)) }
func (e *Evaluator) AccessKeys() int { return int(load32(e.image, atKeyCount)) }
