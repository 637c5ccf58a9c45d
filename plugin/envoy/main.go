// Command envoy is keymoat-envoy.wasm: the evaluator as a filter for Envoy and
// whatever else speaks proxy-wasm 0.2.1, built as a WASI reactor by `make
// plugin`. README.md beside it tells how to use it.
//
// It only translates: every decision is made in package policy. The filter
// itself is plain Go over the interface host and is tested natively;
// envoy_wasip1.go, built for WebAssembly alone, puts Envoy behind it.
package main

func main() {}
