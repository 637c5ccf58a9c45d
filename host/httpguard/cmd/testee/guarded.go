package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pires/go-proxyproto"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/httpguard"
)

// guarded is an evaluator that is asked through a guard, over HTTP. Rules go
// straight to the evaluator behind it, as a program that uses a guard loads them.
type guarded struct {
	host.Evaluator
	sites map[configuration]*site
	asked int // requests that were sent
}

// configuration is what differs from guard to guard. What a request cannot
// carry is configured.
type configuration struct {
	service, accountID string
	denyMissing        bool
	denyForms          bool
}

func newGuarded(e host.Evaluator) *guarded {
	return &guarded{Evaluator: e, sites: map[configuration]*site{}}
}

// Evaluate asks with the key id in the header of the cloud's ROA style.
func (g *guarded) Evaluate(ctx context.Context, r abi.Request) (abi.Decision, error) {
	return g.Authorize(ctx, abi.HTTPRequest{
		Target:  "/",
		Headers: []abi.HTTPHeader{{Name: "Authorization", Value: "acs " + r.AccessKeyID + ":c2lnbmF0dXJl"}},

		SourceIP: r.SourceIP, VPCID: r.VPCID, AccountID: r.AccountID, Service: r.Service, Action: r.Action, Protocol: r.Protocol,
		DenyMissingAccessKey: true,
	})
}

// Authorize sends the request.
func (g *guarded) Authorize(_ context.Context, r abi.HTTPRequest) (abi.Decision, error) {
	if r.Action != "" || r.Protocol != "" {
		return abi.Decision{}, inexpressible("a guard is not told the action or the protocol")
	}
	c := configuration{r.Service, r.AccountID, r.DenyMissingAccessKey, r.DenyFormBody}
	s := g.sites[c]
	if s == nil {
		var err error
		if s, err = newSite(g.Evaluator, c); err != nil {
			return abi.Decision{}, inexpressible(err.Error())
		}
		g.sites[c] = s
	}
	g.asked++
	return s.ask(r)
}

// Explain has no counterpart.
func (g *guarded) Explain(context.Context, abi.Request) (abi.Trace, error) {
	return abi.Trace{}, inexpressible("a guard gives no traces")
}

// Close ends the servers too.
func (g *guarded) Close(ctx context.Context) error {
	var failed []error
	for _, s := range g.sites {
		failed = append(failed, s.server.Close())
	}
	return errors.Join(append(failed, g.Evaluator.Close(ctx))...)
}

func inexpressible(why string) error {
	return &abi.Error{Status: abi.StatusInvalidArgument, Message: "not expressible: " + why}
}

// site is a server behind a guard.
type site struct {
	server  *http.Server
	address string
	records *recorder
}

const welcome = "welcome\n"

func newSite(e host.Evaluator, c configuration) (*site, error) {
	s := &site{records: &recorder{}}
	opts := []httpguard.Option{
		httpguard.WithProxyProtocol(netip.MustParsePrefix("127.0.0.0/8")),
		httpguard.WithVPCFromProxyProtocol(),
		httpguard.WithLogger(s.records.logger()),
	}
	if c.service != "" {
		opts = append(opts, httpguard.WithService(c.service))
	}
	if c.accountID != "" {
		opts = append(opts, httpguard.WithAccount(c.accountID))
	}
	if c.denyMissing {
		opts = append(opts, httpguard.DenyMissingAccessKey())
	}
	if c.denyForms {
		opts = append(opts, httpguard.WithFormBodyDenied())
	}
	guard, err := httpguard.New(e, opts...)
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.address = listener.Addr().String()
	s.server = &http.Server{
		ConnContext: guard.ConnContext,
		Handler: guard.Handler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, welcome)
		})),
	}
	go s.server.Serve(guard.Listener(listener)) // until it is closed
	return s, nil
}

// ask sends a request on a connection of its own and returns what the guard
// recorded. A caller who saw anything else is an error.
func (s *site) ask(r abi.HTTPRequest) (abi.Decision, error) {
	head, err := proxyHeader(r.SourceIP, r.VPCID)
	if err != nil {
		return abi.Decision{}, inexpressible(err.Error())
	}
	c, err := net.Dial("tcp", s.address)
	if err != nil {
		return abi.Decision{}, err
	}
	defer c.Close()
	s.records.take() // whatever is left of a request that was no HTTP
	if _, err := c.Write(append(head, message(r)...)); err != nil {
		return abi.Decision{}, err
	}
	a, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return abi.Decision{}, inexpressible("the server gave no answer: " + err.Error())
	}
	body, err := io.ReadAll(a.Body)
	if err != nil {
		return abi.Decision{}, err
	}
	record := s.records.take()
	if record == nil {
		return abi.Decision{}, inexpressible(fmt.Sprintf("the server itself answered with %d", a.StatusCode))
	}
	d, err := record.decision()
	passed := a.StatusCode == http.StatusOK && string(body) == welcome
	refused := a.StatusCode == http.StatusForbidden && strings.Contains(string(body), r.SourceIP.Unmap().String())
	if passed == refused || passed != (err == nil && d.Allowed()) {
		return abi.Decision{}, fmt.Errorf("the record says %v, %v; the caller saw %d %s", d, err, a.StatusCode, body)
	}
	return d, err
}

// proxyHeader tells where a request comes from, as a load balancer of the cloud does.
func proxyHeader(source netip.Addr, vpcID string) ([]byte, error) {
	const vpcType, vpcSubtype, port = 0xE1, "\x01", 50000
	if !source.IsValid() || source.Zone() != "" {
		return nil, errors.New("the PROXY protocol carries addresses, not texts")
	}
	h := proxyproto.Header{
		Version: 2, Command: proxyproto.PROXY, TransportProtocol: proxyproto.TCPv6,
		SourceAddr:      &net.TCPAddr{IP: source.AsSlice(), Port: port},
		DestinationAddr: &net.TCPAddr{IP: net.IPv6loopback, Port: 443},
	}
	if source.Is4() {
		h.TransportProtocol, h.DestinationAddr = proxyproto.TCPv4, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 443}
	}
	if vpcID != "" {
		if err := h.SetTLVs([]proxyproto.TLV{{Type: vpcType, Value: []byte(vpcSubtype + vpcID)}}); err != nil {
			return nil, err
		}
	}
	return h.Format()
}

// message writes the request as it is, with no library that would correct it.
func message(r abi.HTTPRequest) []byte {
	b := []byte("GET " + r.Target + " HTTP/1.1\r\nConnection: close\r\n")
	host := "Host: testee.example.com\r\n"
	for _, h := range r.Headers {
		b = append(b, h.Name+": "+h.Value+"\r\n"...)
		if strings.EqualFold(h.Name, "Host") {
			host = ""
		}
	}
	return append(b, host+"\r\n"...)
}
