package denial_test

import (
	"fmt"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/denial"
)

func ExampleFormat_Append() {
	d := denial.Denial{Reason: abi.ReasonSourceIPNotListed, SourceIP: "203.0.113.9", RequestID: "8906582E-0001"}
	body := denial.JSON.Append(nil, &d)
	fmt.Printf("%d %s\n%s", denial.JSON.Status(), denial.JSON.ContentType(), body)
	// Output:
	// 403 application/json
	// {"Code":"InvalidAccessKeyId.AccessPolicyDenied","Message":"Specified access key denied due to access policy. The source address is 203.0.113.9.","SourceIp":"203.0.113.9","RequestId":"8906582E-0001"}
}
