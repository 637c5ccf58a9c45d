// Testee puts the Extism plug-in, run by Go, at the other end of the conformance
// protocol:
//
//	testee keymoat-extism.wasm
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host/extismhost"
)

func main() {
	if err := serve(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "testee:", err)
		os.Exit(2)
	}
}

func serve(ctx context.Context, args []string) (err error) {
	if len(args) != 1 {
		return errors.New("usage: testee keymoat-extism.wasm")
	}
	wasm, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	evaluator, err := extismhost.New(ctx, wasm, extismhost.WithInstances(1))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, evaluator.Close(ctx)) }()
	return testee.Serve(ctx, evaluator, os.Stdin, os.Stdout)
}
