// Envoybench measures what the Envoy filter costs, on real Envoys on this
// machine, with wrk (Debian's package of that name) as the client:
//
//	go run ./conformance/envoybench            side by side: without a filter, with native RBAC, with a Go filter that looks at nothing (floor), with keymoat
//	go run ./conformance/envoybench -soak 60s  full load for a while: memory, failed requests
//	go run ./conformance/envoybench -reloads 1000  that many changes of the rules under load
//
// All requests are signed with ACS3, take the 100 keys of the workload Hundred
// in turn, and are allowed. Figures are only worth something on a quiet machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

type options struct {
	duration    time.Duration
	rounds      int
	connections int
	workers     int
	dir         string
	wasm        string
	floor       string   // another filter, see its package
	filters     []string // further builds of it
	script      string   // for wrk
}

func main() {
	var o options
	soak := flag.Duration("soak", 0, "load an Envoy for `so long`")
	reloads := flag.Int("reloads", 0, "change the rules so many `times` under load")
	flag.DurationVar(&o.duration, "duration", time.Second, "of each measurement")
	flag.IntVar(&o.rounds, "rounds", 15, "how often each is measured, in turn; the middle one counts")
	flag.IntVar(&o.connections, "connections", 8, "of the client")
	flag.IntVar(&o.workers, "workers", 1, "of Envoy")
	flag.Func("filter", "measure this other build of the filter too, a `file`; may be repeated", func(file string) error {
		o.filters = append(o.filters, file)
		return nil
	})
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, *soak, *reloads); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "envoybench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, soak time.Duration, reloads int) (err error) {
	if o.dir, err = os.MkdirTemp("", "envoybench"); err != nil {
		return err
	}
	defer os.RemoveAll(o.dir)
	o.wasm, o.script = filepath.Join(o.dir, "keymoat-envoy.wasm"), filepath.Join(o.dir, "wrk.lua")
	if err := envoytest.BuildFilter(ctx, o.wasm); err != nil {
		return err
	}
	o.floor = filepath.Join(o.dir, "floor.wasm")
	if err := envoytest.Build(ctx, "./conformance/envoybench/floor", o.floor); err != nil {
		return err
	}
	if err := os.WriteFile(o.script, []byte(script), 0o600); err != nil {
		return err
	}
	switch {
	case soak > 0:
		return runSoak(ctx, o, soak)
	case reloads > 0:
		return runReloads(ctx, o, reloads)
	}
	return compare(ctx, o)
}
