package httpguard

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pires/go-proxyproto"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
)

// vpcSource says where the VPC id of a request comes from.
type vpcSource struct {
	from    vpcFrom
	id      string // vpcStatic
	header  string // vpcHeader, in canonical form
	trusted blocks // vpcHeader
}

type vpcFrom uint8

const (
	vpcNone vpcFrom = iota // every request is public
	vpcStatic
	vpcTLV
	vpcHeader
)

func (v *vpcSource) set(to vpcSource) error {
	if v.from != vpcNone {
		return errors.New("a VPC id can come from one place only")
	}
	*v = to
	return nil
}

// withoutUntrustedHeader returns the request without a VPC header that its
// sender is not believed with, and without any that is spelt in another way:
// the service may not tell it from the one that was judged.
func (v *vpcSource) withoutUntrustedHeader(r *http.Request) (_ *http.Request, removed bool) {
	if v.from != vpcHeader {
		return r, false
	}
	believed := v.trusted.contain(peer(r))
	var rest http.Header // a handler may not change the request that it got
	for name := range r.Header {
		if !credential.SameName(name, v.header) || believed && name == v.header {
			continue
		}
		if rest == nil {
			rest = r.Header.Clone()
		}
		delete(rest, name)
	}
	if rest == nil {
		return r, false
	}
	r = r.WithContext(r.Context())
	r.Header = rest
	return r, true
}

// idOf returns the id of the VPC that a request comes from, "" for the public
// network. To take a request for a public one when something else stands in
// that place would judge it by the wrong list, so that is an error.
func (v *vpcSource) idOf(r *http.Request) (string, error) {
	switch v.from {
	case vpcStatic:
		return v.id, nil
	case vpcTLV:
		c := connectionOf(r)
		if c == nil {
			return "", errors.New("the connection is not of Guard.Listener, or the server lacks Guard.ConnContext")
		}
		return c.vpc()
	case vpcHeader:
		lines := r.Header[v.header] // of a trusted peer, or it would be gone
		switch {
		case len(lines) == 0:
			return "", nil
		case len(lines) > 1 || !abi.ValidVPCID(lines[0]):
			return "", fmt.Errorf("%s does not hold the id of one VPC: %q", v.header, denial.Cut(strings.Join(lines, ", ")))
		}
		return lines[0], nil
	}
	return "", nil
}

// The load balancers of the cloud send ids in TLVs of this type, with a
// subtype in front. Other subtypes hold ids of endpoints.
const (
	tlvType  proxyproto.PP2Type = 0xE1
	tlvVPCID byte               = 0x01
)

// vpcFromTLVs returns the VPC id among the TLVs of a PROXY protocol header.
func vpcFromTLVs(tlvs []proxyproto.TLV) (id string, err error) {
	other := false
	for _, tlv := range tlvs {
		switch {
		case tlv.Type != tlvType:
		case len(tlv.Value) == 0:
			return "", errors.New("the TLV 0xE1 is empty")
		case tlv.Value[0] != tlvVPCID:
			other = true
		case !abi.ValidVPCID(string(tlv.Value[1:])):
			return "", fmt.Errorf("the TLV 0xE1 does not hold the id of a VPC: %q", denial.Cut(string(tlv.Value[1:])))
		case id != "" && id != string(tlv.Value[1:]):
			return "", errors.New("two TLVs name different VPCs")
		default:
			id = string(tlv.Value[1:])
		}
	}
	if id == "" && other {
		return "", errors.New("the TLV 0xE1 has another subtype: the call comes through an endpoint, and the VPC is not told")
	}
	return id, nil
}
