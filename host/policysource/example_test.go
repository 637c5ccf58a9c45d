package policysource_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/policysource"
)

func Example() {
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.DiscardHandler)) // changes are logged
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// Loaded: 203.0.113.1 is allowed: true
	// Refused: 203.0.113.1 is allowed: true
	// Loaded: 203.0.113.1 is allowed: false
}

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "policysource")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "policies.json")
	put := func(entry string) error {
		document := `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["` + entry + `"]}]}`
		if err := os.WriteFile(path+".new", []byte(document), 0o600); err != nil {
			return err
		}
		return os.Rename(path+".new", path)
	}
	if err := put("203.0.113.0/24"); err != nil {
		return err
	}
	location := "file://" + filepath.ToSlash(path)
	changes := make(chan policysource.Change, 3)

	evaluator := host.NewNative()
	source, err := policysource.Open(ctx, evaluator, location,
		policysource.OnChange(func(c policysource.Change) { changes <- c }),
	)
	if err != nil {
		return err
	}
	defer source.Close()

	for _, next := range []string{"everywhere", "198.51.100.0/24", ""} {
		change := <-changes
		d, err := evaluator.Evaluate(ctx, abi.Request{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")})
		if err != nil {
			return err
		}
		fmt.Printf("%s: 203.0.113.1 is allowed: %t\n", change.Outcome, d.Allowed())
		if next != "" {
			if err := put(next); err != nil {
				return err
			}
		}
	}
	return nil
}
