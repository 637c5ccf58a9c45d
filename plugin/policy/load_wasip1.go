package policy

import "unsafe"

// Reads of verified images, and of ids within their length, without checks. On
// WebAssembly each check costs as much as the read, what verify lets pass
// cannot lead outside, and the sandbox is the second wall.

func load8(b []byte, at uint64) uint64  { return uint64(*(*uint8)(pointer(b, at))) }
func load32(b []byte, at uint64) uint64 { return uint64(*(*uint32)(pointer(b, at))) }
func load64(b []byte, at uint64) uint64 { return *(*uint64)(pointer(b, at)) }

func pointer(b []byte, at uint64) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), at)
}

// text is a string of a request or a document. A string of its own kind spares
// the check that unsafe.String makes each time.
type text struct {
	data   unsafe.Pointer
	length uint64
}

func (t text) size() uint64 { return t.length }

// word and word32 return the bytes from i on.
func (t text) word(i uint64) uint64   { return *(*uint64)(unsafe.Add(t.data, i)) }
func (t text) word32(i uint64) uint64 { return uint64(*(*uint32)(unsafe.Add(t.data, i))) }

func (t text) String() string { return unsafe.String((*byte)(t.data), t.length) }

func textOf(s string) text { return text{unsafe.Pointer(unsafe.StringData(s)), uint64(len(s))} }

// search returns the label of the segment that holds the address; see load.go.
// The runtimes' compilers make one step of each instruction, so the fewest are
// best: a node is searched by halves, and without a branch.
func search(image []byte, list uint64, q query) (label uint64) {
	leaves := load8(image, list+nodeLeaves)
	if !q.isIPv4() {
		return searchIPv6(image, list+nodeSize*nodesOf(leaves), load8(image, list+nodeIPv6s), q)
	}
	node, a := list, q.lo
	for left := leaves; left > 0; left = 1 {
		first := node + nodeFirst
		at := above(image, first+24, a, 24)
		at += above(image, first+at+12, a, 12)
		at += above(image, first+at+4, a, 4)
		at += above(image, first+at+4, a, 4)
		if left == 1 {
			return load8(image, node+nodeLabels+at>>2)
		}
		node += nodeSize * min(at>>2+1, leaves)
	}
	return 0
}

// above returns step if the address at an offset is at or below a, else 0.
func above(image []byte, at, a, step uint64) uint64 {
	return step &^ uint64(int64(a-load32(image, at))>>63)
}
