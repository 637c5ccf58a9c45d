package host

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// twins are the evaluators that have to answer alike, errors included.
type twins struct {
	engine *Engine
	native *Native
}

func newTwins(t testing.TB) twins { return twins{newEngine(t, WithInstances(1)), NewNative()} }

// load loads a policy set into both, and reports whether they took it.
func (w twins) load(t testing.TB, policySet []byte) bool {
	t.Helper()
	engine, engineErr := w.engine.Load(t.Context(), policySet)
	native, nativeErr := w.native.Load(t.Context(), policySet)
	require.Equal(t, native, engine)
	requireSameError(t, nativeErr, engineErr)
	return nativeErr == nil
}

// requireSameError compares statuses, messages and reports.
func requireSameError(t testing.TB, native, engine error, about ...any) {
	t.Helper()
	if native == nil || engine == nil {
		require.Equal(t, native, engine, about...)
		return
	}
	require.Equal(t, statusOf(native), statusOf(engine), about...)
	var a, b *abi.Error
	if errors.As(native, &a) && errors.As(engine, &b) {
		if a.Message != "" { // what a status says by itself the sandbox may say better
			require.Equal(t, a.Message, b.Message, about...)
		}
		require.Equal(t, a.Report, b.Report, about...)
	}
}

func statusOf(err error) abi.Status {
	var status abi.Status
	if !errors.As(err, &status) {
		panic(err)
	}
	return status
}

func (w twins) evaluate(t testing.TB, r abi.Request) (abi.Decision, error) {
	t.Helper()
	engine, engineErr := w.engine.Evaluate(t.Context(), r)
	native, nativeErr := w.native.Evaluate(t.Context(), r)
	require.Equal(t, native, engine, "%+q", r)
	require.Equal(t, nativeErr, engineErr, "%+q", r)
	return native, nativeErr
}

func (w twins) explain(t testing.TB, r abi.Request) {
	t.Helper()
	engine, engineErr := w.engine.Explain(t.Context(), r)
	native, nativeErr := w.native.Explain(t.Context(), r)
	require.Equal(t, native, engine, "%+q", r)
	requireSameError(t, nativeErr, engineErr, "%+q", r)
}

func (w twins) authorize(t testing.TB, r abi.HTTPRequest) (abi.Decision, error) {
	t.Helper()
	engine, engineErr := w.engine.Authorize(t.Context(), r)
	native, nativeErr := w.native.Authorize(t.Context(), r)
	require.Equal(t, native, engine, "%+q", r)
	require.Equal(t, nativeErr, engineErr, "%+q", r)
	return native, nativeErr
}

func (w twins) batch(t testing.TB, reqs []abi.Request) []abi.Decision {
	t.Helper()
	engine, native := make([]abi.Decision, len(reqs)), make([]abi.Decision, len(reqs))
	engineErr := w.engine.EvaluateBatch(t.Context(), reqs, engine)
	nativeErr := w.native.EvaluateBatch(t.Context(), reqs, native)
	require.Equal(t, native, engine)
	require.Equal(t, nativeErr, engineErr)
	return native
}

func TestEngineAndNativeGiveTheRightAnswersOfTheWorkloads(t *testing.T) {
	w := newTwins(t)
	for _, p := range []*prepared{hundred(), small()} {
		require.True(t, w.load(t, p.document))
		require.True(t, w.load(t, p.image))
		for i, r := range p.requests {
			d, err := w.evaluate(t, r)
			require.NoError(t, err)
			require.Equal(t, p.answers[i], d, "%+v", r)
		}
		require.Equal(t, p.answers, w.batch(t, p.requests))
	}
}

