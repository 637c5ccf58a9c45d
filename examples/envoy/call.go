package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// call is a call as it comes through a load balancer of the cloud, which tells
// the caller's address and VPC in a PROXY protocol header.
type call struct{ who, key, from, vpc string }

// make makes the call and writes what came of it.
func (c call) make(ctx context.Context, address string, out io.Writer) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/?Action=DescribeRegions", nil)
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
	from, err := netip.ParseAddr(c.from)
	if err != nil {
		return nil, err
	}
	connection, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	var tlvs []envoytest.TLV
	if c.vpc != "" {
		tlvs = append(tlvs, envoytest.VPC(c.vpc))
	}
	if _, err := connection.Write(envoytest.ProxyHeader(from, tlvs...)); err != nil {
		_ = connection.Close()
		return nil, err
	}
	return connection, nil
}

// showCounters writes the counters that are not zero, once they hold all calls.
func showCounters(ctx context.Context, envoy *envoytest.Envoy, out io.Writer) error {
	const prefix = "wasmcustom.keymoat.decision."
	calls := 0
	for _, scene := range scenes("") {
		calls += len(scene.calls)
	}
	var counters map[string]int
	if err := envoy.Wait(ctx, "the counters", func() bool {
		var err error
		if counters, err = envoy.Stats(ctx, `^wasmcustom\.keymoat\.decision`); err != nil {
			return false
		}
		sum := 0
		for _, n := range counters {
			sum += n
		}
		return sum == calls
	}); err != nil {
		return err
	}
	var lines []string
	for name, n := range counters {
		if n > 0 {
			lines = append(lines, fmt.Sprintf("  %-44s %d\n", strings.TrimPrefix(name, prefix), n))
		}
	}
	slices.Sort(lines)
	_, err := fmt.Fprintf(out, "Envoy's counters, %s…\n%s", prefix, strings.Join(lines, ""))
	return err
}
