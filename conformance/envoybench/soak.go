package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// runSoak loads an Envoy for a while and looks at its memory all the time.
func runSoak(ctx context.Context, o options, duration time.Duration) error {
	s := &subject{listener: envoytest.Listener{Wasm: o.wasm, Configuration: configuration(keys())}}
	if err := s.start(ctx, o, "soak"); err != nil {
		return err
	}
	defer s.envoy.Close()
	memory := watchMemory(ctx, s.envoy.PID)
	f, err := load(ctx, s.envoy, s.address, o, duration)
	samples := memory()
	if err != nil {
		return err
	}
	failed, err := s.envoy.Stats(ctx, `downstream_rq_[45]xx$`)
	if err != nil {
		return err
	}
	for name, n := range failed {
		if n > 0 && strings.Contains(name, ".bench.") {
			return fmt.Errorf("%s is %d", name, n)
		}
	}
	fmt.Printf("%v at %.0f requests/s, none failed; p99 %v\n", duration, f.perSecond, f.p99)
	return flat(samples)
}

// runReloads changes the rules again and again while requests are made. Every
// configuration is another one, as in real life, and decides otherwise about
// the key of a probe, so that a worker that kept the former rules would show.
func runReloads(ctx context.Context, o options, reloads int) error {
	dir := filepath.Join(o.dir, "watched")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	file := filepath.Join(dir, "filter.json")
	const some = 10 // keys, so that a thousand changes take minutes and not an hour
	rules := configuration(keys()[:some])
	if err := envoytest.Watch(file, o.wasm, changed(rules, 0)); err != nil {
		return err
	}
	s := &subject{listener: envoytest.Listener{Update: file}}
	if err := s.start(ctx, o, "reloads"); err != nil {
		return err
	}
	defer s.envoy.Close()

	loadCtx, stop := context.WithCancel(ctx)
	defer stop()
	loaded := make(chan error, 1)
	requests := 0.0
	go func() {
		defer close(loaded)
		for loadCtx.Err() == nil {
			f, err := load(loadCtx, s.envoy, s.address, o, time.Second)
			if loadCtx.Err() == nil && err != nil {
				loaded <- err
				return
			}
			requests += f.perSecond
		}
	}()
	memory := watchMemory(ctx, s.envoy.PID)
	var took []time.Duration
	for i := range reloads {
		number, place := i+1, len(s.envoy.Log())
		began := time.Now()
		if err := envoytest.Watch(file, o.wasm, changed(rules, number)); err != nil {
			return err
		}
		if _, err := s.envoy.Accepted(ctx, place); err != nil {
			return err
		}
		if err := settled(ctx, s, o.workers, probeAllowed(number)); err != nil {
			return fmt.Errorf("change %d: %w", number, err)
		}
		took = append(took, time.Since(began))
		if err := stays(ctx, s, o.workers, probeAllowed(number)); err != nil {
			return fmt.Errorf("change %d: %w", number, err)
		}
		select {
		case err := <-loaded:
			return fmt.Errorf("after %d changes: %w", i+1, err)
		default:
		}
	}
	samples := memory()
	stop()
	if err := <-loaded; err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	slices.Sort(took)
	fmt.Printf("%d changes of a configuration of %d kB under some %.0f requests, none failed\n", reloads, len(rules)>>10, requests)
	fmt.Printf("from the rename until the new rules answer on every worker: %v at least, %v in the middle, %v at most\n",
		took[0].Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
	return flat(samples)
}

// probe is a key that the rules allow from here with every second change.
const probe = "LTAI5tProbe0000000001"

func probeAllowed(number int) bool { return number%2 == 0 }

// changed returns the rules after so many changes.
func changed(rules string, number int) string {
	source := "192.0.2.1"
	if probeAllowed(number) {
		source = client.Addr().String()
	}
	// An account more, so that no image is like a former one.
	rules = strings.Replace(rules, `"Accounts":[`, fmt.Sprintf(`"Accounts":[{"AccountId":"%d"},`, number), 1)
	return strings.Replace(rules, `"AccessKeys":[`, `"AccessKeys":[{"AccessKeyId":"`+probe+`","AccessKeyPolicy":{"Status":"Active","Statements":[`+
		`{"Type":"ClassicWhiteList","IPList":["`+source+`"]}]}},`, 1)
}

// connections, for each worker, are enough to meet all workers.
const connections = 4

// settled waits until the new rules answer the probe on many new connections in
// a row: a worker says that it has accepted a configuration a moment before it
// uses it.
func settled(ctx context.Context, s *subject, workers int, allowed bool) error {
	return s.envoy.Wait(ctx, "the new rules", func() bool {
		for range connections * workers {
			if got, err := ask(ctx, s.address); err != nil || got != allowed {
				return false
			}
		}
		return true
	})
}

// stays makes an answer by the former rules an error, once the new ones have answered.
func stays(ctx context.Context, s *subject, workers int, allowed bool) error {
	for range connections * workers {
		got, err := ask(ctx, s.address)
		if err != nil {
			return err
		}
		if got != allowed {
			return fmt.Errorf("the former rules have answered: allowed=%t", got)
		}
	}
	return nil
}

// ask makes one request with the probe's key on a connection of its own.
func ask(ctx context.Context, address string) (allowed bool, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "acs "+probe+":c2ln")
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusForbidden:
		return false, nil
	}
	return false, fmt.Errorf("the probe got %s", res.Status)
}

// watchMemory looks at a process's memory once a second until the function that
// it returns is called.
func watchMemory(ctx context.Context, pid int) (stop func() []float64) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan []float64)
	go func() {
		var samples []float64
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			if mib, err := resident(pid); err == nil {
				samples = append(samples, mib)
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				done <- samples
				return
			}
		}
	}()
	return func() []float64 {
		cancel()
		return <-done
	}
}

// flat compares the second and the last third of the samples. In the first one
// memory grows: V8's heap, and what is kept of rules until it is collected.
func flat(samples []float64) error {
	const noise = 4 // MiB
	third := len(samples) / 3
	if third == 0 {
		return errors.New("too short to tell")
	}
	second, last := slices.Max(samples[third:2*third]), slices.Max(samples[2*third:])
	fmt.Printf("memory: %.1f MiB at the start, at most %.1f MiB in the second third and %.1f MiB in the last\n", samples[0], second, last)
	if last > second+noise {
		return errors.New("memory is growing")
	}
	return nil
}
