// Envoy runs a real Envoy with the keymoat filter before an API: what is
// allowed, what is refused, and what becomes of a change of the rules.
//
// `make example-envoy` installs Envoy and runs it. It builds the filter, starts
// both and an API on loopback, makes calls as a load balancer of the cloud
// would pass them on, and ends. envoy.yaml and filter.yaml are the whole
// configuration; only ports are changed, to free ones.
package main

import (
	"context"
	"embed"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/keymoat/keymoat/examples/internal/caller"
	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

func main() {
	// An interrupt ends Envoy, too.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "envoy:", err)
		os.Exit(1)
	}
}

//go:embed envoy.yaml filter.yaml
var files embed.FS

const (
	alice, robot         = "LTAI5tExample0000000001", "LTAI5tExample0000000002"
	office, home, inside = "203.0.113.7", "198.51.100.20", "192.168.10.5"
	vpc, otherVPC        = "vpc-m5ekxe1zi8zwgqrtc1234", "vpc-2zeother"
)

const accepted, rejected = "accepted", "rejected"

// scene is a change of the rules, what Envoy makes of it, and the calls that
// are made then.
type scene struct {
	title, rules, outcome string
	calls                 []caller.Call
}

func scenes(rules string) []scene {
	return []scene{
		{"The rules of filter.yaml", rules, accepted, []caller.Call{
			{Who: "alice from the office", Key: alice, From: office},
			{Who: "alice from home", Key: alice, From: home},
			{Who: "the robot from its VPC", Key: robot, From: inside, VPC: vpc},
			{Who: "the robot from another VPC", Key: robot, From: inside, VPC: otherVPC},
			{Who: "the robot from the office", Key: robot, From: office},
			{Who: "somebody without a key", From: office},
		}},
		{"Alice works from home now", strings.Replace(rules, "203.0.113.0/24", home, 1), accepted, []caller.Call{
			{Who: "alice from home", Key: alice, From: home},
			{Who: "alice from the office", Key: alice, From: office},
		}},
		{"A slip of the pen", strings.Replace(rules, "203.0.113.0/24", "203.0.113.0/42", 1), rejected, []caller.Call{
			{Who: "alice from home", Key: alice, From: home},
			{Who: "alice from the office", Key: alice, From: office},
		}},
	}
}

func run(ctx context.Context, out io.Writer) error {
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "the API has seen a call from %s", r.Header.Get("X-Forwarded-For"))
	}))
	defer api.Close()
	dir, err := os.MkdirTemp("", "keymoat-envoy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := envoytest.BuildFilter(ctx, filepath.Join(dir, "keymoat-envoy.wasm")); err != nil {
		return err
	}
	bootstrap, rules, err := prepare(api.Listener.Addr().String())
	if err != nil {
		return err
	}
	all := scenes(rules)
	file := filepath.Join(dir, "filter.yaml")
	if err := replace(file, all[0].rules); err != nil {
		return err
	}
	envoy, err := envoytest.Start(ctx, envoytest.Options{YAML: bootstrap, Dir: dir})
	if err != nil {
		return err
	}
	defer envoy.Close()
	address, err := envoy.Address(ctx, "api")
	if err != nil {
		return err
	}
	for i, scene := range all {
		place := 0 // in Envoy's log
		if i > 0 {
			place = len(envoy.Log())
			if err := replace(file, scene.rules); err != nil {
				return err
			}
		}
		line, _, err := envoy.NextLine(ctx, place, "configuration "+scene.outcome)
		if err == nil && scene.outcome == accepted {
			_, err = envoy.Accepted(ctx, place) // by each worker too
		}
		if err != nil {
			return err
		}
		_, said, _ := strings.Cut(line, "configuration ")
		fmt.Fprintf(out, "%s: %s\n", scene.title, said)
		for _, c := range scene.calls {
			if err := c.Make(ctx, address, out); err != nil {
				return err
			}
		}
	}
	return showCounters(ctx, envoy, out)
}

// prepare returns the two files, with ports that are free.
func prepare(api string) (bootstrap, rules string, err error) {
	b, err := files.ReadFile("envoy.yaml")
	if err != nil {
		return "", "", err
	}
	_, port, err := net.SplitHostPort(api)
	if err != nil {
		return "", "", err
	}
	bootstrap = strings.NewReplacer("port_value: 9901", "port_value: 0", "port_value: 10000", "port_value: 0", "port_value: 8080", "port_value: "+port).Replace(string(b))
	b, err = files.ReadFile("filter.yaml")
	return bootstrap, string(b), err
}

// replace puts another document in the place of a file, at once and as a whole.
func replace(file, document string) error {
	if err := os.WriteFile(file+".new", []byte(document), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
