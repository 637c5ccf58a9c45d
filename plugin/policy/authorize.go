package policy

import (
	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

// Authorize judges an HTTP request by the AccessKey id that it claims, and
// returns that id for the host's log; it is empty if there is none, or not one.
func (e *Evaluator) Authorize(r *abi.HTTPRequest) (word abi.Word, accessKeyID string) {
	var finder credential.Finder
	finder.Target(r.Target)
	for i := range r.Headers {
		finder.Header(r.Headers[i].Name, r.Headers[i].Value)
	}
	claim, outcome := finder.Result()
	if r.DenyFormBody && finder.Form() {
		outcome = credential.Unreadable
	}
	plain := abi.Request{AccessKeyID: claim.AccessKeyID, SourceIP: r.SourceIP, VPCID: r.VPCID,
		AccountID: r.AccountID, Service: r.Service, Action: r.Action, Protocol: r.Protocol}
	if outcome == credential.One {
		return e.Evaluate(&plain), claim.AccessKeyID
	}
	// What is unreadable is an error with or without a key id.
	plain.AccessKeyID = "-"
	q, status := queryOf(&plain)
	if e == nil || status != abi.StatusOK {
		return e.refuse(status), ""
	}
	network := q.network()
	switch {
	case outcome == credential.Ambiguous:
		return abi.NewWord(abi.EffectDeny, abi.ReasonAmbiguousAccessKey, abi.LevelNone, network), ""
	case outcome != credential.None:
		return abi.ErrorWord(abi.StatusInvalidAccessKeyID), ""
	case r.DenyMissingAccessKey:
		return abi.NewWord(abi.EffectDeny, abi.ReasonNoAccessKey, abi.LevelNone, network), ""
	default:
		return abi.NewWord(abi.EffectAllow, abi.ReasonNoAccessKey, abi.LevelNone, network), ""
	}
}
