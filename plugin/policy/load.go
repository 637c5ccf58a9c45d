//go:build !wasip1

package policy

// Reads of images and ids, for the hot path. Outside the sandbox every one is
// checked against the bounds, though verify has made sure of them; the fuzz
// tests thereby prove verify right for load_wasip1.go, which leaves the checks
// out. Offsets and values are uint64, which WebAssembly computes without
// masking.

func load8(b []byte, at uint64) uint64 { return uint64(b[at]) }

func load32(b []byte, at uint64) uint64 {
	b = b[at:]
	_ = b[3]
	return uint64(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

func load64(b []byte, at uint64) uint64 {
	b = b[at:]
	_ = b[7]
	return uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 |
		uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
}

// text is a string of a request or a document.
type text string

func (t text) size() uint64 { return uint64(len(t)) }

// word and word32 return the bytes from i on.
func (t text) word(i uint64) uint64 {
	t = t[i:]
	_ = t[7]
	return uint64(t[0]) | uint64(t[1])<<8 | uint64(t[2])<<16 | uint64(t[3])<<24 |
		uint64(t[4])<<32 | uint64(t[5])<<40 | uint64(t[6])<<48 | uint64(t[7])<<56
}

func (t text) word32(i uint64) uint64 {
	t = t[i:]
	_ = t[3]
	return uint64(uint32(t[0]) | uint32(t[1])<<8 | uint32(t[2])<<16 | uint32(t[3])<<24)
}

func (t text) String() string { return string(t) }

func textOf(s string) text { return text(s) }

// search returns the label of the segment that holds the address. The first
// segment of a family begins at its lowest address, so that one always does.
//
// The longest list takes two nodes, thus two cache lines, and no branch depends
// on its data, which nobody can predict.
func search(image []byte, list uint64, q query) (label uint64) {
	leaves := load8(image, list+nodeLeaves)
	if !q.isIPv4() {
		return searchIPv6(image, list+nodeSize*nodesOf(leaves), load8(image, list+nodeIPv6s), q)
	}
	if leaves == 0 {
		return 0
	}
	node := list
	if leaves > 1 {
		node += nodeSize * min(rank(image, list, q.lo), leaves)
	}
	return load8(image, node+nodeLabels-1+rank(image, node, q.lo))
}

// rank returns how many of a node's addresses are at or below a. A processor
// makes most of these comparisons at the same time.
func rank(image []byte, node, a uint64) uint64 {
	first := node + nodeFirst
	above := (a - load32(image, first)) >> 63
	above += (a - load32(image, first+4)) >> 63
	above += (a - load32(image, first+8)) >> 63
	above += (a - load32(image, first+12)) >> 63
	above += (a - load32(image, first+16)) >> 63
	above += (a - load32(image, first+20)) >> 63
	above += (a - load32(image, first+24)) >> 63
	above += (a - load32(image, first+28)) >> 63
	above += (a - load32(image, first+32)) >> 63
	above += (a - load32(image, first+36)) >> 63
	above += (a - load32(image, first+40)) >> 63
	above += (a - load32(image, first+44)) >> 63
	return nodeEntries - above
}
