//go:build !wasip1

package policy

import (
	"net/netip"

	"github.com/keymoat/keymoat/abi"
)

// query is a request as the evaluator reads it: lengths checked, the source
// address taken apart. The guest has its own form, in query_wasip1.go.
type query struct {
	r *abi.Request

	hi, lo uint64 // the source address; an IPv4 address is in lo alone
	ipv4   bool
}

func (q query) isIPv4() bool { return q.ipv4 }

func (q query) hasVPC() bool     { return q.r.VPCID != "" }
func (q query) hasAccount() bool { return q.r.AccountID != "" }
func (q query) hasService() bool { return q.r.Service != "" }

// mayBeSettled reports whether steps 1 and 2 have to look at the request.
func (q query) mayBeSettled() bool { return q.hasService() || isTemporary(q.key()) }

func (q query) key() text      { return text(q.r.AccessKeyID) }
func (q query) vpc() text      { return text(q.r.VPCID) }
func (q query) account() text  { return text(q.r.AccountID) }
func (q query) service() text  { return text(q.r.Service) }
func (q query) action() text   { return text(q.r.Action) }
func (q query) protocol() text { return text(q.r.Protocol) }

// queryOf is the query of a request, which it refers to.
func queryOf(r *abi.Request) (q query, status abi.Status) {
	if len(r.VPCID)|len(r.AccountID)|len(r.Service)|len(r.Action)|len(r.Protocol) > abi.MaxField {
		return q, abi.StatusInvalidRequest
	}
	if uint(len(r.AccessKeyID)-1) >= abi.MaxAccessKeyID {
		return q, abi.StatusInvalidAccessKeyID
	}
	q.r = r
	return q, q.setSource(r.SourceIP)
}

// setSource takes an address apart.
func (q *query) setSource(ip netip.Addr) abi.Status {
	if ip.Is4() {
		b := ip.As4()
		q.lo, q.ipv4 = uint64(b[0])<<24|uint64(b[1])<<16|uint64(b[2])<<8|uint64(b[3]), true
		return abi.StatusOK
	}
	if !ip.IsValid() || ip.Zone() != "" {
		return abi.StatusInvalidSourceIP
	}
	b := ip.As16()
	q.hi, q.lo = be64(b[:8]), be64(b[8:])
	if q.hi == 0 && q.lo>>32 == 0xffff { // IPv4-mapped
		q.lo, q.ipv4 = uint64(uint32(q.lo)), true
	}
	return abi.StatusOK
}

// EvaluateEncoded judges the binary request (abi/README.md) at the front of b,
// and returns its length, 0 if that cannot be known.
func (e *Evaluator) EvaluateEncoded(b []byte) (abi.Word, int) {
	r, n, status := abi.DecodeRequest(b)
	if status != abi.StatusOK {
		return e.refuse(status), n
	}
	return e.Evaluate(&r), n
}
