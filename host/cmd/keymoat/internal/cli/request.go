package cli

import (
	"github.com/spf13/cobra"

	"github.com/keymoat/keymoat/abi"
)

// requestFlags are the flags that spell one request.
type requestFlags struct {
	accessKeyID, sourceIP, vpcID, accountID, service, action, protocol string
}

var requestFlagNames = []string{"access-key-id", "source-ip", "vpc-id", "account-id", "service", "action", "protocol"}

func (f *requestFlags) fields() []*string {
	return []*string{&f.accessKeyID, &f.sourceIP, &f.vpcID, &f.accountID, &f.service, &f.action, &f.protocol}
}

func addRequest(cmd *cobra.Command, f *requestFlags) {
	usage := []string{
		"id of the AccessKey that the call is made with",
		"address that the call comes from, IPv4 or IPv6",
		"VPC that the call comes from; a call without one is public",
		"account that the call is made for",
		"service that is called, such as Oss",
		"operation that is called, such as PutObject",
		"protocol of the call, such as HTTP",
	}
	for i, field := range f.fields() {
		cmd.Flags().StringVar(field, requestFlagNames[i], "", usage[i])
	}
	for _, name := range requestFlagNames {
		_ = cmd.RegisterFlagCompletionFunc(name, cobra.NoFileCompletions)
	}
}

// givenRequestFlag returns the name of the first of these flags that the call has, or "".
func givenRequestFlag(cmd *cobra.Command) string {
	for _, name := range requestFlagNames {
		if cmd.Flags().Changed(name) {
			return name
		}
	}
	return ""
}

// request checks the flags and returns the request. An empty VPC means a public
// call and an empty account any; whoever gives the flag means neither, but has
// a variable that is not set.
func (f *requestFlags) request(cmd *cobra.Command) (abi.Request, error) {
	for i, field := range f.fields() {
		if name := requestFlagNames[i]; *field == "" && cmd.Flags().Changed(name) {
			return abi.Request{}, misuse(cmd, "--%s is empty; give it a value or leave it out", name)
		}
	}
	switch {
	case f.accessKeyID == "":
		return abi.Request{}, misuse(cmd, "--access-key-id is missing")
	case !abi.ValidID(f.accessKeyID):
		return abi.Request{}, misuse(cmd, "--access-key-id %s is no AccessKey id: 1 to %d letters, digits and . _ = -", abi.ShortID(f.accessKeyID), abi.MaxAccessKeyID)
	case f.sourceIP == "":
		return abi.Request{}, misuse(cmd, "--source-ip is missing")
	}
	ip := abi.ParseSource(f.sourceIP)
	if !ip.IsValid() {
		return abi.Request{}, misuse(cmd, "--source-ip %q is not one IPv4 or IPv6 address without port or zone", f.sourceIP)
	}
	for i, field := range f.fields()[2:] {
		if len(*field) > abi.MaxField {
			return abi.Request{}, misuse(cmd, "--%s is longer than %d bytes", requestFlagNames[i+2], abi.MaxField)
		}
	}
	return abi.Request{
		AccessKeyID: f.accessKeyID, SourceIP: ip, VPCID: f.vpcID, AccountID: f.accountID,
		Service: f.service, Action: f.action, Protocol: f.protocol,
	}, nil
}
