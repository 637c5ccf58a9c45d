// Package caller makes the calls of the examples as a load balancer of the cloud
// would pass them on: it tells the caller's address and VPC in a PROXY protocol
// header.
package caller

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// Call is one call. Key and VPC may be empty.
type Call struct{ Who, Key, From, VPC string }

// Make makes the call and writes what came of it.
func (c Call) Make(ctx context.Context, address string, out io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/?Action=DescribeRegions", nil)
	if err != nil {
		return err
	}
	r.Host = "ecs.example.com"
	if c.Key != "" {
		r.Header.Set("Authorization", "ACS3-HMAC-SHA256 Credential="+c.Key+",SignedHeaders=host,Signature=0655")
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
		_, err = fmt.Fprintf(out, "  %-26s %d %s\n  %-26s     %s\n", c.Who, answer.StatusCode, refusal.Code, "", refusal.Message)
	} else {
		_, err = fmt.Fprintf(out, "  %-26s %d %s\n", c.Who, answer.StatusCode, body)
	}
	return err
}

func (c Call) dial(ctx context.Context, network, address string) (net.Conn, error) {
	from, err := netip.ParseAddr(c.From)
	if err != nil {
		return nil, err
	}
	connection, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	var tlvs []envoytest.TLV
	if c.VPC != "" {
		tlvs = append(tlvs, envoytest.VPC(c.VPC))
	}
	if _, err := connection.Write(envoytest.ProxyHeader(from, tlvs...)); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return connection, nil
}
