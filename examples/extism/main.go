// Extism asks the plug-in as a program in any language would, with nothing but
// an Extism SDK:
//
//	go run . keymoat-extism.wasm
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	extism "github.com/extism/go-sdk"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: extism keymoat-extism.wasm")
		os.Exit(2)
	}
	if err := run(context.Background(), os.Args[1], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "extism:", err)
		os.Exit(1)
	}
}

// rules let the account's keys be used from one office.
const rules = `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}`

func run(ctx context.Context, file string, out io.Writer) (err error) {
	plugin, err := extism.NewPlugin(ctx, extism.Manifest{
		Wasm:   []extism.Wasm{extism.WasmFile{Path: file}},
		Memory: &extism.ManifestMemory{MaxPages: 1024}, // 64 MiB
		Config: map[string]string{"policy_set": rules},
	}, extism.PluginConfig{EnableWasi: true}, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, plugin.Close(ctx)) }()

	for _, call := range []struct{ function, input string }{
		{"evaluate", `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.7"}`},
		{"evaluate", `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"198.51.100.7"}`},
		{"authorize", `{"Target":"/?Action=DescribeRegions&AccessKeyId=LTAI5tExample0000000001","SourceIp":"203.0.113.7"}`},
		{"evaluate", `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.777"}`},
	} {
		_, answer, err := plugin.Call(call.function, []byte(call.input))
		if err != nil { // never permission: refuse the call
			answer = []byte("refused: " + err.Error())
		}
		fmt.Fprintf(out, "%s %s\n  %s\n", call.function, call.input, answer)
	}
	return nil
}
