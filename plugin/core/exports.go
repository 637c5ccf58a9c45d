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

// buffer returns the first length bytes of an allocated buffer, and its index.
//
//go:noinline
func buffer(ptr, length uint32) (b []byte, index int, ok bool) {
	for i, b := range buffers {
		if address(b) == ptr {
			if length > uint32(len(b)) {
				break
			}
			return b[:length:length], i, true
		}
	}
	return nil, 0, false
}

// release forgets a buffer, which then is the garbage collector's.
//
//go:noinline
func release(index int) {
	last := len(buffers) - 1
	buffers[index], buffers[last] = buffers[last], nil
	buffers = buffers[:last]
}

// invalid answers a call with a pointer or length outside the buffers.
//
//go:noinline
func invalid() uint32 {
	g.result = g.result[:0]
	return uint32(abi.StatusInvalidArgument)
}

func withBuffer(ptr, length uint32, method func(*guest, []byte) abi.Status) uint32 {
	b, _, ok := buffer(ptr, length)
	if !ok {
		return invalid()
	}
	return uint32(g.call(method, b))
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
	_, i, ok := buffer(ptr, 0)
	if !ok {
		return uint32(abi.StatusInvalidArgument)
	}
	release(i)
	return uint32(abi.StatusOK)
}

//go:wasmexport keymoat_load
func exportLoad(ptr, length uint32) uint32 {
	b, i, ok := buffer(ptr, length)
	if !ok {
		return invalid()
	}
	release(i) // it is the evaluator's now
	return uint32(g.call((*guest).load, b))
}

//go:wasmexport keymoat_compile
func exportCompile(ptr, length uint32) uint32 { return withBuffer(ptr, length, (*guest).compile) }

//go:wasmexport keymoat_validate
func exportValidate(ptr, length uint32) uint32 { return withBuffer(ptr, length, (*guest).validate) }

//go:wasmexport keymoat_request_buffer
func exportRequestBuffer() uint32 { return address(g.request[:]) }

//go:wasmexport keymoat_evaluate
func exportEvaluate(length uint32) uint64 { return g.evaluate(length) }

//go:wasmexport keymoat_evaluate_batch
func exportEvaluateBatch(ptr, length, count uint32) uint32 {
	return withBuffer(ptr, length, func(g *guest, b []byte) abi.Status { return g.evaluateBatch(b, count) })
}

//go:wasmexport keymoat_evaluate_json
func exportEvaluateJSON(ptr, length uint32) uint32 {
	return withBuffer(ptr, length, (*guest).evaluateJSON)
}

//go:wasmexport keymoat_explain
func exportExplain(ptr, length uint32) uint32 { return withBuffer(ptr, length, (*guest).explain) }

//go:wasmexport keymoat_authorize
func exportAuthorize(ptr, length uint32) uint64 {
	b, _, ok := buffer(ptr, length)
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
func exportRevision() uint32 { return uint32(g.call((*guest).revision, nil)) }

//go:wasmexport keymoat_info
func exportInfo() uint32 { return uint32(g.call((*guest).info, nil)) }
