package host

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestMemoryGrowsWithoutMovingAndIsZero(t *testing.T) {
	const most = 64 << 20
	m := reserve(0, most)
	defer m.Free()
	first := m.Reallocate(1 << 16)
	require.Len(t, first, 1<<16)
	first[0] = 1
	whole := m.Reallocate(most)
	require.Len(t, whole, most)
	require.Same(t, unsafe.SliceData(first), unsafe.SliceData(whole))
	require.Equal(t, byte(1), whole[0])
	require.Zero(t, whole[most-1])
	require.Nil(t, m.Reallocate(most+1), "not beyond the limit")
}

func TestMemoryThatTheSystemDoesNotReserveComesFromTheHeap(t *testing.T) {
	const tooMuch = 1 << 62 // no address space has it
	m := reserve(0, tooMuch)
	defer m.Free()
	require.IsType(t, new(heapMemory), m)
	b := m.Reallocate(1 << 16)
	b[7] = 7
	b = m.Reallocate(3 << 16)
	require.Len(t, b, 3<<16)
	require.Equal(t, byte(7), b[7])
	require.Zero(t, b[len(b)-1])
}

// An engine that nobody closed gives its memory back when it is collected.
func TestMemoryThatNobodyFreesIsGivenBack(t *testing.T) {
	address := func() uintptr {
		b := reserve(0, 1<<30).Reallocate(1 << 16)
		return uintptr(unsafe.Pointer(unsafe.SliceData(b)))
	}()
	require.True(t, isMapped(t, address))
	for isMapped(t, address) {
		runtime.GC()
	}
}

// isMapped asks the system whether an address belongs to this process.
func isMapped(t *testing.T, address uintptr) bool {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		_, err := fmt.Sscanf(line, "%x-%x", &from, &to)
		require.NoError(t, err)
		if from <= address && address < to {
			return true
		}
	}
	return false
}
