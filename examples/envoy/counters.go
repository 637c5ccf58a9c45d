package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// showCounters writes the counters that are not zero, once they hold all calls.
func showCounters(ctx context.Context, envoy *envoytest.Envoy, out io.Writer) error {
	const prefix = "wasmcustom.keymoat.decision."
	calls := 0
	for _, scene := range scenes("") {
		calls += len(scene.calls)
	}
	var counters map[string]int
	if err := envoy.Wait(ctx, "the counters", func() bool {
		var err error
		if counters, err = envoy.Stats(ctx, `^wasmcustom\.keymoat\.decision`); err != nil {
			return false
		}
		sum := 0
		for _, n := range counters {
			sum += n
		}
		return sum == calls
	}); err != nil {
		return err
	}
	var lines []string
	for name, n := range counters {
		if n > 0 {
			lines = append(lines, fmt.Sprintf("  %-44s %d\n", strings.TrimPrefix(name, prefix), n))
		}
	}
	slices.Sort(lines)
	_, err := fmt.Fprintf(out, "Envoy's counters, %s…\n%s", prefix, strings.Join(lines, ""))
	return err
}
