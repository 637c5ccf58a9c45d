//go:build wasip1

package main

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
)

var (
	g guest
	// buffers are those that the host allocated. Holding them here keeps them
	// from the garbage collector, and lets no call read elsewhere. A host has
	// few at a time, so a search beats a map.
	buffers [][]byte
)

func address(b []byte) uint32 { return uint32(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) }

// buffer returns the first length bytes of an allocated buffer.
func buffer(ptr, length uint32) ([]byte, bool) {
	if i := find(ptr); i >= 0 && length <= uint32(len(buffers[i])) {
		return buffers[i][:length:length], true
	}
	return nil, false
}

func find(ptr uint32) int {
	for i := range buffers {
		if address(buffers[i]) == ptr {
			return i
		}
	}
	return -1
}

func release(ptr uint32) bool {
	i := find(ptr)
	if i < 0 {
		return false
	}
	last := len(buffers) - 1
	buffers[i], buffers[last] = buffers[last], nil
	buffers = buffers[:last]
	return true
}

func withBuffer(ptr, length uint32, call func([]byte) abi.Status) uint32 {
	b, ok := buffer(ptr, length)
	if !ok {
		g.result = g.result[:0]
		return uint32(abi.StatusInvalidArgument)
	}
	return uint32(call(b))
}

//go:wasmexport keymoat_abi_version
func exportABIVersion() uint32 { return abi.Version }

//go:wasmexport keymoat_alloc
func exportAlloc(size uint32) (ptr uint32) {
	defer func() {
		if recover() != nil {
			ptr = 0
		}
	}()
	// Never empty, so that each buffer has an address of its own.
	b := make([]byte, size, max(uint64(size), 8))
	buffers = append(buffers, b)
	return address(b)
}

//go:wasmexport keymoat_free
func exportFree(ptr uint32) uint32 {
	if !release(ptr) {
		return uint32(abi.StatusInvalidArgument)
	}
	return uint32(abi.StatusOK)
}

//go:wasmexport keymoat_load
func exportLoad(ptr, length uint32) uint32 {
	b, ok := buffer(ptr, length)
	if !ok {
		g.result = g.result[:0]
		return uint32(abi.StatusInvalidArgument)
	}
	release(ptr) // it is the evaluator's now
	return uint32(g.load(b))
}

//go:wasmexport keymoat_compile
func exportCompile(ptr, length uint32) uint32 { return withBuffer(ptr, length, g.compile) }

//go:wasmexport keymoat_validate
func exportValidate(ptr, length uint32) uint32 { return withBuffer(ptr, length, g.validate) }

//go:wasmexport keymoat_request_buffer
func exportRequestBuffer() uint32 { return address(g.request[:]) }

//go:wasmexport keymoat_evaluate
func exportEvaluate(length uint32) uint64 { return g.evaluate(length) }

//go:wasmexport keymoat_evaluate_batch
func exportEvaluateBatch(ptr, length, count uint32) uint32 {
	b, ok := buffer(ptr, length)
	if !ok {
		g.result = g.result[:0]
		return uint32(abi.StatusInvalidArgument)
	}
	return uint32(g.evaluateBatch(b, count))
}

//go:wasmexport keymoat_evaluate_json
func exportEvaluateJSON(ptr, length uint32) uint32 { return withBuffer(ptr, length, g.evaluateJSON) }

//go:wasmexport keymoat_explain
func exportExplain(ptr, length uint32) uint32 { return withBuffer(ptr, length, g.explain) }

//go:wasmexport keymoat_authorize
func exportAuthorize(ptr, length uint32) uint64 {
	b, ok := buffer(ptr, length)
	if !ok {
		g.result = g.result[:0]
		return uint64(abi.ErrorWord(abi.StatusInvalidArgument))
	}
	return g.authorize(b)
}

//go:wasmexport keymoat_result
func exportResult() uint64 {
	if len(g.result) == 0 {
		return 0
	}
	return uint64(address(g.result))<<32 | uint64(len(g.result))
}

//go:wasmexport keymoat_revision
func exportRevision() uint32 { return uint32(g.revision()) }

//go:wasmexport keymoat_info
func exportInfo() uint32 { return uint32(g.info()) }
