// Command workload writes the workload that the SDKs' benchmarks share, so that
// each language measures the same policy set with the same requests as
// conformance/peers does in Go:
//
//	workload -o build/workload
//
// It writes policy-set.json, the same set compiled as policy-set.image, and
// requests.ndjson, a line for each request:
//
//	{"Evaluate": request, "Expect": decision}
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
	"github.com/keymoat/keymoat/plugin/policy"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("workload: ")
	dir := flag.String("o", "build/workload", "the `folder` to write to")
	count := flag.Int("requests", 100*workload.Cycle, "how many requests to write")
	flag.Parse()
	if err := write(*dir, workload.Hundred(), *count); err != nil {
		log.Fatal(err)
	}
}

func write(dir string, w *workload.Workload, count int) error {
	var document bytes.Buffer
	if err := w.WritePolicySet(&document); err != nil {
		return err
	}
	image, _, err := policy.Compile(document.Bytes())
	if err != nil {
		return fmt.Errorf("compile the policy set: %w", err)
	}
	var lines bytes.Buffer
	out := json.NewEncoder(&lines)
	out.SetEscapeHTML(false)
	requests, decisions := w.Requests(count)
	for i := range requests {
		if err := out.Encode(struct {
			Evaluate abi.Request
			Expect   abi.Decision
		}{requests[i], decisions[i]}); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"policy-set.json":  document.Bytes(),
		"policy-set.image": image,
		"requests.ndjson":  lines.Bytes(),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o644); err != nil {
			return err
		}
	}
	return nil
}
