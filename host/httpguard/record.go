package httpguard

import (
	"log/slog"
	"net/http"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
)

// log writes the record of a request.
func (g *Guard) log(r *http.Request, j *judgement) {
	level, message := slog.LevelDebug, "keymoat: request allowed"
	switch {
	case j.allowed():
	case j.passes:
		level, message = slog.LevelWarn, "keymoat: request would be refused"
	default:
		level, message = slog.LevelWarn, "keymoat: request refused"
	}
	if j.problem.IsFault() {
		level = slog.LevelError
	}
	if !g.logger.Enabled(r.Context(), level) {
		return
	}
	attrs := g.attrs(r, j)
	if j.vpcHeaderRemoved {
		attrs = append(attrs, slog.Bool("vpc_header_removed", true))
	}
	g.logger.LogAttrs(r.Context(), level, message, attrs...)
}

// logCandidate tells that the candidate would decide otherwise.
func (g *Guard) logCandidate(r *http.Request, j *judgement) {
	if !g.logger.Enabled(r.Context(), slog.LevelInfo) {
		return
	}
	c := []any{slog.String("effect", effectOf(&j.candidate).String())}
	if j.candidateErr != nil {
		c = append(c, slog.String("error", problemOf(j.candidateErr).String()), slog.String("cause", j.candidateErr.Error()))
	} else {
		for _, a := range decisionAttrs(nil, &j.candidate)[1:] {
			c = append(c, a)
		}
	}
	switch of, err := revision(g.candidate); {
	case of != "":
		c = append(c, slog.String("revision", string(of)))
	case err != nil && j.candidateErr == nil:
		c = append(c, slog.String("cause", err.Error()))
	}
	attrs := append(g.attrs(r, j), slog.Group("candidate", c...))
	g.logger.LogAttrs(r.Context(), slog.LevelInfo, "keymoat: the candidate would decide otherwise", attrs...)
}

// attrs describes a request and what became of it. The query is left out: it
// may hold signatures.
func (g *Guard) attrs(r *http.Request, j *judgement) []slog.Attr {
	attrs := make([]slog.Attr, 0, 20)
	if j.problem != denial.NoProblem {
		attrs = append(attrs, slog.String("error", j.problem.String()))
		if j.cause != nil {
			attrs = append(attrs, slog.String("cause", j.cause.Error()))
		}
	} else {
		attrs = decisionAttrs(attrs, &j.decision)
	}
	attrs = append(attrs, slog.String("source_ip", j.source.seen()), slog.String("source_from", sourceFrom(r, j)))
	if j.vpcID != "" {
		attrs = append(attrs, slog.String("vpc_id", j.vpcID))
	}
	attrs = claimAttrs(attrs, j)
	if j.revision != "" {
		attrs = append(attrs, slog.String("revision", string(j.revision)))
	}
	attrs = append(attrs, slog.String("method", denial.Cut(r.Method)), slog.String("host", denial.Cut(r.Host)))
	if r.URL != nil {
		attrs = append(attrs, slog.String("path", denial.Cut(r.URL.Path)))
	}
	if id := r.Header.Get("X-Request-Id"); id != "" {
		attrs = append(attrs, slog.String("request_id", denial.Cut(id)))
	}
	return attrs
}

// claimAttrs tells the key id and where it was found, or what there could not be
// read. That two ids are claimed is a reason of its own.
func claimAttrs(attrs []slog.Attr, j *judgement) []slog.Attr {
	switch {
	case j.form:
		return append(attrs, slog.String("place", "form body"))
	case j.claims == credential.One:
		attrs = append(attrs, slog.String("access_key_id", abi.ShortID(j.claim.AccessKeyID)))
	case j.claims != credential.Unreadable:
		return attrs
	}
	return append(attrs, slog.String("scheme", j.claim.Scheme.String()), slog.String("place", j.claim.Place.String()))
}

func decisionAttrs(attrs []slog.Attr, d *abi.Decision) []slog.Attr {
	attrs = append(attrs, slog.String("effect", d.Effect.String()), slog.String("reason", d.Reason.String()),
		slog.String("policy_level", d.Level.String()), slog.String("network", d.Network.String()))
	if d.Entry.IsValid() {
		attrs = append(attrs, slog.Int("statement", d.Statement), slog.String("entry", d.Entry.String()))
	}
	return attrs
}

// sourceFrom says where the address of the caller was found.
func sourceFrom(r *http.Request, j *judgement) string {
	if j.source.header != "" {
		return j.source.header
	}
	if c := connectionOf(r); c != nil && c.names() {
		return "PROXY"
	}
	return "connection"
}
