package httpguard

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/denial"
)

// source is the address that a request comes from.
type source struct {
	ip     netip.Addr // not valid if it cannot be read
	text   string     // what was found instead, if it cannot be read
	header string     // that named it, "" for the connection
}

// seen is the address for the answer and the log.
func (s *source) seen() string {
	if s.ip.IsValid() {
		return s.ip.String()
	}
	return s.text
}

// peer returns the address of the connection's peer, or of the client that a
// PROXY protocol header names.
func peer(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap().WithZone("") // a zone is an interface of this host, not part of the address
}

// forwarded is a header that names the addresses a request has come through,
// the nearest last, and who is believed with it.
type forwarded struct {
	header  string // "" for none
	walk    walk
	trusted blocks
}

// walk reads the addresses of one line of such a header from right to left, up
// to the first that is not trusted, and returns the last that it read.
type walk func(line string, trusted blocks) (netip.Addr, *entryError)

func (f *forwarded) set(header string, w walk, proxies []netip.Prefix) error {
	if f.header != "" {
		return errors.New("only one header can name the address of the caller")
	}
	trusted, err := blocksOf(proxies)
	*f = forwarded{header, w, trusted}
	return err
}

// source returns the address of the caller: the nearest one that is not of a
// trusted proxy. What lies beyond it was written by someone who is not
// believed, and does not count.
func (f *forwarded) source(r *http.Request) (source, error) {
	s := source{ip: peer(r)}
	if !s.ip.IsValid() {
		s.text = r.RemoteAddr
		return s, fmt.Errorf("the connection has no readable peer address: %q", r.RemoteAddr)
	}
	if f.header == "" {
		return s, nil
	}
	lines := r.Header[f.header]
	for i := len(lines) - 1; i >= 0 && f.trusted.contain(s.ip); i-- {
		ip, bad := f.walk(lines[i], f.trusted)
		if bad != nil {
			return source{text: denial.Cut(bad.entry), header: f.header}, fmt.Errorf("%s: %w", f.header, bad)
		}
		s = source{ip: ip, header: f.header}
	}
	return s, nil
}

// entryError says that an entry is no address. A proxy that is believed wrote
// it, so there is nobody else to ask.
type entryError struct{ entry string }

func (e *entryError) Error() string {
	return fmt.Sprintf("the entry %q is not an address", denial.Cut(e.entry))
}

// walkList walks a line of X-Forwarded-For.
func walkList(line string, trusted blocks) (ip netip.Addr, bad *entryError) {
	for {
		comma := strings.LastIndexByte(line, ',')
		if ip, bad = node(strings.Trim(line[comma+1:], " \t")); bad != nil {
			return ip, bad
		}
		if comma < 0 || !trusted.contain(ip) {
			return ip, nil
		}
		line = line[:comma]
	}
}

// walkForwarded walks a line of Forwarded. It has to be read from the left, as
// a comma may be part of a quoted string.
func walkForwarded(line string, trusted blocks) (ip netip.Addr, bad *entryError) {
	var few [8]string
	nodes, ok := appendNodes(few[:0], line)
	if !ok {
		return ip, &entryError{line}
	}
	for i := len(nodes) - 1; i >= 0; i-- {
		if ip, bad = node(nodes[i]); bad != nil || !trusted.contain(ip) {
			break
		}
	}
	return ip, bad
}

// node reads an address with or without a port: 192.0.2.1, 192.0.2.1:80,
// 2001:db8::1, [2001:db8::1] or [2001:db8::1]:80.
func node(s string) (netip.Addr, *entryError) {
	if ip := abi.ParseSource(s); ip.IsValid() {
		return ip, nil
	}
	if a, err := netip.ParseAddrPort(s); err == nil && a.Addr().Zone() == "" {
		return a.Addr().Unmap(), nil
	}
	if n := len(s); n > 2 && s[0] == '[' && s[n-1] == ']' {
		if ip, err := netip.ParseAddr(s[1 : n-1]); err == nil && ip.Is6() && ip.Zone() == "" {
			return ip.Unmap(), nil
		}
	}
	return netip.Addr{}, &entryError{s}
}
