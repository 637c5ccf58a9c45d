package main

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/denial"
)

// recorder keeps the record of the request at hand.
type recorder struct {
	mu   sync.Mutex
	last record
}

// record holds the attributes of a record by name, as text.
type record map[string]string

func (r *recorder) logger() *slog.Logger { return slog.New(r) }

// Enabled, Handle, WithAttrs and WithGroup implement slog.Handler.
func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

func (r *recorder) Handle(_ context.Context, of slog.Record) error {
	attributes := record{}
	of.Attrs(func(a slog.Attr) bool {
		attributes[a.Key] = a.Value.String()
		return true
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = attributes
	return nil
}

func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { return r }
func (r *recorder) WithGroup(string) slog.Handler      { return r }

// take returns the last record, nil if there is none, and forgets it.
func (r *recorder) take() record {
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.last
	r.last = nil
	return last
}

// decision reads the decision, or the error that stands in its place.
func (r record) decision() (d abi.Decision, err error) {
	if problem, ok := r["error"]; ok {
		for _, status := range abi.Statuses() {
			if denial.ProblemOf(status).String() == problem && problem == status.String() {
				return d, &abi.Error{Status: status, Message: r["cause"]}
			}
		}
		return d, inexpressible(problem + ": " + r["cause"])
	}
	for name, to := range map[string]interface{ UnmarshalText([]byte) error }{
		"effect": &d.Effect, "reason": &d.Reason, "policy_level": &d.Level, "network": &d.Network,
	} {
		if err := to.UnmarshalText([]byte(r[name])); err != nil {
			return abi.Decision{}, err
		}
	}
	if entry, ok := r["entry"]; ok {
		if d.Entry, err = netip.ParsePrefix(entry); err != nil {
			return abi.Decision{}, err
		}
		// Statements are few: a policy has eight at most.
		d.Statement = int(r["statement"][0] - '0')
	}
	return d, nil
}
