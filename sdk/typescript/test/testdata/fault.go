//go:build wasip1

// The tests build plugin/core with this file and with calls of it: a guest
// that decides as the plugin does, and fails for certain key ids.
package main

import (
	"bytes"
	"syscall"
)

// fault fails in the way that b names, if it names one, and returns b.
func fault(b []byte) []byte {
	_, what, found := bytes.Cut(b, []byte("LTAI5tExampleFault"))
	switch {
	case !found:
	case bytes.HasPrefix(what, []byte("Panic")):
		panic("on purpose")
	case bytes.HasPrefix(what, []byte("Exit")):
		syscall.Exit(7)
	case bytes.HasPrefix(what, []byte("Stack")):
		depth(0)
	case bytes.HasPrefix(what, []byte("Loop")):
		for turns = 0; ; turns++ {
		}
	case bytes.HasPrefix(what, []byte("Hoard")):
		hoard = append(hoard, make([]byte, 48<<20))
	}
	return b
}

var (
	hoard [][]byte
	turns int
)

//go:noinline
func depth(n int) int { return depth(n+1) + 1 }
