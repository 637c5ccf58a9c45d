//go:build !faults

package main

// injectFault does nothing except in the build that tests faults.
func injectFault([]byte) {}
