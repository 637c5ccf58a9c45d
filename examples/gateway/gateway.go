package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"path/filepath"
	"time"

	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/httpguard"
	"github.com/keymoat/keymoat/host/policysource"
	"github.com/keymoat/keymoat/plugin/denial"
)

// gateway stands between load balancers and an API. It passes on calls whose
// AccessKey may be used from where they come, by the rules of a file.
type gateway struct {
	engine *host.Engine
	rules  *policysource.Source
	server *http.Server
	ended  chan error
}

// configuration is what differs from gateway to gateway.
type configuration struct {
	listener  net.Listener
	balancers netip.Prefix // load balancers that speak the PROXY protocol
	upstream  *url.URL
	policies  string // the file with the rules
	denyForms bool   // a form may hold another key id than the one that is seen
	logger    *slog.Logger
	changed   func(policysource.Change)
}

// start starts a gateway, which serves when it returns.
func start(ctx context.Context, c configuration) (_ *gateway, err error) {
	g := &gateway{ended: make(chan error, 1)}
	defer func() {
		if err != nil {
			err = errors.Join(err, g.close(ctx))
		}
	}()
	if g.engine, err = host.New(ctx, host.WithLogger(c.logger)); err != nil {
		return nil, err
	}
	if g.rules, err = policysource.Open(ctx, g.engine, "file://"+filepath.ToSlash(c.policies),
		policysource.WithLogger(c.logger), policysource.OnChange(c.changed)); err != nil {
		return nil, err
	}
	options := []httpguard.Option{
		httpguard.WithProxyProtocol(c.balancers),
		httpguard.WithVPCFromProxyProtocol(),
		httpguard.DenyMissingAccessKey(),
		httpguard.WithDenial(denial.OpenAPI, 0),
		httpguard.WithLogger(c.logger),
	}
	if c.denyForms {
		options = append(options, httpguard.WithFormBodyDenied())
	}
	guard, err := httpguard.New(g.engine, options...)
	if err != nil {
		return nil, err
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(c.upstream)
		r.Out.Host = r.In.Host // it is part of what the caller has signed
		r.SetXForwarded()
	}}
	g.server = &http.Server{Handler: guard.Handler(proxy), ConnContext: guard.ConnContext, ReadHeaderTimeout: 10 * time.Second}
	go func() { g.ended <- g.server.Serve(guard.Listener(c.listener)) }()
	return g, nil
}

// close ends what start has begun.
func (g *gateway) close(ctx context.Context) error {
	var failed []error
	if g.server != nil {
		failed = append(failed, g.server.Shutdown(ctx))
		if err := <-g.ended; !errors.Is(err, http.ErrServerClosed) {
			failed = append(failed, err)
		}
	}
	if g.rules != nil {
		failed = append(failed, g.rules.Close())
	}
	if g.engine != nil {
		failed = append(failed, g.engine.Close(ctx))
	}
	return errors.Join(failed...)
}
