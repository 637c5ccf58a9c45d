// Command cmd writes keymoat.wasm with faults in it, for tests in other
// languages: go run ./host/internal/faulty/cmd OUTPUT
package main

import (
	"fmt"
	"os"

	"github.com/keymoat/keymoat/host/internal/faulty"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "faulty: name the file to write")
		os.Exit(2)
	}
	wasm, err := faulty.Build(faulty.Core)
	if err == nil {
		err = os.WriteFile(os.Args[1], wasm, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "faulty:", err)
		os.Exit(1)
	}
}
