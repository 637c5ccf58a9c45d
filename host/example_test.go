//go:build !race

// The race detector makes compiling the plugin take thirteen seconds, and each
// example does.

package host_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
)

// policySet allows all keys of an account an office network and one VPC, and
// one key a single address.
var policySet = []byte(`{
  "Accounts": [{
    "AccountId": "1000000000000001",
    "AccessKeyPolicy": {"Status": "Active", "Statements": [
      {"Type": "ClassicWhiteList", "IPList": ["198.51.100.0/24", "2001:db8::/32"]},
      {"Type": "VPCWhiteList", "Value": "vpc-m5ekxe1zi8zwgqrtc1234", "IPList": ["192.168.0.0/16"]}]},
    "AccessKeys": [{"AccessKeyId": "LTAI5tExample0000000001", "AccessKeyPolicy": {"Status": "Active", "Statements": [
      {"Type": "ClassicWhiteList", "IPList": ["203.0.113.1"]}]}}]}]
}`)

// In examples alone: an error ends the program.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func Example() {
	ctx := context.Background()

	engine, err := host.New(ctx)
	if err != nil {
		panic(err)
	}
	defer engine.Close(ctx)
	if _, err := engine.Load(ctx, policySet); err != nil {
		panic(err) // it says what is wrong, and where
	}

	decision, err := engine.Evaluate(ctx, abi.Request{
		AccessKeyID: "LTAI5tExample0000000001",
		SourceIP:    netip.MustParseAddr("203.0.113.7"),
	})
	if err != nil || !decision.Allowed() {
		fmt.Println("refused:", decision.Reason, err)
	}
	// Output: refused: SourceIPNotListed <nil>
}

func ExampleNew() {
	ctx := context.Background()
	directory := must(os.MkdirTemp("", "keymoat"))
	defer os.RemoveAll(directory)

	engine, err := host.New(ctx,
		host.WithCompilationCache(directory), // start in milliseconds, from the second time on
		host.WithInstances(2),
		host.WithMemoryLimit(256<<20),
		host.WithLogger(slog.Default()),
	)
	if err != nil {
		panic(err)
	}
	defer engine.Close(ctx)
	fmt.Printf("%q\n", engine.Revision()) // nothing is loaded yet
	// Output: ""
}

func ExampleEngine_Load() {
	ctx := context.Background()
	engine := must(host.New(ctx))
	defer engine.Close(ctx)

	revision := must(engine.Load(ctx, policySet))
	fmt.Println(len(revision), revision == engine.Revision())

	// A document with errors is refused, and the former rules stay.
	_, err := engine.Load(ctx, []byte(`{"Status":"Enabled","Statements":[{"Type":"ClassicWhiteList","IPList":["10.0.0.300"]}]}`))
	fmt.Println(errors.Is(err, abi.StatusInvalidDocument))
	var invalid *abi.Error
	if errors.As(err, &invalid) && invalid.Report != nil {
		for _, finding := range invalid.Report.Errors {
			fmt.Println(finding.Code, finding.Pointer)
		}
	}
	fmt.Println(revision == engine.Revision())
	// Output:
	// 64 true
	// true
	// InvalidStatus /Status
	// InvalidEntry /Statements/0/IPList/0
	// true
}

func ExampleEngine_Validate() {
	ctx := context.Background()
	engine := must(host.New(ctx))
	defer engine.Close(ctx)

	report := must(engine.Validate(ctx, []byte(`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.5/24"]}]}`)))
	fmt.Println("valid:", report.Valid)
	for _, warning := range report.Warnings {
		fmt.Println(warning.Code, warning.Pointer, warning.Message)
	}
	// Output:
	// valid: true
	// HostBits /Statements/0/IPList/0 host bits are set; read as 203.0.113.0/24
}

