package host

import (
	"context"
	"runtime"
	"syscall"
	"unsafe"

	"github.com/tetratelabs/wazero/experimental"
)

// withMemory lets the instances that are started with the context have their
// memory from the system rather than from Go's heap. All that an instance may
// grow to is reserved, and made usable as it grows, so that growing never moves
// the memory; and it comes in huge pages, which an image of many megabytes
// needs: without them, most of what a lookup takes is translating addresses.
func withMemory(ctx context.Context) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(reserve))
}

// reservation is the memory of one instance.
type reservation struct {
	mapped  []byte // as the system gave it
	usable  []byte // from the first boundary of a huge page on
	cleanup runtime.Cleanup
}

func reserve(_, most uint64) experimental.LinearMemory {
	const hugePage = 2 << 20
	mapped, err := syscall.Mmap(-1, 0, int(most+hugePage), syscall.PROT_NONE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil { // address space is scarce on 32 bits, or limited
		return new(heapMemory)
	}
	past := uintptr(unsafe.Pointer(unsafe.SliceData(mapped))) % hugePage
	m := &reservation{mapped: mapped, usable: mapped[hugePage-past:][:most]}
	_ = syscall.Madvise(m.usable, syscall.MADV_HUGEPAGE) // where there are none, small ones do
	m.cleanup = runtime.AddCleanup(m, unmap, mapped)     // of an engine that nobody closed
	return m
}

func unmap(mapped []byte) { _ = syscall.Munmap(mapped) }

// Reallocate implements experimental.LinearMemory. Memory never shrinks.
func (m *reservation) Reallocate(size uint64) []byte {
	if size > uint64(len(m.usable)) || syscall.Mprotect(m.usable[:size], syscall.PROT_READ|syscall.PROT_WRITE) != nil {
		return nil
	}
	return m.usable[:size]
}

// Free implements experimental.LinearMemory.
func (m *reservation) Free() {
	m.cleanup.Stop()
	unmap(m.mapped)
}

// heapMemory is memory from Go's heap.
type heapMemory struct{ bytes []byte }

// Reallocate implements experimental.LinearMemory.
func (m *heapMemory) Reallocate(size uint64) []byte {
	m.bytes = append(m.bytes, make([]byte, size-uint64(len(m.bytes)))...)
	return m.bytes
}

// Free implements experimental.LinearMemory.
func (m *heapMemory) Free() {}
