package policy

import "runtime"

// collect ends the collection of garbage that reading a document has begun.
// Between two calls nothing runs in a guest that could, and until it is done
// each pointer that is stored takes the long way: a sixth of the time that the
// Envoy filter spends on a request went there.
func collect() { runtime.GC() }