func ExampleEngine_Evaluate() {
	ctx := context.Background()
	engine := must(host.New(ctx))
	defer engine.Close(ctx)
	must(engine.Load(ctx, policySet))

	for _, request := range []abi.Request{
		{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")},
		{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("198.51.100.7")},
		{AccessKeyID: "LTAI5tExample0000000002", SourceIP: netip.MustParseAddr("198.51.100.7")},
		{AccessKeyID: "LTAI5tExample0000000002", SourceIP: netip.MustParseAddr("192.168.1.1"), VPCID: "vpc-m5ekxe1zi8zwgqrtc1234"},
	} {
		decision, err := engine.Evaluate(ctx, request)
		if err != nil {
			panic(err) // a server refuses instead
		}
		fmt.Println(decision.Effect, decision.Reason, decision.Level, decision.Network, decision.Entry)
	}
	// Output:
	// Allow Matched AccessKey Public 203.0.113.1/32
	// Deny SourceIPNotListed AccessKey Public invalid Prefix
	// Allow Matched Account Public 198.51.100.0/24
	// Allow Matched Account VPC 192.168.0.0/16
}

func ExampleEngine_EvaluateBatch() {
	ctx := context.Background()
	engine := must(host.New(ctx))
	defer engine.Close(ctx)
	must(engine.Load(ctx, policySet))

	requests := []abi.Request{
		{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")},
		{AccessKeyID: "LTAI5tExample0000000001"}, // no address: an error, and no decision
		{AccessKeyID: "LTAI5tExample0000000002", SourceIP: netip.MustParseAddr("2001:db8::1")},
	}
	decisions := make([]abi.Decision, len(requests))
	err := engine.EvaluateBatch(ctx, requests, decisions)

	var some *abi.BatchError
	switch {
	case errors.As(err, &some): // some have no decision; all others stand
		for _, item := range some.Items {
			fmt.Printf("request %d: %v\n", item.Index, item.Status)
		}
	case err != nil: // none has
		panic(err)
	}
	for i, decision := range decisions {
		fmt.Println(i, decision.Allowed())
	}
	// Output:
	// request 1: the request has no readable SourceIp
	// 0 true
	// 1 false
	// 2 true
}

func ExampleEngine_Explain() {
	ctx := context.Background()
	engine := must(host.New(ctx))
	defer engine.Close(ctx)
	must(engine.Load(ctx, policySet))

	trace := must(engine.Explain(ctx, abi.Request{
		AccessKeyID: "LTAI5tExample0000000001",
		SourceIP:    netip.MustParseAddr("192.168.1.1"),
		VPCID:       "vpc-m5ekxe1zi8zwgqrtc1234",
	}))
	for _, step := range trace.Steps {
		fmt.Println(step.Step) // step.Answer is a sentence
	}
	fmt.Println(trace.Decision.Effect, trace.Decision.Reason)
	// Output:
	// Credential
	// Service
	// Owner
	// Policy
	// Network
	// Deny NoVPCPolicy
}

func ExampleEngine_Authorize() {
	ctx := context.Background()
	engine := must(host.New(ctx))
	defer engine.Close(ctx)
	must(engine.Load(ctx, policySet))

	decision := must(engine.Authorize(ctx, abi.HTTPRequest{
		Target: "/?Action=DescribeRegions",
		Headers: []abi.HTTPHeader{{
			Name:  "Authorization",
			Value: "ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host,Signature=00",
		}},
		SourceIP: netip.MustParseAddr("203.0.113.1"),
	}))
	fmt.Println(decision.Effect, decision.Reason)

	// Nobody gets past by naming another key in another place.
	decision = must(engine.Authorize(ctx, abi.HTTPRequest{
		Target:   "/?AccessKeyId=LTAI5tExample0000000001",
		Headers:  []abi.HTTPHeader{{Name: "Authorization", Value: "acs LTAI5tExample0000000002:c2ln"}},
		SourceIP: netip.MustParseAddr("203.0.113.1"),
	}))
	fmt.Println(decision.Effect, decision.Reason)
	// Output:
	// Allow Matched
	// Deny AmbiguousAccessKey
}

func ExampleNative() {
	ctx := context.Background()
	var evaluator host.Evaluator = host.NewNative() // for an Engine nothing else changes
	defer evaluator.Close(ctx)
	must(evaluator.Load(ctx, policySet))

	decision := must(evaluator.Evaluate(ctx, abi.Request{
		AccessKeyID: "LTAI5tExample0000000002",
		SourceIP:    netip.MustParseAddr("2001:db8::1"),
	}))
	fmt.Println(decision.Effect, decision.Entry)
	// Output: Allow 2001:db8::/32
}

// Errors unwrap to what a program can act on.
func Example_errors() {
	ctx := context.Background()
	engine := must(host.New(ctx))
	request := abi.Request{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")}

	_, err := engine.Evaluate(ctx, request)
	fmt.Println(errors.Is(err, abi.StatusNotLoaded))

	must(engine.Load(ctx, policySet))
	_, err = engine.Evaluate(ctx, abi.Request{AccessKeyID: "not a key id", SourceIP: request.SourceIP})
	var status abi.Status
	fmt.Println(errors.As(err, &status) && status == abi.StatusInvalidAccessKeyID)

	// An image that was cut off on its way.
	_, err = engine.Load(ctx, []byte("KEYMOAT\x00"))
	fmt.Println(err)

	_, err = host.New(ctx, host.WithGuest([]byte("not a module")))
	var guest *host.GuestError
	fmt.Println(errors.As(err, &guest) && guest.Problem != "")

	if err := engine.Close(ctx); err != nil {
		panic(err)
	}
	_, err = engine.Evaluate(ctx, request)
	fmt.Println(errors.Is(err, host.ErrClosed))
	// Output:
	// true
	// true
	// keymoat: not a usable policy image: it is cut off
	// true
	// true
}
