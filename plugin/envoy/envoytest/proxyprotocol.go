package envoytest

import (
	"encoding/binary"
	"net/netip"
)

// TLVAlibaba is the type of the TLV in which Alibaba Cloud's load balancers
// send a VPC id, among others.
const TLVAlibaba = 0xe1

// TLV is one type-length-value field of a PROXY protocol header.
type TLV struct {
	Type  byte
	Value string
}

// VPC is the TLV that carries a VPC id: the first byte tells what follows.
func VPC(id string) TLV { return TLV{TLVAlibaba, "\x01" + id} }

// ProxyHeader is the header, in version 2 of the PROXY protocol, of a
// connection that was forwarded from a client.
func ProxyHeader(client netip.Addr, tlvs ...TLV) []byte {
	const tcpOverIPv4, tcpOverIPv6 = 0x11, 0x21
	server := netip.MustParseAddr("192.0.2.10")
	family := byte(tcpOverIPv4)
	if client.Is6() {
		server, family = netip.MustParseAddr("2001:db8::10"), tcpOverIPv6
	}
	body := append(client.AsSlice(), server.AsSlice()...)
	body = append(body, 0x30, 0x39, 0x01, 0xbb) // from port 12345 to port 443
	for _, t := range tlvs {
		body = append(body, t.Type)
		body = binary.BigEndian.AppendUint16(body, uint16(len(t.Value)))
		body = append(body, t.Value...)
	}
	return RawProxyHeader(0x21, family, body)
}

// RawProxyHeader puts a PROXY protocol header together from its version and
// command, its family and protocol, and what follows its length.
func RawProxyHeader(command, family byte, body []byte) []byte {
	b := []byte("\r\n\r\n\x00\r\nQUIT\n")
	b = append(b, command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return append(b, body...)
}
