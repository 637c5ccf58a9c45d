// Command report measures keymoat and its peers in one run and prints the
// figures as a Markdown table.
package main

import (
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/keymoat/keymoat/conformance/peers"
	"github.com/keymoat/keymoat/conformance/workload"
)

func main() {
	log.SetFlags(0)
	testing.Init() // testing.Benchmark takes its duration from a flag of package testing
	rounds := flag.Int("rounds", 7, "how often to measure everything")
	benchtime := flag.Duration("benchtime", 500*time.Millisecond, "how long to measure each contender in a round")
	only := flag.String("workloads", "hundred,million,small", "which workloads to measure")
	flag.Parse()
	if err := run(*rounds, *benchtime, strings.Split(*only, ",")); err != nil {
		log.Fatal(err)
	}
}

func run(rounds int, benchtime time.Duration, only []string) error {
	if rounds < 1 {
		return fmt.Errorf("-rounds %d: there must be at least one", rounds)
	}
	if err := flag.Set("test.benchtime", benchtime.String()); err != nil {
		return err
	}
	for _, name := range only {
		if !slices.ContainsFunc(sections, func(s section) bool { return s.name == name }) {
			return fmt.Errorf("-workloads %s: there is hundred, million and small", name)
		}
	}
	cacheDir, err := os.MkdirTemp("", "keymoat-peers-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(cacheDir)

	t := table{machine: machine(), method: fmt.Sprintf("median of %d rounds of %s, ± half the range", rounds, benchtime)}
	contenders := peers.All(cacheDir)
	for _, s := range sections {
		if !slices.Contains(only, s.name) {
			continue
		}
		w := s.workload()
		log.Printf("%s: loading and checking", w.Name)
		rows, err := s.measure(w, contenders, rounds)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		t.parts = append(t.parts, part{s.name, s.title + w.Name, rows})
	}
	_, err = fmt.Print(t)
	return err
}

// section is a part of the table.
type section struct {
	name     string
	title    string
	workload func() *workload.Workload
	measure  func(*workload.Workload, []peers.Contender, int) ([]row, error)
}

var sections = []section{
	{"hundred", "one evaluation, ", workload.Hundred, judge(4_000)},
	{"million", "one evaluation, ", workload.Million, judge(200_000)},
	{"small", "start and load, ", workload.Small, start},
}

// judge measures evaluations of so many requests, after every contender has
// answered each of them rightly.
func judge(n int) func(*workload.Workload, []peers.Contender, int) ([]row, error) {
	return func(w *workload.Workload, contenders []peers.Contender, rounds int) ([]row, error) {
		requests, decisions := w.Requests(n)
		var rows []row
		var benchmarks []func(*testing.B)
		for _, c := range contenders {
			if !c.Holds(w) {
				continue
			}
			loaded, judge, err := c.Ready(w, requests, decisions)
			if err != nil {
				return nil, err
			}
			defer loaded.Close()
			rows = append(rows, row{name: c.Name})
			benchmarks = append(benchmarks, peers.Judging(judge, n))
		}
		return measure(rows, benchmarks, rounds)
	}
}

// start measures the way from nothing to a loaded system. Each has been
// started once before, so keymoat's compilation cache is warm.
func start(w *workload.Workload, contenders []peers.Contender, rounds int) ([]row, error) {
	requests, decisions := w.Requests(1000)
	var rows []row
	var benchmarks []func(*testing.B)
	for _, c := range contenders {
		if c.Name == peers.KeymoatBatch {
			continue // it starts like the one that is not asked in batches
		}
		loaded, _, err := c.Ready(w, requests, decisions)
		if err != nil {
			return nil, err
		}
		if err := loaded.Close(); err != nil {
			return nil, err
		}
		rows = append(rows, row{name: c.Name})
		benchmarks = append(benchmarks, peers.Starting(c, w))
	}
	return measure(rows, benchmarks, rounds)
}

func measure(rows []row, benchmarks []func(*testing.B), rounds int) ([]row, error) {
	log.Printf("measuring %d contenders in %d rounds", len(rows), rounds)
	figures, err := peers.Interleave(rounds, benchmarks)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		rows[i].Figure = figures[i]
	}
	return rows, nil
}
