package host_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
)

const policySet = `{"Accounts": [{
	"AccountId": "1000000000000001",
	"AccessKeyPolicy": {"Status": "Active", "Statements": [
		{"Type": "ClassicWhiteList", "IPList": ["203.0.113.1", "198.51.100.0/24"]},
		{"Type": "VPCWhiteList", "Value": "vpc-m5ekxe1zi8zwgqrtc1234", "IPList": ["192.168.0.0/16"]}]}}]}`

func Example() {
	ctx := context.Background()
	engine, err := host.New(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close(ctx)
	if _, err := engine.Load(ctx, []byte(policySet)); err != nil {
		fmt.Println(err) // says what is wrong, and where
		return
	}
	for _, from := range []string{"198.51.100.7", "192.0.2.1"} {
		decision, err := engine.Evaluate(ctx, abi.Request{
			AccessKeyID: "LTAI5tExample0000000001",
			SourceIP:    netip.MustParseAddr(from),
		})
		if err != nil || !decision.Allowed() {
			fmt.Println(from, "refused:", decision.Reason, err)
			continue
		}
		fmt.Println(from, "allowed by", decision.Entry)
	}
	// Output:
	// 198.51.100.7 allowed by 198.51.100.0/24
	// 192.0.2.1 refused: SourceIPNotListed <nil>
}

func ExampleEngine_Explain() {
	ctx := context.Background()
	engine, err := host.New(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer engine.Close(ctx)
	if _, err := engine.Load(ctx, []byte(policySet)); err != nil {
		fmt.Println(err)
		return
	}
	trace, err := engine.Explain(ctx, abi.Request{
		AccessKeyID: "LTAI5tExample0000000001",
		SourceIP:    netip.MustParseAddr("10.0.0.1"),
		VPCID:       "vpc-bp1234567890abcdef",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, step := range trace.Steps {
		fmt.Printf("%s: %s\n", step.Step, step.Answer)
	}
	// Output:
	// Credential: The id has the form of a permanent AccessKey.
	// Service: The request names no service, so none is exempt.
	// Owner: The key is not listed; it belongs to the only account there is.
	// Policy: The key has no policy of its own; the account's policy is Active and decides.
	// Network: The call comes from "vpc-bp1234567890abcdef", which no VPC statement is about.
}

func ExampleNative_EvaluateBatch() {
	ctx := context.Background()
	native := host.NewNative()
	if _, err := native.Load(ctx, []byte(policySet)); err != nil {
		fmt.Println(err)
		return
	}
	requests := []abi.Request{
		{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")},
		{AccessKeyID: "LTAI5tExample0000000001"}, // no address
	}
	decisions := make([]abi.Decision, len(requests))
	err := native.EvaluateBatch(ctx, requests, decisions)
	fmt.Println(decisions[0].Effect, decisions[1].Effect)
	fmt.Println(err)
	// Output:
	// Allow Deny
	// keymoat: request 1 of the batch: the request has no readable SourceIp
}

func ExampleNative_Authorize() {
	ctx := context.Background()
	native := host.NewNative()
	if _, err := native.Load(ctx, []byte(policySet)); err != nil {
		fmt.Println(err)
		return
	}
	decision, err := native.Authorize(ctx, abi.HTTPRequest{
		Target:   "/?Action=DescribeRegions",
		Headers:  []abi.HTTPHeader{{Name: "Authorization", Value: "acs LTAI5tExample0000000001:c2lnbmF0dXJl"}},
		SourceIP: netip.MustParseAddr("203.0.113.1"),
	})
	fmt.Println(decision.Effect, decision.Reason, err)
	// Output: Allow Matched <nil>
}

func ExampleNative_Load_errors() {
	ctx := context.Background()
	native := host.NewNative()
	_, err := native.Load(ctx, []byte(`{"Accounts": [{"AccountId": "1000000000000001", "AccessKeys": [{"AccessKeyID": "a"}]}]}`))
	var invalid *abi.Error
	if errors.Is(err, abi.StatusInvalidDocument) && errors.As(err, &invalid) {
		for _, finding := range invalid.Report.Errors {
			fmt.Println(finding.Code, finding.Pointer)
		}
	}
	_, err = native.Evaluate(ctx, abi.Request{AccessKeyID: "a", SourceIP: netip.MustParseAddr("203.0.113.1")})
	fmt.Println(errors.Is(err, abi.StatusNotLoaded))
	// Output:
	// UnknownField /Accounts/0/AccessKeys/0/AccessKeyID
	// MissingField /Accounts/0/AccessKeys/0
	// true
}
