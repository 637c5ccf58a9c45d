package httpguard

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
)

// Listener wraps a listener of a server whose handler is the guard's. With
// WithProxyProtocol it reads the header of each connection, and drops those of
// others than the load balancers; without, it is the listener itself.
func (g *Guard) Listener(inner net.Listener) net.Listener {
	if g.balancers == nil {
		return inner
	}
	return &listener{inner, g}
}

// ConnContext is for the field of that name of an http.Server. It lets the
// guard find the PROXY protocol header of the connection of a request.
func (g *Guard) ConnContext(ctx context.Context, c net.Conn) context.Context {
	for {
		switch of := c.(type) {
		case *connection:
			return context.WithValue(ctx, connectionKey{}, of)
		case interface{ NetConn() net.Conn }: // TLS
			c = of.NetConn()
		default:
			return ctx
		}
	}
}

type connectionKey struct{}

// connectionOf returns the connection of a request, nil if it did not come
// through Guard.Listener and Guard.ConnContext.
func connectionOf(r *http.Request) *connection {
	c, _ := r.Context().Value(connectionKey{}).(*connection)
	return c
}

type listener struct {
	net.Listener
	guard *Guard
}

// headerTimeout is how long a connection may take to send its header.
const headerTimeout = 5 * time.Second

// Accept returns the next connection of a load balancer. Its header is read
// later, by whoever uses the connection first, so that none holds up others.
func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(c.RemoteAddr().String())
		if err == nil && l.guard.balancers.contain(from.Addr().Unmap().WithZone("")) {
			return &connection{
				Conn: proxyproto.NewConn(c, proxyproto.WithPolicy(proxyproto.REQUIRE),
					proxyproto.ValidateHeader(tcpByVersion2), proxyproto.SetReadHeaderTimeout(headerTimeout)),
				guard: l.guard,
			}, nil
		}
		_ = c.Close() // nothing was read or written
		l.guard.dropped(c, connectionUntrusted, errors.New("it is not from a load balancer"))
	}
}

// tcpByVersion2 refuses headers of version 1, which cannot tell a VPC, and
// those that name no TCP client: a UNIX socket may be called like an address.
func tcpByVersion2(h *proxyproto.Header) error {
	if h.Version != 2 {
		return fmt.Errorf("a PROXY protocol header of version %d; it must be 2", h.Version)
	}
	if p := h.TransportProtocol; !h.Command.IsLocal() && p != proxyproto.TCPv4 && p != proxyproto.TCPv6 {
		return fmt.Errorf("a PROXY protocol header of the family and protocol %#02x; it must be TCP over IPv4 or IPv6, 0x11 or 0x21", byte(p))
	}
	return nil
}

// connection is one that opens with a PROXY protocol header.
type connection struct {
	*proxyproto.Conn
	guard *Guard

	told sync.Once // that the header cannot be read

	read  sync.Once
	vpcID string
	err   error
}

// Read implements net.Conn. It fails unless there is a header.
func (c *connection) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if err != nil && c.ProxyHeader() == nil {
		c.told.Do(func() { c.guard.dropped(c.Raw(), connectionNoHeader, err) })
	}
	return n, err
}

// names reports whether the header names the caller. That of a connection of the
// load balancer's own does not.
func (c *connection) names() bool {
	h := c.ProxyHeader()
	return h != nil && !h.Command.IsLocal()
}

// vpc returns the VPC id of the header, "" if there is none. It is the same
// for all requests of the connection.
func (c *connection) vpc() (string, error) {
	c.read.Do(func() {
		h := c.ProxyHeader()
		switch {
		case h == nil:
			c.err = proxyproto.ErrNoProxyProtocol
		case h.Command.IsLocal(): // of the load balancer itself; what is in the header does not count
		default:
			var tlvs []proxyproto.TLV
			if tlvs, c.err = h.TLVs(); c.err == nil {
				c.vpcID, c.err = vpcFromTLVs(tlvs)
			}
		}
	})
	return c.vpcID, c.err
}

// dropped tells of a connection that is not served.
func (g *Guard) dropped(c net.Conn, cause connectionCause, err error) {
	g.counters.connectionDropped(cause)
	g.logger.LogAttrs(context.Background(), slog.LevelInfo, "keymoat: connection dropped",
		slog.String("peer", c.RemoteAddr().String()), slog.String("cause", string(cause)), slog.Any("error", err))
}
