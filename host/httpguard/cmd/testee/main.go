// Testee puts httpguard at the other end of the conformance protocol:
//
//	testee -engine native|wasm
//
// Each question becomes an HTTP request to a server on loopback: the source
// address and the VPC id travel in a PROXY protocol header, the key id as a
// client would claim it. The answer is what the record of that request says,
// held against what the caller saw.
//
// not-expressible.json names the cases that cannot be put this way, and why.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"

	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host"
)

func main() {
	engine := flag.String("engine", "native", "`native`, the package compiled in, or wasm, the plugin in its sandbox")
	flag.Parse()
	if err := serve(context.Background(), *engine, os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "testee:", err)
		os.Exit(2)
	}
}

func serve(ctx context.Context, engine string, in io.Reader, out io.Writer) error {
	evaluator, err := open(ctx, engine)
	if err != nil {
		return err
	}
	guarded := newGuarded(evaluator)
	defer guarded.Close(ctx)
	return testee.Serve(ctx, guarded, in, out)
}

func open(ctx context.Context, engine string) (host.Evaluator, error) {
	switch engine {
	case "native":
		return host.NewNative(), nil
	case "wasm":
		return host.New(ctx)
	}
	return nil, fmt.Errorf("unknown engine %q: it is native or wasm", engine)
}
