package policy

import (
	"encoding/json"
	"net/netip"
	"regexp"
	"strings"

	"github.com/keymoat/keymoat/abi"
)

// naive is the twin of Evaluator that the differential tests compare it with.
// It walks the documents as they are, with encoding/json and net/netip, shares
// no code with the evaluator, and is meant to be obviously right, not fast.
type naive struct {
	Accounts       []naiveAccount
	ExemptServices []naiveExemption
}

type naiveAccount struct {
	AccountID       string `json:"AccountId"`
	AccessKeyPolicy *naivePolicy
	AccessKeys      []struct {
		AccessKeyID     string `json:"AccessKeyId"`
		AccessKeyPolicy *naivePolicy
	}
}

type naivePolicy struct {
	Status     string
	Statements []struct {
		Type, Value string
		IPList      json.RawMessage
	}
}

type naiveExemption struct{ Service, Action, Protocol string }

func newNaive(document []byte) *naive {
	n := &naive{}
	if json.Unmarshal(document, n) != nil {
		return nil
	}
	if n.Accounts == nil { // a policy by itself is that of the only account, which has no id
		n.Accounts = make([]naiveAccount, 1)
		if json.Unmarshal(document, &n.Accounts[0].AccessKeyPolicy) != nil {
			return nil
		}
	}
	return n
}

var (
	naiveAWS     = regexp.MustCompile(`^ASIA[0-9A-Z]{16}$`)
	naiveID      = regexp.MustCompile(`^[0-9A-Za-z._=-]{1,128}$`)
	naiveBuiltin = strings.Fields("rocketmq ons mq rabbitmq amqp-open mqtt onsmqtt eventbridge smq mns mns-open simplemessagequeue hologres hologram")
)

func (n *naive) evaluate(r abi.Request) (abi.Decision, abi.Status) {
	for _, s := range []string{r.VPCID, r.AccountID, r.Service, r.Action, r.Protocol} {
		if len(s) > 255 {
			return abi.Decision{}, abi.StatusInvalidRequest
		}
	}
	if len(r.AccessKeyID) < 1 || len(r.AccessKeyID) > 128 {
		return abi.Decision{}, abi.StatusInvalidAccessKeyID
	}
	if !r.SourceIP.IsValid() || r.SourceIP.Zone() != "" {
		return abi.Decision{}, abi.StatusInvalidSourceIP
	}
	if !naiveID.MatchString(r.AccessKeyID) {
		return abi.Decision{}, abi.StatusInvalidAccessKeyID
	}
	d := abi.Decision{Network: abi.NetworkPublic}
	if r.VPCID != "" {
		d.Network = abi.NetworkVPC
	}
	allow := func(why abi.Reason) (abi.Decision, abi.Status) {
		d.Effect, d.Reason = abi.EffectAllow, why
		return d, abi.StatusOK
	}
	deny := func(why abi.Reason) (abi.Decision, abi.Status) {
		d.Effect, d.Reason = abi.EffectDeny, why
		return d, abi.StatusOK
	}
	id := r.AccessKeyID
	if strings.HasPrefix(id, "STS.") || strings.HasPrefix(id, "TMP.") || naiveAWS.MatchString(id) {
		return allow(abi.ReasonTemporaryCredential)
	}
	if n.exempt(r) {
		return allow(abi.ReasonExemptService)
	}

	owner, listed := -1, false
	var own *naivePolicy
	for i, a := range n.Accounts {
		for _, k := range a.AccessKeys {
			if k.AccessKeyID == id {
				owner, listed, own = i, true, k.AccessKeyPolicy
			}
		}
	}
	switch {
	case listed && r.AccountID != "" && r.AccountID != n.Accounts[owner].AccountID:
		return deny(abi.ReasonAccountMismatch)
	case listed:
	case r.AccountID != "":
		for i, a := range n.Accounts {
			if a.AccountID == r.AccountID {
				owner = i
			}
		}
	case len(n.Accounts) == 1:
		owner = 0
	}
	if owner < 0 {
		return deny(abi.ReasonUnknownAccount)
	}

	var p *naivePolicy
	if theirs := n.Accounts[owner].AccessKeyPolicy; own != nil && own.Status == "Active" {
		p, d.Level = own, abi.LevelAccessKey
	} else if theirs != nil && theirs.Status == "Active" {
		p, d.Level = theirs, abi.LevelAccount
	} else {
		return allow(abi.ReasonNoActivePolicy)
	}

	ofNetwork, applying := 0, 0
	for i, s := range p.Statements {
		if (s.Type == "VPCWhiteList") != (r.VPCID != "") {
			continue
		}
		ofNetwork++
		if r.VPCID != "" && s.Value != r.VPCID && s.Value != "AllowAllVPC" {
			continue
		}
		applying++
		for _, entry := range naiveEntries(s.IPList) {
			if entry.Contains(r.SourceIP.Unmap()) && (!d.Entry.IsValid() || entry.Bits() > d.Entry.Bits()) {
				d.Statement, d.Entry = i, entry
			}
		}
	}
	switch {
	case d.Entry.IsValid():
		return allow(abi.ReasonMatched)
	case applying > 0:
		return deny(abi.ReasonSourceIPNotListed)
	case r.VPCID == "":
		return deny(abi.ReasonNoPublicPolicy)
	case ofNetwork == 0:
		return deny(abi.ReasonNoVPCPolicy)
	}
	return deny(abi.ReasonVPCNotListed)
}

func (n *naive) exempt(r abi.Request) bool {
	if r.Service == "" {
		return false
	}
	if n.ExemptServices == nil {
		for _, name := range naiveBuiltin {
			if naiveFold(name) == naiveFold(r.Service) {
				return true
			}
		}
		cms := naiveFold(r.Service) == "cms" || naiveFold(r.Service) == "cloudmonitor"
		return cms && naiveFold(r.Action) == "putcustomevent" && naiveFold(r.Protocol) == "http"
	}
	for _, e := range n.ExemptServices {
		if naiveFold(e.Service) == naiveFold(r.Service) && (e.Action == "" || naiveFold(e.Action) == naiveFold(r.Action)) &&
			(e.Protocol == "" || naiveFold(e.Protocol) == naiveFold(r.Protocol)) {
			return true
		}
	}
	return false
}

func naiveFold(s string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'A' && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, s)
}

// naiveEntries reads an IPList that is known to be valid.
func naiveEntries(raw json.RawMessage) (all []netip.Prefix) {
	var texts []string
	if json.Unmarshal(raw, &texts) != nil {
		texts = make([]string, 1)
		_ = json.Unmarshal(raw, &texts[0])
	}
	for _, text := range texts {
		for _, word := range strings.FieldsFunc(text, func(c rune) bool { return strings.ContainsRune(" ,;", c) }) {
			if ip, err := netip.ParseAddr(word); err == nil {
				all = append(all, netip.PrefixFrom(ip.Unmap(), ip.Unmap().BitLen()))
				continue
			}
			p := netip.MustParsePrefix(word)
			if p.Addr().Is4In6() {
				p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
			}
			all = append(all, p.Masked())
		}
	}
	return all
}
