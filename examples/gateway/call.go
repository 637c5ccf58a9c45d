package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/pires/go-proxyproto"
)

// call is a call as it comes through a load balancer of the cloud, which tells
// the caller's address and VPC in a PROXY protocol header.
type call struct{ who, key, from, vpc string }

// make makes the call and writes what came of it.
func (c call) make(ctx context.Context, gateway string, out io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+gateway+"/?Action=DescribeRegions", nil)
	if err != nil {
		return err
	}
	r.Host = "ecs.example.com"
	if c.key != "" {
		r.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential="+c.key+",SignedHeaders=host,Signature=0655")
	}
	transport := &http.Transport{DialContext: c.dial, DisableKeepAlives: true} // another caller is another connection
	answer, err := transport.RoundTrip(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var refusal struct{ Code, Message string }
	if json.Unmarshal(body, &refusal) == nil {
		_, err = fmt.Fprintf(out, "  %-26s %d %s\n  %-26s     %s\n", c.who, answer.StatusCode, refusal.Code, "", refusal.Message)
	} else {
		_, err = fmt.Fprintf(out, "  %-26s %d %s\n", c.who, answer.StatusCode, body)
	}
	return err
}

func (c call) dial(ctx context.Context, network, address string) (net.Conn, error) {
	const vpcType, vpcSubtype, port = 0xE1, "\x01", 50000
	from, err := netip.ParseAddr(c.from)
	if err != nil {
		return nil, err
	}
	connection, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	header := proxyproto.HeaderProxyFromAddrs(2, net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, port)), connection.RemoteAddr())
	if c.vpc != "" {
		err = header.SetTLVs([]proxyproto.TLV{{Type: vpcType, Value: []byte(vpcSubtype + c.vpc)}})
	}
	if err == nil {
		_, err = header.WriteTo(connection)
	}
	if err != nil {
		_ = connection.Close()
		return nil, err
	}
	return connection, nil
}
