package extismhost_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/extismhost"
)

func Example() {
	wasm, err := wasm() // what make plugin puts into build/keymoat-extism.wasm
	if err != nil {
		panic(err)
	}
	policySet := []byte(`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}`)
	if err := decide(context.Background(), wasm, policySet); err != nil {
		panic(err)
	}
	// Output:
	// Allow Matched 203.0.113.0/24
}

func decide(ctx context.Context, wasm, policySet []byte) error {
	evaluator, err := extismhost.New(ctx, wasm)
	if err != nil {
		return err
	}
	defer evaluator.Close(ctx)
	if _, err := evaluator.Load(ctx, policySet); err != nil {
		return err
	}
	decision, err := evaluator.Evaluate(ctx, abi.Request{
		AccessKeyID: "LTAI5tExample0000000001",
		SourceIP:    netip.MustParseAddr("203.0.113.7"),
	})
	if err != nil {
		return err
	}
	fmt.Println(decision.Effect, decision.Reason, decision.Entry)
	return nil
}
