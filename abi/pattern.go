package abi

// Patterns of ids, as regular expressions of a whole text, for the schemas and
// the SDKs: what ValidID and ValidVPCID accept.
const (
	IDPattern    = "[0-9A-Za-z._=-]{1,128}"
	VPCIDPattern = "vpc-[0-9a-z]{1,64}"
)
