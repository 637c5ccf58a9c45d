//go:build faults

package main

// injectFault fails as a header asks: by a panic, or by a deadlock, which the
// Go runtime ends in a trap that nothing can recover from. Only the test of
// faults on real Envoy builds this.
func injectFault(headers []byte) {
	switch kind := headerNamed(headers, "x-keymoat-fault"); kind {
	case "panic":
		var none []int
		_ = none[len(kind)]
	case "trap":
		select {}
	}
}
