// Command keymoat validates and compiles AccessKey network access policies,
// and tells what they decide and why.
package main

import (
	"context"
	"os"

	"github.com/keymoat/keymoat/host/cmd/keymoat/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), cli.System(), os.Args[1:]))
}