func TestEngineAndNativeAnswerAlike(t *testing.T) {
	const sets, requests = 40, 150
	w := newTwins(t)
	seen := map[string]int{} // how often each outcome came up
	count := func(d abi.Decision, err error) {
		if err != nil {
			seen[statusOf(err).String()]++
		} else {
			seen[d.Reason.String()]++
		}
	}
	for set := range sets {
		g := generator{rand.New(rand.NewPCG(uint64(set), 0))}
		require.True(t, w.load(t, g.set()))
		reqs := make([]abi.Request, requests)
		for i := range reqs {
			reqs[i] = g.request()
			d, err := w.evaluate(t, reqs[i])
			count(d, err)
			if i%5 == 0 {
				w.explain(t, reqs[i])
			}
			count(w.authorize(t, g.httpRequest(reqs[i])))
		}
		w.batch(t, reqs)
	}
	for _, reason := range abi.Reasons() {
		require.NotZero(t, seen[reason.String()], "no request came to %s", reason)
	}
	for _, status := range []abi.Status{abi.StatusInvalidAccessKeyID, abi.StatusInvalidSourceIP, abi.StatusInvalidRequest} {
		require.NotZero(t, seen[status.String()], "no request came to %s", status)
	}
}

func TestEngineAndNativeRefuseAlike(t *testing.T) {
	const documents = 400
	w := newTwins(t)
	r := rand.New(rand.NewPCG(1, 1))
	g := generator{r}
	refused := 0
	for range documents {
		document := g.set()
		for range 1 + r.IntN(3) { // spoil it
			at := r.IntN(len(document))
			switch r.IntN(4) {
			case 0:
				document = document[:at]
			case 1:
				document[at] = byte(r.Uint32())
			case 2:
				document = append(document[:at:at], document[min(at+r.IntN(20), len(document)):]...)
			case 3:
				document = bytes.Replace(document, []byte(g.pick("Active", "ClassicWhiteList", "vpc-a", "10.", "AccountId", "Statements", "/")), []byte(g.pick("", "x", "300.", "\xff", `\u0000`)), 1)
			}
			if len(document) == 0 {
				break
			}
		}
		engine, err := w.engine.Validate(t.Context(), document)
		require.NoError(t, err)
		native, err := w.native.Validate(t.Context(), document)
		require.NoError(t, err)
		require.Equal(t, native, engine, "%s", document)
		if !native.Valid {
			refused++
		}
		require.Equal(t, native.Valid, w.load(t, document), "%s", document)
	}
	require.Greater(t, refused, documents/2)
	require.Less(t, refused, documents)
}

// generator makes policy sets and requests that meet often: of few keys, few
// networks and few addresses, the odd ones among them.
type generator struct{ *rand.Rand }

func (g generator) pick(from ...string) string { return from[g.IntN(len(from))] }

func (g generator) one(in int) bool { return g.IntN(in) == 0 }

func (g generator) key() string {
	return g.pick("LTAI5tExample0000000001", "LTAI5tExample0000000002", "LTAI5tExample0000000003", "a", "AKIAEXAMPLE000000001", strings.Repeat("k", 128))
}

func (g generator) account() string { return g.pick("1000000000000001", "1000000000000002", "x") }

func (g generator) vpc() string { return g.pick("vpc-a", "vpc-b", "vpc-m5ekxe1zi8zwgqrtc1234") }

func (g generator) address() netip.Addr {
	octet := func() byte { return [...]byte{0, 1, 10, 127, 128, 255}[g.IntN(6)] }
	if g.one(2) {
		return netip.AddrFrom4([4]byte{10, octet(), octet(), octet()})
	}
	ip := netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 7: octet(), 14: octet(), 15: octet()})
	if g.one(4) {
		ip = netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: 10, 13: octet(), 14: octet(), 15: octet()})
	}
	return ip
}

func (g generator) entry() string {
	ip := g.address()
	switch g.IntN(8) {
	case 0:
		return g.pick("0.0.0.0/0", "::/0", "10.0.0.0/8", "2001::/16")
	case 1, 2, 3:
		return ip.String()
	}
	least := 0
	if ip.Is4In6() {
		least = 96
	}
	return fmt.Sprintf("%s/%d", ip, least+g.IntN(ip.BitLen()-least+1))
}

func (g generator) policy() map[string]any {
	statements := []any{}
	for n := range g.IntN(5) {
		list := []string{}
		for range 1 + g.IntN(8) {
			list = append(list, g.entry())
		}
		if n == 0 && !g.one(3) {
			statements = append(statements, map[string]any{"Type": abi.TypeClassic, "IPList": list})
		} else {
			value := g.vpc()
			if g.one(4) {
				value = abi.AllowAllVPC
			}
			statements = append(statements, map[string]any{"Type": abi.TypeVPC, "Value": value, "IPList": list})
		}
	}
	return map[string]any{"Status": g.pick(abi.StatusActive, abi.StatusActive, abi.StatusInactive), "Statements": statements}
}

