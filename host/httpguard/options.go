package httpguard

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"

	"go.opentelemetry.io/otel/metric"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
)

// Option sets one thing about a Guard.
type Option func(*Guard) error

// ReportOnly counts and logs the requests that would be refused and lets them
// through. A fault, such as an evaluator that fails, refuses all the same.
func ReportOnly() Option {
	return func(g *Guard) error { g.reportOnly = true; return nil }
}

// WithCandidate asks another evaluator beside the one that decides. Where it
// would decide otherwise that is counted and logged, and nothing else.
func WithCandidate(candidate host.Evaluator) Option {
	return func(g *Guard) error {
		if candidate == nil {
			return errors.New("the candidate is nil")
		}
		g.candidate = candidate
		return nil
	}
}

// WithService names the service that stands behind the guard, for exemptions.
func WithService(name string) Option {
	return func(g *Guard) error {
		if name == "" || len(name) > abi.MaxField {
			return fmt.Errorf("a service has 1 to %d bytes", abi.MaxField)
		}
		g.service = name
		return nil
	}
}

// WithAccount names the account that unlisted keys belong to.
func WithAccount(id string) Option {
	return func(g *Guard) error {
		if !abi.ValidID(id) {
			return fmt.Errorf("%q cannot be the id of an account", id)
		}
		g.accountID = id
		return nil
	}
}

// DenyMissingAccessKey refuses requests that claim no key id. They are let
// through otherwise.
func DenyMissingAccessKey() Option {
	return func(g *Guard) error { g.denyMissing = true; return nil }
}

// WithFormBodyDenied refuses requests whose Content-Type says that their body
// is a form, with or without a key id elsewhere: a field of the form may claim
// another, which is not read. They are judged like all others otherwise.
func WithFormBodyDenied() Option {
	return func(g *Guard) error { g.denyForms = true; return nil }
}

// WithDenial sets what a refused caller sees. Status 0 is the one that goes
// with the format. The default is denial.JSON and its status.
func WithDenial(format denial.Format, status int) Option {
	return func(g *Guard) error {
		if status == 0 {
			status = format.Status()
		}
		if status < 400 || status > 599 {
			return fmt.Errorf("%d is not the status of a refusal: 400 to 599", status)
		}
		g.format, g.status = format, status
		return nil
	}
}

// WithForwardedFor takes the address of the caller from X-Forwarded-For, which
// these proxies append to. From right to left, each entry is believed as long
// as the one that wrote it is among the proxies; the first that is not is the
// caller. Behind other peers the header is ignored.
func WithForwardedFor(proxies ...netip.Prefix) Option {
	return func(g *Guard) error { return g.forwarded.set("X-Forwarded-For", walkList, proxies) }
}

// WithForwarded does the same with the header Forwarded (RFC 7239).
func WithForwarded(proxies ...netip.Prefix) Option {
	return func(g *Guard) error { return g.forwarded.set("Forwarded", walkForwarded, proxies) }
}

// WithProxyProtocol expects connections to open with a PROXY protocol header
// of version 2, and takes the address of the caller from there. They are
// accepted from these load balancers alone. It takes effect on listeners that
// Guard.Listener wraps.
func WithProxyProtocol(balancers ...netip.Prefix) Option {
	return func(g *Guard) (err error) { g.balancers, err = blocksOf(balancers); return err }
}

// WithVPC puts every request into this VPC.
func WithVPC(id string) Option {
	return func(g *Guard) error {
		if !abi.ValidVPCID(id) {
			return fmt.Errorf("%q is not the id of a VPC", id)
		}
		return g.vpc.set(vpcSource{from: vpcStatic, id: id})
	}
}

// WithVPCFromProxyProtocol takes the VPC id from the PROXY protocol header of
// the connection: TLV 0xE1, subtype 0x01. It needs WithProxyProtocol, and
// Guard.ConnContext in the server.
func WithVPCFromProxyProtocol() Option {
	return func(g *Guard) error { return g.vpc.set(vpcSource{from: vpcTLV}) }
}

// WithVPCHeader takes the VPC id from a header of requests that these peers
// send. It is removed from everyone else's requests, and from everybody's if it
// is spelt with '_' for '-' or the other way round.
func WithVPCHeader(name string, peers ...netip.Prefix) Option {
	return func(g *Guard) error {
		trusted, err := blocksOf(peers)
		if err != nil {
			return err
		}
		if !validHeaderName(name) {
			return fmt.Errorf("%q is not the name of a header", name)
		}
		if credential.SameName(name, "host") || credential.Reads(name) {
			return fmt.Errorf("the header %q holds something else than a VPC id", name)
		}
		return g.vpc.set(vpcSource{from: vpcHeader, header: http.CanonicalHeaderKey(name), trusted: trusted})
	}
}

// WithLogger sends records there: of refusals as warnings, requests that cannot
// be read among them; of faults on this side as errors; of allowed requests at
// the level of debugging. The default is slog.Default.
func WithLogger(l *slog.Logger) Option {
	return func(g *Guard) error {
		if l == nil {
			return errors.New("the logger is nil")
		}
		g.logger = l
		return nil
	}
}

// WithMeterProvider counts there; README.md names the counters. Without it
// nothing is counted.
func WithMeterProvider(p metric.MeterProvider) Option {
	return func(g *Guard) error {
		if p == nil {
			return errors.New("the meter provider is nil")
		}
		g.meter = p.Meter(scope, metric.WithInstrumentationVersion(abi.Release))
		return nil
	}
}
