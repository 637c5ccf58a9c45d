package policy

import (
	"math/bits"
	"unsafe"

	"github.com/keymoat/keymoat/abi"
)

// query is a binary request as it lies in memory. It is passed by value, and
// small enough for the compiler to keep in registers; with a string for each
// field, write barriers alone took longer than the evaluation.
type query struct {
	base   unsafe.Pointer // the encoded request
	header uint64         // its first eight bytes: kind, and the lengths
	hi, lo uint64         // the source address; an IPv4 address is in lo alone
}

func (q query) isIPv4() bool { return uint8(q.header) == abi.SourceIPv4 }

func (q query) length(shift uint) uintptr { return uintptr(uint8(q.header >> shift)) }

func (q query) field(at, length uintptr) text {
	return text{unsafe.Add(q.base, at), uint64(length)}
}

func (q query) vpcAt() uintptr      { return abi.RequestHeaderSize + q.length(16) }
func (q query) accountAt() uintptr  { return q.vpcAt() + q.length(24) }
func (q query) serviceAt() uintptr  { return q.accountAt() + q.length(32) }
func (q query) actionAt() uintptr   { return q.serviceAt() + q.length(40) }
func (q query) protocolAt() uintptr { return q.actionAt() + q.length(48) }

func (q query) hasVPC() bool     { return q.length(24) != 0 }
func (q query) hasAccount() bool { return q.length(32) != 0 }
func (q query) hasService() bool { return q.length(40) != 0 }

// mayBeSettled reports whether steps 1 and 2 have to look at the request: there
// is a service, or an id whose fourth letter is that of a temporary credential,
// or that has fewer. It is one branch, since it is on the way of every request.
func (q query) mayBeSettled() bool {
	fourth := q.key().word32(0) >> 24
	return ((fourth^'.'-1)|(fourth^'A'-1)|(uint64(q.length(16))-4))>>63|uint64(q.length(40)) != 0
}

func (q query) key() text      { return q.field(abi.RequestHeaderSize, q.length(16)) }
func (q query) vpc() text      { return q.field(q.vpcAt(), q.length(24)) }
func (q query) account() text  { return q.field(q.accountAt(), q.length(32)) }
func (q query) service() text  { return q.field(q.serviceAt(), q.length(40)) }
func (q query) action() text   { return q.field(q.actionAt(), q.length(48)) }
func (q query) protocol() text { return q.field(q.protocolAt(), q.length(56)) }

// sizeOf is the length of a whole request: the header, and the sum of its
// seven lengths, which are added in four lanes of 16 bits.
func sizeOf(header uint64) int {
	const even = 0x00ff00ff00ff00ff
	lanes := header>>8&even + header>>16&even
	return abi.RequestHeaderSize + int(lanes*0x0001000100010001>>48)
}

// EvaluateEncoded judges the binary request (abi/README.md) at the front of b,
// and returns its length, 0 if that cannot be known. It allocates nothing.
func (e *Evaluator) EvaluateEncoded(b []byte) (abi.Word, int) {
	if len(b) < abi.RequestHeaderSize {
		return e.refuse(abi.StatusInvalidRequest), 0
	}
	header := load64(b, 0)
	n := sizeOf(header)
	if n > len(b) {
		return e.refuse(abi.StatusInvalidRequest), 0
	}
	if header>>16&0xff-1 >= abi.MaxAccessKeyID {
		return e.refuse(abi.StatusInvalidAccessKeyID), n
	}
	q := query{base: unsafe.Pointer(unsafe.SliceData(b)), header: header}
	switch uint16(header) { // the kind, and no text beside it
	case abi.SourceIPv4:
		q.lo = uint64(bits.ReverseBytes32(uint32(load32(b, 8))))
	case abi.SourceIPv6:
		q.hi, q.lo = bits.ReverseBytes64(load64(b, 8)), bits.ReverseBytes64(load64(b, 16))
		if q.hi == 0 && q.lo>>32 == 0xffff { // IPv4-mapped
			q.lo, q.header = uint64(uint32(q.lo)), header-abi.SourceIPv6+abi.SourceIPv4
		}
	default:
		return e.evaluateOther(b, n), n
	}
	return e.evaluate(q), n
}

// evaluateOther judges a request that gives its source address otherwise.
func (e *Evaluator) evaluateOther(b []byte, n int) abi.Word {
	r, _, status := abi.DecodeRequest(b[:n])
	if status != abi.StatusOK {
		return e.refuse(status)
	}
	return e.Evaluate(&r)
}

// encoded is where the guest, which has one thread, encodes requests that did
// not come in the form that a query wants.
var encoded [abi.MaxRequestSize]byte

// queryOf is the query of a request, until the next one.
func queryOf(r *abi.Request) (q query, status abi.Status) {
	if _, status = abi.PutRequest(encoded[:], r); status != abi.StatusOK {
		return q, status
	}
	b := encoded[:]
	header := load64(b, 0)
	if uint8(header) == abi.SourceIPv4 { // PutRequest has unmapped the address
		return query{unsafe.Pointer(&encoded), header, 0, uint64(bits.ReverseBytes32(uint32(load32(b, 8))))}, abi.StatusOK
	}
	return query{unsafe.Pointer(&encoded), header, bits.ReverseBytes64(load64(b, 8)), bits.ReverseBytes64(load64(b, 16))}, abi.StatusOK
}
