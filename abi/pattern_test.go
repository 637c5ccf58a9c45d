package abi_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func TestThePatternsAreWhatTheFunctionsAccept(t *testing.T) {
	for pattern, valid := range map[string]func(string) bool{abi.IDPattern: abi.ValidID, abi.VPCIDPattern: abi.ValidVPCID} {
		whole := regexp.MustCompile("^(?:" + pattern + ")$")
		try := func(s string) { require.Equal(t, whole.MatchString(s), valid(s), "%s on %q", pattern, s) }
		for _, prefix := range []string{"", "vpc", "vpc-", "VPC-", "avpc-"} {
			for c := range 256 {
				try(prefix + string([]byte{byte(c)}))
				try(prefix + "a" + string([]byte{byte(c)}) + "z")
			}
			for length := range 140 {
				try(prefix + strings.Repeat("a", length))
			}
		}
	}
}
