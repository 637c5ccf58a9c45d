//go:build wasip1

// Command floor is the least that a filter built by Go can do for a request and
// still judge it: it asks Envoy for the headers and for the address, looks at
// neither, and lets everything pass. What it costs is Go's, V8's and Envoy's, and
// envoybench measures it beside keymoat.
package main

import "unsafe"

func main() {}

var (
	lent         [64 << 10]byte
	used         uint32
	data, length uint32
)

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(headerMap uint32, data *uint32, length *uint32) uint32

//go:wasmimport env proxy_get_property
func proxyGetProperty(path string, data *uint32, length *uint32) uint32

//go:wasmexport proxy_abi_version_0_2_1
func exportABIVersion() {}

//go:wasmexport proxy_on_memory_allocate
func exportMemoryAllocate(size uint32) unsafe.Pointer {
	if size == 0 || size > uint32(len(lent))-used {
		return unsafe.Pointer(unsafe.SliceData(make([]byte, size, size+1)))
	}
	at := used
	used += size
	return unsafe.Pointer(&lent[at])
}

//go:wasmexport proxy_on_context_create
func exportContextCreate(_, _ uint32) {}

//go:wasmexport proxy_on_configure
func exportConfigure(_, _ uint32) uint32 { return 1 }

//go:wasmexport proxy_on_request_headers
func exportRequestHeaders(_, _, _ uint32) uint32 {
	used = 0
	proxyGetHeaderMapPairs(0, &data, &length)
	proxyGetProperty("source\x00address", &data, &length)
	return 0
}
