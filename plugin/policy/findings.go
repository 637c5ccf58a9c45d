package policy

import (
	"strconv"

	"github.com/keymoat/keymoat/abi"
)

// findings collects what a reader finds, in the order of the document, and
// stops keeping it at abi.MaxFindings so that a hostile document cannot fill
// the memory.
type findings struct {
	kept []abi.Finding
	more int
}

func (f *findings) full() bool { return len(f.kept) == abi.MaxFindings }

// add is out of line to keep the guest small.
//
//go:noinline
func (f *findings) add(code abi.FindingCode, pointer, message string) {
	if f.full() {
		f.more++
		return
	}
	f.kept = append(f.kept, abi.Finding{Code: code, Pointer: pointer, Message: message})
}

// addBelow adds findings whose pointers count from base. Once f is full only
// the number of those below matters, so they are let go.
func (f *findings) addBelow(base string, below *findings) {
	for i := range below.kept {
		f.add(below.kept[i].Code, base+below.kept[i].Pointer, below.kept[i].Message)
	}
	f.more += below.more
	if f.full() {
		below.kept, below.more = nil, len(below.kept)+below.more
	}
}

func (f *findings) none() bool { return len(f.kept)+f.more == 0 }

func (f *findings) list() []abi.Finding {
	if f.kept == nil {
		return []abi.Finding{} // which JSON has as [], not null
	}
	if f.more > 0 {
		f.kept[len(f.kept)-1] = abi.Finding{Code: abi.CodeMoreFindings, Message: "and " + decimal(f.more+1) + " more that are not listed"}
	}
	return f.kept
}

//go:noinline
func decimal(n int) string { return strconv.Itoa(n) }
