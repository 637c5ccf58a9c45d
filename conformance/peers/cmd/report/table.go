package main

import (
	"fmt"
	"math"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/keymoat/keymoat/conformance/peers"
)

// table prints itself as Markdown.
type table struct {
	machine string
	method  string
	parts   []part
}

// part is the rows about one workload.
type part struct {
	name  string // of the section
	title string
	rows  []row
}

type row struct {
	name string
	peers.Figure
}

// target is a line of the number table in DESIGN.md. A ratio is one to
// keymoat's sandbox in the same part; a zero bound is none.
type target struct {
	part, row        string
	mostNs           float64
	noAllocs         bool
	leastRatio       float64
	mostTimesHundred float64 // the same row's time in the part about 100 keys
	text             string
}

var targets = []target{
	{part: "hundred", row: peers.KeymoatWasm, mostNs: 200, noAllocs: true, text: "≤ 200 ns, 0 allocs"},
	{part: "hundred", row: peers.KeymoatBatch, mostNs: 120, text: "≤ 120 ns"},
	{part: "hundred", row: peers.KeymoatNative, mostNs: 60, noAllocs: true, text: "≤ 60 ns, 0 allocs"},
	{part: "hundred", row: peers.OPAContains, leastRatio: 300, text: "≥ 300×"},
	{part: "hundred", row: peers.CedarByKey, leastRatio: 25, text: "≥ 25×"},
	{part: "hundred", row: peers.Bart, leastRatio: 0.25, text: "≥ 0.25×"},
	{part: "million", row: peers.KeymoatWasm, mostTimesHundred: 1.8, text: "≤ 1.8 × 100 keys"},
	{part: "small", row: peers.KeymoatWasm, mostNs: 40e6, text: "≤ 40 ms"},
}

func (t table) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s; %s.\n\n", t.machine, t.method)
	b.WriteString("| what | ns/op | ± | allocs/op | ratio to keymoat, sandboxed | target | reached |\n")
	b.WriteString("|---|--:|--:|--:|--:|---|---|\n")
	for _, p := range t.parts {
		fmt.Fprintf(&b, "| **%s** | | | | | | |\n", p.title)
		for _, r := range p.rows {
			text, reached := t.verdict(p, r)
			fmt.Fprintf(&b, "| %s | %s | %.0f %% | %d | %s | %s | %s |\n",
				r.name, thousands(r.NsPerOp), 100*r.Spread, r.AllocsPerOp, times(t.ratio(p, r)), text, reached)
		}
	}
	return b.String()
}

func (t table) verdict(p part, r row) (text, reached string) {
	for _, goal := range targets {
		if goal.part != p.name || goal.row != r.name {
			continue
		}
		hundred := t.find("hundred", r.name)
		if goal.mostTimesHundred > 0 && hundred == nil {
			return goal.text, "not measured"
		}
		ok := (goal.mostNs == 0 || r.NsPerOp <= goal.mostNs) &&
			(!goal.noAllocs || r.AllocsPerOp == 0) &&
			t.ratio(p, r) >= goal.leastRatio &&
			(goal.mostTimesHundred == 0 || r.NsPerOp <= goal.mostTimesHundred*hundred.NsPerOp)
		if ok {
			return goal.text, "yes"
		}
		return goal.text, "**no**"
	}
	return "–", "–"
}

// ratio is how much longer the row takes than keymoat in its sandbox.
func (t table) ratio(p part, r row) float64 {
	return r.NsPerOp / t.find(p.name, peers.KeymoatWasm).NsPerOp
}

func (t table) find(part, name string) *row {
	for _, p := range t.parts {
		for i := range p.rows {
			if p.name == part && p.rows[i].name == name {
				return &p.rows[i]
			}
		}
	}
	return nil
}

func times(ratio float64) string {
	switch {
	case ratio >= 10:
		return fmt.Sprintf("%.0f×", ratio)
	case ratio >= 0.005:
		return fmt.Sprintf("%.2f×", ratio)
	default:
		return "< 0.01×"
	}
}

// thousands prints 1234567 as 1,234,567, and what is below 1,000 with a decimal.
func thousands(v float64) string {
	if v < 999.95 {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	digits := strconv.FormatInt(int64(math.Round(v)), 10)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

// machine describes where the figures come from. The load tells how much
// others were using it.
func machine() string {
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, %s, load before the run %s",
		cpu(), runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), time.Now().Format(time.DateOnly), load())
}

func cpu() string {
	info, _ := os.ReadFile("/proc/cpuinfo") // elsewhere than on Linux there is none
	for line := range strings.Lines(string(info)) {
		if name, model, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(model)
		}
	}
	return "unknown CPU"
}

func load() string {
	averages, _ := os.ReadFile("/proc/loadavg")
	if last, _, ok := strings.Cut(string(averages), " "); ok {
		return last
	}
	return "unknown"
}
