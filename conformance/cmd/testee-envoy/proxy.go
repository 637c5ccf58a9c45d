package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
	"github.com/keymoat/keymoat/plugin/policy"
)

// proxy is an Envoy as a host.Evaluator. It does one thing at a time.
type proxy struct {
	envoy   *envoytest.Envoy
	wasm    string
	rules   string // the member of the configuration that holds them, "" for none
	changes int

	// Most requests tell the client's address by the PROXY protocol. By
	// X-Forwarded-For they tell those that Envoy does not take from there,
	// since nobody can have them.
	byProxyProtocol, byForwardedFor listener

	trial listener // that no request is sent to, for Validate
}

// listener is a listener with a filter of its own.
type listener struct {
	file    string // that its filter comes from
	address string

	// What its filter goes by.
	rules    string
	settings settings
}

// settings is what a request has and the filter takes from its configuration.
type settings struct {
	account, service       string
	denyMissing, denyForms bool
}

var _ host.Evaluator = (*proxy)(nil)

var errNotExpressible = errors.New("there is no way to put this to the filter; not-expressible.json should list the case")

// start starts an Envoy with nothing loaded: its filters have configurations
// without rules, which they reject.
func start(ctx context.Context, dir, wasm string) (*proxy, error) {
	p := &proxy{wasm: wasm}
	listeners := map[string]*listener{"by PROXY protocol": &p.byProxyProtocol, "by X-Forwarded-For": &p.byForwardedFor, "trial": &p.trial}
	// As long as one filter is there, Envoy keeps what it has compiled.
	all := []envoytest.Listener{{Name: "anchor", Wasm: wasm, Configuration: `{"policy_set":{"Accounts":[]}}`}}
	for name, l := range listeners {
		l.file = filepath.Join(dir, name+".json")
		if err := envoytest.Watch(l.file, wasm, "{}"); err != nil {
			return nil, err
		}
		all = append(all, envoytest.Listener{Name: name, Update: l.file, ProxyProtocol: true})
		if l == &p.byForwardedFor {
			all[len(all)-1].TrustedHops = 1
		}
	}
	bootstrap, err := envoytest.Bootstrap(all...)
	if err != nil {
		return nil, err
	}
	if p.envoy, err = envoytest.Start(ctx, envoytest.Options{Bootstrap: bootstrap, Dir: dir, Debug: true}); err != nil {
		return nil, err
	}
	for name, l := range listeners {
		if l.address, err = p.envoy.Address(ctx, name); err != nil {
			p.envoy.Close()
			return nil, err
		}
	}
	return p, nil
}

func (p *proxy) Close(context.Context) error {
	p.envoy.Close()
	return nil
}

func (p *proxy) Load(ctx context.Context, policySet []byte) (host.Revision, error) {
	rules := member(policySet)
	report, revision, err := p.configure(ctx, &p.byProxyProtocol, rules, settings{})
	if err != nil {
		return "", err
	}
	if !report.Valid {
		if policy.IsImage(policySet) {
			return "", &abi.Error{Status: abi.StatusInvalidImage, Message: report.Errors[0].Message}
		}
		return "", &abi.Error{Status: abi.StatusInvalidDocument, Message: report.Errors[0].Message, Report: &report}
	}
	p.rules = rules
	return host.Revision(revision), nil
}

func (p *proxy) Validate(ctx context.Context, document []byte) (abi.Report, error) {
	report, _, err := p.configure(ctx, &p.trial, member(document), settings{})
	return report, err
}

// member is the member of a configuration that holds a policy set.
func member(policySet []byte) string {
	if policy.IsImage(policySet) {
		return `"policy_image":"` + base64.StdEncoding.EncodeToString(policySet) + `"`
	}
	return `"policy_set":` + string(policySet)
}

// configure gives a listener's filter a configuration and waits for what
// becomes of it: the filter says so in the log.
func (p *proxy) configure(ctx context.Context, l *listener, rules string, s settings) (report abi.Report, revision string, err error) {
	choice := func(deny bool) string {
		if deny {
			return "deny"
		}
		return "allow"
	}
	configuration := `{"vpc_id":{"from":"proxy_protocol_tlv","key":"` + envoytest.VPCKey + `"},"on_missing_access_key":"` + choice(s.denyMissing) +
		`","on_form_body":"` + choice(s.denyForms) + `",`
	for name, value := range map[string]string{"account_id": s.account, "service": s.service} {
		if value != "" {
			b, err := json.Marshal(value)
			if err != nil {
				return report, "", err
			}
			configuration += `"` + name + `":` + string(b) + `,`
		}
	}
	// Blanks make every configuration a new one, which is looked at.
	p.changes++
	configuration += rules + "}" + strings.Repeat(" ", p.changes)

	place := len(p.envoy.Log())
	if err := envoytest.Watch(l.file, p.wasm, configuration); err != nil {
		return report, "", err
	}
	line, next, err := p.envoy.NextLine(ctx, place, `{"Event":"Report",`)
	if err != nil {
		return report, "", err
	}
	if err := json.Unmarshal(object(line), &report); err != nil {
		return report, "", fmt.Errorf("the log says %q: %w", line, err)
	}
	for _, findings := range [][]abi.Finding{report.Errors, report.Warnings} {
		for i := range findings {
			findings[i].Pointer = strings.TrimPrefix(findings[i].Pointer, "/policy_set")
		}
	}
	if !report.Valid {
		_, _, err := p.envoy.NextLine(ctx, next, "update rejected")
		return report, "", err
	}
	const says = "configuration accepted: revision "
	if line, _, err = p.envoy.NextLine(ctx, next, says); err != nil {
		return report, "", err
	}
	if _, err := p.envoy.Accepted(ctx, place); err != nil {
		return report, "", err
	}
	if l != &p.trial {
		if err := p.settle(ctx); err != nil {
			return report, "", err
		}
	}
	l.rules, l.settings = rules, s
	_, revision, _ = strings.Cut(line, says)
	revision, _, _ = strings.Cut(revision, ",")
	return report, revision, nil
}

