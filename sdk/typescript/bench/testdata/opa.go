//go:build ignore

// Compiles the Rego policy that conformance/peers measures to WebAssembly, for
// compare.ts. Run it from conformance/peers, whose go.mod has OPA:
//
//	go run ../../sdk/typescript/bench/testdata/opa.go OUTPUT
package main

import (
	"context"
	"log"
	"os"

	"github.com/open-policy-agent/opa/v1/compile"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("opa: ")
	compiler := compile.New().
		WithTarget(compile.TargetWasm).
		WithEntrypoints("keymoat/allow").
		WithPaths("opa/policy.rego", "opa/contains.rego")
	if err := compiler.Build(context.Background()); err != nil {
		log.Fatal(err)
	}
	modules := compiler.Bundle().WasmModules
	if len(modules) != 1 {
		log.Fatalf("%d modules, not one", len(modules))
	}
	if err := os.WriteFile(os.Args[1], modules[0].Raw, 0o644); err != nil {
		log.Fatal(err)
	}
}
