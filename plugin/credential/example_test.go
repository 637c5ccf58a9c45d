package credential_test

import (
	"fmt"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

func ExampleFind() {
	claim, outcome := credential.Find("/?RegionId=cn-hangzhou", []abi.HTTPHeader{
		{Name: "Host", Value: "ecs.aliyuncs.com"},
		{Name: "Authorization", Value: "ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host,Signature=0655"},
	})
	fmt.Println(outcome, abi.ShortID(claim.AccessKeyID), claim.Scheme, claim.Place)
	// Output: One LTAI5t…0001 ACS3 header authorization
}

// A caller names one key in the query and signs with another.
func ExampleFind_ambiguous() {
	claim, outcome := credential.Find("/?AccessKeyId=LTAI5tExample0000000001", []abi.HTTPHeader{
		{Name: "Authorization", Value: "acs LTAI5tExample0000000002:c2lnbmF0dXJl"},
	})
	fmt.Printf("%s %q\n", outcome, claim.AccessKeyID)
	// Output: Ambiguous ""
}

func ExampleFinder() {
	var f credential.Finder
	f.Target("/o?x-oss-credential=LTAI5tExample0000000001%2F20261203%2Fcn-hangzhou%2Foss%2Faliyun_v4_request")
	f.Header("user-agent", "curl/8.5.0")
	claim, outcome := f.Result()
	switch outcome {
	case credential.One:
		fmt.Println("judge", abi.ShortID(claim.AccessKeyID), "found in", claim.Place)
	case credential.None:
		fmt.Println("no key id")
	default:
		fmt.Println("refuse:", outcome)
	}
	// Output: judge LTAI5t…0001 found in query x-oss-credential
}