func (g generator) set() []byte {
	accounts := []any{}
	keyTaken, accountTaken := map[string]bool{}, map[string]bool{}
	for range 1 + g.IntN(3) {
		account := map[string]any{"AccountId": g.account()}
		if accountTaken[account["AccountId"].(string)] {
			continue
		}
		accountTaken[account["AccountId"].(string)] = true
		keys := []any{}
		for range g.IntN(5) {
			id := g.key()
			if keyTaken[id] {
				continue
			}
			keyTaken[id] = true
			key := map[string]any{"AccessKeyId": id}
			if !g.one(4) {
				key["AccessKeyPolicy"] = g.policy()
			}
			keys = append(keys, key)
		}
		account["AccessKeys"] = keys
		if !g.one(3) {
			account["AccessKeyPolicy"] = g.policy()
		}
		accounts = append(accounts, account)
	}
	set := map[string]any{"Accounts": accounts}
	if g.one(2) {
		set["ExemptServices"] = []any{map[string]any{"Service": "Ecs"}, map[string]any{"Service": "Oss", "Action": "PutObject", "Protocol": "HTTP"}}
	}
	document, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return document
}

func (g generator) request() abi.Request {
	r := abi.Request{AccessKeyID: g.key(), SourceIP: g.address()}
	if g.one(2) {
		r.VPCID = g.vpc()
	}
	if g.one(3) {
		r.AccountID = g.account()
	}
	if g.one(4) {
		r.Service, r.Action, r.Protocol = g.pick("ECS", "oss", "MNS", "cms"), g.pick("", "putobject", "PutCustomEvent"), g.pick("", "http", "HTTPS")
	}
	if g.one(8) {
		r.AccessKeyID = g.pick("", "STS.Example", "TMP.Example", "ASIAEXAMPLE000000001", "a b", "a\x00", "é", "\xff", strings.Repeat("k", 129), strings.Repeat("k", 5000))
	}
	if g.one(20) {
		r.SourceIP = [...]netip.Addr{{}, netip.MustParseAddr("fe80::1%eth0"), netip.IPv6Unspecified(), netip.IPv4Unspecified()}[g.IntN(4)]
	}
	if g.one(10) {
		field := [...]*string{&r.VPCID, &r.AccountID, &r.Service, &r.Action, &r.Protocol}[g.IntN(5)]
		*field = g.pick("\xff", "\x00", "ü", "<&>", "\u2028", `"`, strings.Repeat("\xff", 255), strings.Repeat("v", 255), strings.Repeat("v", 256), strings.Repeat("v", 5000))
	}
	return r
}

// httpRequest claims the key of a request somewhere.
func (g generator) httpRequest(r abi.Request) abi.HTTPRequest {
	h := abi.HTTPRequest{Target: "/", SourceIP: r.SourceIP, VPCID: r.VPCID, AccountID: r.AccountID, Service: r.Service,
		Action: r.Action, Protocol: r.Protocol, DenyMissingAccessKey: g.one(2)}
	authorization := func(value string) {
		h.Headers = append(h.Headers, abi.HTTPHeader{Name: g.pick("Authorization", "authorization"), Value: value})
	}
	for range 1 + g.IntN(4)/3 {
		switch g.IntN(6) {
		case 0:
			h.Target += "?AccessKeyId=" + r.AccessKeyID
		case 1:
			h.Target += "?Expires=1&OSSAccessKeyId=" + r.AccessKeyID + "&Signature=c2ln"
		case 2:
			authorization("ACS3-HMAC-SHA256 Credential=" + r.AccessKeyID + ",SignedHeaders=host,Signature=00")
		case 3:
			authorization("acs " + r.AccessKeyID + ":c2ln")
		case 4:
			authorization("AWS4-HMAC-SHA256 Credential=" + g.key() + "/20260101/cn-hangzhou/s3/aws4_request, SignedHeaders=host, Signature=00")
		}
	}
	return h
}