// settle waits until no request meets the former configuration. A worker says
// that it has accepted a configuration a moment before it uses it; by the time
// it accepts another, of another listener, it does.
func (p *proxy) settle(ctx context.Context) error {
	p.changes++
	place := len(p.envoy.Log())
	if err := envoytest.Watch(p.trial.file, p.wasm, `{"policy_set":{"Accounts":[]}}`+strings.Repeat(" ", p.changes)); err != nil {
		return err
	}
	_, err := p.envoy.Accepted(ctx, place)
	return err
}

// object is the JSON object at the end of a line of the log.
func object(line string) []byte {
	return []byte(line[max(0, strings.IndexByte(line, '{')):])
}

func (p *proxy) Evaluate(ctx context.Context, req abi.Request) (abi.Decision, error) {
	return p.Authorize(ctx, abi.HTTPRequest{Target: "/", Headers: []abi.HTTPHeader{{Name: "x-ots-accesskeyid", Value: req.AccessKeyID}},
		SourceIP: req.SourceIP, VPCID: req.VPCID, AccountID: req.AccountID, Service: req.Service, Action: req.Action, Protocol: req.Protocol})
}

func (p *proxy) Authorize(ctx context.Context, req abi.HTTPRequest) (abi.Decision, error) {
	if req.Action != "" || req.Protocol != "" {
		return abi.Decision{}, errNotExpressible
	}
	l := &p.byProxyProtocol
	if isNobody(req.SourceIP) {
		l = &p.byForwardedFor
	}
	s := settings{req.AccountID, req.Service, req.DenyMissingAccessKey, req.DenyFormBody}
	if p.rules != "" && (l.rules != p.rules || l.settings != s) {
		report, _, err := p.configure(ctx, l, p.rules, s)
		if err != nil {
			return abi.Decision{}, err
		}
		if !report.Valid {
			return abi.Decision{}, &abi.Error{Status: abi.StatusInvalidRequest, Message: report.Errors[0].Pointer + ": " + report.Errors[0].Message}
		}
	}
	place := len(p.envoy.Log())
	status, err := p.send(ctx, l, &req)
	switch {
	case err != nil:
		return abi.Decision{}, err
	case status == http.StatusInternalServerError && p.rules == "":
		return abi.Decision{}, abi.StatusNotLoaded // as Envoy tells it
	case status != http.StatusOK && status != http.StatusForbidden:
		return abi.Decision{}, fmt.Errorf("the status %d is of Envoy itself", status)
	}
	decision, err := p.decided(ctx, place)
	if allowed := err == nil && decision.Allowed(); allowed != (status == http.StatusOK) {
		return abi.Decision{}, fmt.Errorf("the caller got the status %d, but the log says that it should be allowed=%t", status, allowed)
	}
	return decision, err
}

// decided reads what the filter says about the request behind a place of the log.
func (p *proxy) decided(ctx context.Context, place int) (abi.Decision, error) {
	line, _, err := p.envoy.NextLine(ctx, place, `{"Event":"Decided",`)
	if err != nil {
		return abi.Decision{}, err
	}
	var problem struct{ Error string }
	if err := json.Unmarshal(object(line), &problem); err != nil {
		return abi.Decision{}, fmt.Errorf("the log says %q: %w", line, err)
	}
	for _, status := range abi.Statuses() {
		if problem.Error == status.String() {
			return abi.Decision{}, status
		}
	}
	if problem.Error != "" {
		return abi.Decision{}, errors.New(problem.Error)
	}
	var decision abi.Decision
	err = json.Unmarshal(object(line), &decision)
	return decision, err
}

// isNobody reports whether no one can have an address.
func isNobody(ip netip.Addr) bool {
	ip = ip.Unmap()
	return ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// send sends a request as a load balancer would pass it on.
func (p *proxy) send(ctx context.Context, l *listener, req *abi.HTTPRequest) (status int, err error) {
	const patience = time.Minute
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	peer, headers := req.SourceIP, req.Headers
	if l == &p.byForwardedFor {
		const balancer = "192.0.2.10"
		peer = netip.MustParseAddr(balancer)
		headers = append(headers[:len(headers):len(headers)], abi.HTTPHeader{Name: "X-Forwarded-For", Value: req.SourceIP.String()})
	}
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", l.address)
	if err != nil {
		return 0, err
	}
	defer connection.Close()
	deadline, _ := ctx.Deadline()
	if err := connection.SetDeadline(deadline); err != nil {
		return 0, err
	}
	var tlvs []envoytest.TLV
	if req.VPCID != "" {
		tlvs = append(tlvs, envoytest.VPC(req.VPCID))
	}
	var text strings.Builder
	text.Write(envoytest.ProxyHeader(peer, tlvs...))
	fmt.Fprintf(&text, "GET %s HTTP/1.1\r\nHost: ecs.example.com\r\n", req.Target)
	for _, h := range headers {
		fmt.Fprintf(&text, "%s: %s\r\n", h.Name, h.Value)
	}
	text.WriteString("\r\n")
	if _, err := io.WriteString(connection, text.String()); err != nil {
		return 0, err
	}
	answer, err := http.ReadResponse(bufio.NewReader(connection), nil)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

func (p *proxy) EvaluateBatch(context.Context, []abi.Request, []abi.Decision) error {
	return errNotExpressible
}

func (p *proxy) Explain(context.Context, abi.Request) (abi.Trace, error) {
	return abi.Trace{}, errNotExpressible
}
