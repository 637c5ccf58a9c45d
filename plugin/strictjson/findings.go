package strictjson

import (
	"strconv"

	"github.com/keymoat/keymoat/abi"
)

// Findings collects what a Reader finds, in the order in which that is noticed:
// what is wrong with a whole comes after what is wrong within. It stops keeping
// it at abi.MaxFindings so that a hostile document cannot fill
// the memory.
type Findings struct {
	kept []abi.Finding
	more int
}

// Full reports whether no more are kept: then only their number matters.
func (f *Findings) Full() bool { return len(f.kept) == abi.MaxFindings }

// Add adds a finding. It is out of line to keep the guest small.
//
//go:noinline
func (f *Findings) Add(code abi.FindingCode, pointer, message string) {
	if f.Full() {
		f.more++
		return
	}
	f.kept = append(f.kept, abi.Finding{Code: code, Pointer: pointer, Message: message})
}

// Count adds to the number of those that are not kept.
func (f *Findings) Count(more int) { f.more += more }

// AddBelow adds findings whose pointers count from base. Once f is full only
// the number of those below matters, so they are let go.
func (f *Findings) AddBelow(base string, below *Findings) {
	for i := range below.kept {
		f.Add(below.kept[i].Code, base+below.kept[i].Pointer, below.kept[i].Message)
	}
	f.more += below.more
	if f.Full() {
		below.kept, below.more = nil, len(below.kept)+below.more
	}
}

// None reports whether there are no findings.
func (f *Findings) None() bool { return len(f.kept)+f.more == 0 }

// First returns the first finding; there must be one.
func (f *Findings) First() abi.Finding { return f.kept[0] }

// List returns what was kept, and last how many more there are.
func (f *Findings) List() []abi.Finding {
	if f.kept == nil {
		return []abi.Finding{} // which JSON has as [], not null
	}
	if f.more > 0 {
		f.kept[len(f.kept)-1] = abi.Finding{Code: abi.CodeMoreFindings, Message: "and " + strconv.Itoa(f.more+1) + " more that are not listed"}
	}
	return f.kept
}
