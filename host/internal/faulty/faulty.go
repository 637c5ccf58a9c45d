// Package faulty builds the plug-ins with faults in them, for the tests of what
// hosts make of a guest that traps: it decides as the plug-in does, and fails
// for certain key ids (testdata/fault.go). The plug-ins themselves have nothing
// of the kind.
package faulty

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Plugin is a plug-in that can be built with faults.
type Plugin string

// The plug-ins. Of Core, a key id fails in front of every evaluation and in
// every buffer that a host hands over; of Extism, in every input.
const (
	Core   Plugin = "core"
	Extism Plugin = "extism"
)

// edit is a change of a plug-in's exports.go, which must hold it once.
type edit struct{ from, to string }

var edits = map[Plugin][]edit{
	Core: {
		{"{ return g.evaluate(length) }", "{ fault(g.request[:length]); return g.evaluate(length) }"},
		{"return b[:length:length], i, true", "return fault(b[:length:length]), i, true"},
	},
	Extism: {
		{"g.answer(call, output[:0], input)", "g.answer(call, output[:0], fault(input))"}, // before anything recovers
	},
}

// Build builds a plug-in with faults from this repository's sources.
func Build(p Plugin) (wasm []byte, err error) {
	dir, err := os.MkdirTemp("", "keymoat-faulty")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()

	_, here, _, _ := runtime.Caller(0)
	folder := filepath.Join(filepath.Dir(here), "..", "..", "..", "plugin", string(p))
	source, err := os.ReadFile(filepath.Join(folder, "exports.go"))
	if err != nil {
		return nil, err
	}
	for _, e := range edits[p] {
		if bytes.Count(source, []byte(e.from)) != 1 {
			return nil, fmt.Errorf("plugin/%s/exports.go no longer holds %q once; package faulty has to follow", p, e.from)
		}
		source = bytes.Replace(source, []byte(e.from), []byte(e.to), 1)
	}
	edited, overlay, output := filepath.Join(dir, "exports.go"), filepath.Join(dir, "overlay.json"), filepath.Join(dir, "faulty.wasm")
	replace, err := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(folder, "exports.go"): edited,
		filepath.Join(folder, "fault.go"):   filepath.Join(filepath.Dir(here), "testdata", "fault.go"),
	}})
	if err = errors.Join(err, os.WriteFile(edited, source, 0o600), os.WriteFile(overlay, replace, 0o600)); err != nil {
		return nil, err
	}
	build := exec.Command("go", "build", "-overlay", overlay, "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", output, ".")
	build.Dir = folder
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if said, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the faulty plug-in: %w\n%s", err, said)
	}
	return os.ReadFile(output)
}
