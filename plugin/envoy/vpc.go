package main

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
)

// vpcSource says where the VPC id of a request comes from.
type vpcSource struct {
	from    vpcFrom
	value   string      // vpcStatic
	path    string      // vpcTLV: the property
	header  string      // vpcHeader, in lower case
	trusted []ip.Prefix // vpcHeader
}

type vpcFrom uint8

const (
	vpcNone vpcFrom = iota // every request is public
	vpcStatic
	vpcTLV
	vpcHeader
)

const (
	// tlvPath is where Envoy's PROXY protocol listener filter puts TLVs when
	// its tlv_location is FILTER_STATE. The rule's key follows.
	tlvPath = "filter_state\x00envoy.network.proxy_protocol.tlv\x00"
	// tlvIsVPCID is the first byte of a TLV that holds a VPC id. Others hold
	// ids of endpoints, under the same type.
	tlvIsVPCID = 1

	// peerPath is where an operator may put the address of the connection's
	// peer, which a filter does not see once X-Forwarded-For is evaluated.
	peerPath = "filter_state\x00keymoat.peer"
)

// findVPC finds the id of the VPC that the request comes from, "" for the
// public network. It is a problem if there is something else in that place: to
// take such a request for a public one would judge it by the wrong list.
func (f *filter) findVPC(c *config, r *request) denial.Problem {
	switch c.vpc.from {
	case vpcStatic:
		r.vpcID = c.vpc.value
		return denial.NoProblem
	case vpcTLV:
		value, found := f.host.property(c.vpc.path)
		switch {
		case found == absent:
			return denial.NoProblem
		case found != present || len(value) == 0 || value[0] != tlvIsVPCID:
			return denial.InvalidVPCID
		}
		r.vpcID = unsafe.String(unsafe.SliceData(value), len(value))[1:]
		if !abi.ValidVPCID(r.vpcID) {
			return denial.InvalidVPCID
		}
		return denial.NoProblem
	}
	return f.findVPCHeader(c, r)
}

// findVPCHeader believes the header as it is configured, if a trusted peer has
// sent it, and removes it otherwise. In another spelling it is always removed:
// a trusted peer that writes the one may pass on the other, and the upstream
// may take both for the same.
func (f *filter) findVPCHeader(c *config, r *request) denial.Problem {
	believed, removed := 0, false
	looked, trusted := false, false
	for reader := readHeaders(r.headers); ; {
		name, value, ok := reader.next(c.headers)
		if !ok {
			break
		}
		if !credential.SameName(name, c.vpc.header) {
			continue
		}
		if !looked {
			looked, trusted = true, f.isTrusted(c, &r.source)
		}
		if trusted && name == c.vpc.header {
			r.vpcID = value
			believed++
			continue
		}
		if !f.host.removeRequestHeader(name) {
			return denial.Internal // the upstream would believe it
		}
		removed = true
	}
	if removed {
		f.host.add(f.counters.vpcHeaderRemoved, 1)
	}
	if believed > 1 || believed == 1 && !abi.ValidVPCID(r.vpcID) {
		return denial.InvalidVPCID
	}
	return denial.NoProblem
}

// isTrusted reports whether the peer of the connection may set the VPC header.
func (f *filter) isTrusted(c *config, s *source) bool {
	peer := s.peer()
	if !s.direct {
		value, found := f.host.property(peerPath)
		if found != present {
			return false
		}
		peer = parsePeer(string(value))
	}
	for _, block := range c.vpc.trusted {
		if block.Contains(peer) {
			return true
		}
	}
	return false
}
