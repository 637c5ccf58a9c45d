//go:build !faults

package main

import "github.com/keymoat/keymoat/abi"

// injectFault does nothing except in the build that tests faults.
func injectFault([]abi.HTTPHeader) {}
