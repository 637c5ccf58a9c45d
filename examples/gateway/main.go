// Gateway is a reverse proxy that lets an AccessKey be used only from where
// its policies allow, by the rules of a file that it watches.
//
// It starts an API, the gateway and a load balancer's side of it on loopback,
// makes calls, changes the rules, makes calls again, and ends.
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/keymoat/keymoat/examples/internal/caller"
	"github.com/keymoat/keymoat/host/policysource"
)

func main() {
	denyForms := flag.Bool("deny-form-body", true, "refuse requests whose body is a form: a key id in there is not seen")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := run(ctx, os.Stdout, *denyForms); err != nil {
		fmt.Fprintln(os.Stderr, "gateway:", err)
		os.Exit(1)
	}
}

//go:embed policies.json
var policies string

const (
	alice, robot         = "LTAI5tExample0000000001", "LTAI5tExample0000000002"
	office, home, inside = "203.0.113.7", "198.51.100.20", "192.168.10.5"
	vpc, otherVPC        = "vpc-m5ekxe1zi8zwgqrtc1234", "vpc-2zeother"
)

// scenes are the rules and the calls that are made by them.
var scenes = []struct {
	title, rules string
	calls        []caller.Call
}{
	{"The rules of policies.json", policies, []caller.Call{
		{Who: "alice from the office", Key: alice, From: office},
		{Who: "alice from home", Key: alice, From: home},
		{Who: "the robot from its VPC", Key: robot, From: inside, VPC: vpc},
		{Who: "the robot from another VPC", Key: robot, From: inside, VPC: otherVPC},
		{Who: "the robot from the office", Key: robot, From: office},
		{Who: "somebody without a key", From: office},
	}},
	{"Alice works from home now", strings.Replace(policies, office, home, 1), []caller.Call{
		{Who: "alice from home", Key: alice, From: home},
		{Who: "alice from the office", Key: alice, From: office},
	}},
	{"A slip of the pen", strings.Replace(policies, office, office+"00", 1), []caller.Call{
		{Who: "alice from home", Key: alice, From: home},
		{Who: "alice from the office", Key: alice, From: office},
	}},
}

func run(ctx context.Context, out io.Writer, denyForms bool) (err error) {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the API has seen a call from %s", r.Header.Get("X-Forwarded-For"))
	}))
	defer api.Close()
	upstream, err := url.Parse(api.URL)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "gateway")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "policies.json")
	if err := replace(file, scenes[0].rules); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer listener.Close()
	changes := make(chan policysource.Change, len(scenes))
	g, err := start(ctx, configuration{
		listener:  listener,
		balancers: netip.MustParsePrefix("127.0.0.0/8"),
		upstream:  upstream,
		policies:  file,
		denyForms: denyForms,
		logger:    slog.New(slog.DiscardHandler), // slog.Default() would show each refusal
		changed:   func(c policysource.Change) { changes <- c },
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, g.close(ctx)) }()

	for i, scene := range scenes {
		if i > 0 {
			if err := replace(file, scene.rules); err != nil {
				return err
			}
		}
		select {
		case c := <-changes:
			fmt.Fprintf(out, "%s: %s\n", scene.title, c.Outcome)
			if c.Err != nil {
				fmt.Fprintf(out, "  %v\n", c.Err)
			}
		case <-ctx.Done():
			return ctx.Err()
		}
		for _, c := range scene.calls {
			if err := c.Make(ctx, listener.Addr().String(), out); err != nil {
				return err
			}
		}
	}
	return nil
}

// replace puts another document in the place of a file, at once and as a whole.
func replace(file, document string) error {
	if err := os.WriteFile(file+".new", []byte(document), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
