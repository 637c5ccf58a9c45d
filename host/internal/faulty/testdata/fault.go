//go:build wasip1

package main

import (
	"bytes"
	"syscall"
)

// fault fails in the way that a key id in b names, if there is one, and returns b.
func fault(b []byte) []byte {
	_, what, found := bytes.Cut(b, []byte("LTAI5tExampleFault"))
	switch {
	case !found:
	case bytes.HasPrefix(what, []byte("Panic")):
		panic("on purpose")
	case bytes.HasPrefix(what, []byte("Index")):
		_ = b[len(b)]
	case bytes.HasPrefix(what, []byte("Memory")):
		for {
			hoard = append(hoard, make([]byte, 1<<20))
		}
	case bytes.HasPrefix(what, []byte("Hoard")):
		hoard = append(hoard, make([]byte, 48<<20))
	case bytes.HasPrefix(what, []byte("Stack")):
		depth(0)
	case bytes.HasPrefix(what, []byte("Deadlock")):
		select {}
	case bytes.HasPrefix(what, []byte("Exit")):
		syscall.Exit(0) // with what claims success
	case bytes.HasPrefix(what, []byte("Loop")):
		for {
			rounds++
		}
	}
	return b
}

var (
	hoard  [][]byte
	rounds int
)

//go:noinline
func depth(n int) int { return depth(n+1) + 1 }
