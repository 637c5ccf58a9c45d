package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// subject is an Envoy that is measured.
type subject struct {
	name     string
	kind     kind
	listener envoytest.Listener

	envoy   *envoytest.Envoy
	address string
	ready   time.Duration // from the start until it can serve
	runs    []figures
	memory  float64 // MiB, under load
}

// kind says what a subject is compared with.
type kind int

const (
	baseline  kind = iota
	peer           // with the baseline
	contender      // and with each peer
)

// compare measures all subjects in turn, many times for a short while, so that
// whatever else the machine does meets all of them alike.
func compare(ctx context.Context, o options) error {
	all := keys()
	rules := configuration(all)
	image, err := imageConfiguration(rules)
	if err != nil {
		return err
	}
	subjects := []*subject{
		{name: "no filter"},
		{name: "RBAC, one range", kind: peer, listener: envoytest.Listener{Filters: oneList([]string{"127.0.0.0/8"})}},
		{name: "RBAC, the list of one key (50)", kind: peer, listener: envoytest.Listener{Filters: oneList(all[0].public)}},
		{name: "RBAC, the lists of all keys (100×50)", kind: peer, listener: envoytest.Listener{Filters: everyList(all)}},
		{name: "a Go filter that looks at nothing", kind: peer, listener: envoytest.Listener{Wasm: o.floor}},
		{name: "keymoat, 100 keys × (50 + 7×50)", kind: contender, listener: envoytest.Listener{Wasm: o.wasm, Configuration: rules}},
		{name: "the same, as an image", kind: contender, listener: envoytest.Listener{Wasm: o.wasm, Configuration: image}},
	}
	for _, file := range o.filters {
		subjects = append(subjects, &subject{name: filepath.Base(file), kind: contender, listener: envoytest.Listener{Wasm: file, Configuration: rules}})
	}
	for i, s := range subjects {
		if err := s.start(ctx, o, "subject"+strconv.Itoa(i)); err != nil {
			return err
		}
		defer s.envoy.Close()
		if _, err := load(ctx, s.envoy, s.address, o, 2*time.Second); err != nil { // to warm up
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	for round := range o.rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d\n", round+1, o.rounds)
		for _, s := range subjects {
			f, err := load(ctx, s.envoy, s.address, o, o.duration)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			s.runs = append(s.runs, f)
		}
	}
	for _, s := range subjects {
		var err error
		if s.memory, err = resident(s.envoy.PID); err != nil {
			return err
		}
	}
	report(subjects, o)
	return nil
}

func (s *subject) start(ctx context.Context, o options, dir string) (err error) {
	dir = filepath.Join(o.dir, dir)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	s.listener.Name, s.listener.Body = "bench", "ok"
	bootstrap, err := envoytest.Bootstrap(s.listener)
	if err != nil {
		return err
	}
	began := time.Now()
	if s.envoy, err = envoytest.Start(ctx, envoytest.Options{Bootstrap: bootstrap, Dir: dir, Workers: o.workers}); err != nil {
		return err
	}
	s.ready = time.Since(began)
	s.address, err = s.envoy.Address(ctx, "bench")
	return err
}

// middle is the median of a figure over all runs.
func middle[T cmp.Ordered](runs []figures, of func(figures) T) T {
	all := make([]T, len(runs))
	for i, f := range runs {
		all[i] = of(f)
	}
	slices.Sort(all)
	return all[len(all)/2]
}

// share is the median, over all rounds, of a's requests to b's: neighbours in time
// meet the same weather.
func share(a, b *subject) float64 {
	all := make([]float64, len(a.runs))
	for i := range all {
		all[i] = a.runs[i].perSecond / b.runs[i].perSecond
	}
	slices.Sort(all)
	return all[len(all)/2]
}

func report(subjects []*subject, o options) {
	rate := func(s *subject) float64 { return middle(s.runs, func(f figures) float64 { return f.perSecond }) }
	fmt.Printf("Envoy %s, %d worker, wrk with %d connections, the middle of %d runs of %v\n\n", envoytest.Version, o.workers, o.connections, o.rounds, o.duration)
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\trequests/s\tof no filter\tp50\tp99\tCPU/request\tready after\tmemory\t")
	for _, s := range subjects {
		fmt.Fprintf(w, "%s\t%.0f\t%.2f\t%v\t%v\t%v\t%v\t%.0f MiB\t\n", s.name, rate(s), share(s, subjects[0]),
			middle(s.runs, func(f figures) time.Duration { return f.p50 }), middle(s.runs, func(f figures) time.Duration { return f.p99 }),
			middle(s.runs, func(f figures) time.Duration { return f.cpu }).Round(10*time.Nanosecond),
			s.ready.Round(10*time.Millisecond), s.memory)
	}
	w.Flush()
	fmt.Println()
	for _, s := range subjects {
		if s.kind == baseline {
			continue
		}
		fmt.Printf("%s: %.0f MiB more than no filter", s.name, s.memory-subjects[0].memory)
		for _, other := range subjects {
			if s.kind == contender && other.kind == peer {
				fmt.Printf(", %.2f × the requests of %s", share(s, other), other.name)
			}
		}
		fmt.Println()
	}
}
