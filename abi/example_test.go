package abi_test

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/keymoat/keymoat/abi"
)

// A host writes a request to the guest's request buffer and calls
// keymoat_evaluate with its length.
func ExamplePutRequest() {
	buffer := make([]byte, abi.RequestBufferSize)
	n, status := abi.PutRequest(buffer, &abi.Request{
		AccessKeyID: "LTAI5tExample0000000001",
		SourceIP:    netip.MustParseAddr("203.0.113.1"),
	})
	fmt.Println(n, status.String())
	fmt.Printf("% x\n", buffer[:12])
	// Output:
	// 47 OK
	// 04 00 17 00 00 00 00 00 cb 00 71 01
}

// keymoat_evaluate returns a word. It says how long the entry is that matched;
// the source address says the rest.
func ExampleWord_Decision() {
	w := abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelAccessKey, abi.NetworkPublic).WithEntry(1, 24)
	fmt.Printf("%016x\n", uint64(w))
	d, status := w.Decision(netip.MustParseAddr("203.0.113.77"))
	fmt.Println(status.String(), d.Allowed(), d.Reason, d.Statement, d.Entry)

	_, status = abi.ErrorWord(abi.StatusNotLoaded).Decision(netip.MustParseAddr("203.0.113.77"))
	fmt.Println(status.String())
	// Output:
	// 01180100020c0100
	// OK true Matched 1 203.0.113.0/24
	// NotLoaded
}

func ExampleDecision_AppendJSON() {
	d := abi.Decision{Effect: abi.EffectDeny, Reason: abi.ReasonSourceIPNotListed, Level: abi.LevelAccount, Network: abi.NetworkPublic}
	fmt.Println(string(d.AppendJSON(nil)))
	// Output: {"Effect":"Deny","Reason":"SourceIPNotListed","Level":"Account","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}
}

func ExampleError() {
	var err error = &abi.Error{Status: abi.StatusInvalidSourceIP, Message: "/SourceIp: missing"}
	fmt.Println(err)
	fmt.Println(errors.Is(err, abi.StatusInvalidSourceIP))
	// Output:
	// keymoat: /SourceIp: missing
	// true
}

func ExampleShortID() {
	fmt.Println(abi.ShortID("LTAI5tExample0000000001"))
	// Output: LTAI5t…0001
}
