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

func (f *findings) add(code abi.FindingCode, pointer, message string) {
	if len(f.kept) == abi.MaxFindings {
		f.more++
		return
	}
	f.kept = append(f.kept, abi.Finding{Code: code, Pointer: pointer, Message: message})
}

// addBelow adds findings whose pointers count from base.
func (f *findings) addBelow(base string, below *findings) {
	for i := range below.kept {
		f.add(below.kept[i].Code, base+below.kept[i].Pointer, below.kept[i].Message)
	}
	f.more += below.more
}

func (f *findings) none() bool { return len(f.kept) == 0 }

func (f *findings) list() []abi.Finding {
	if f.more == 0 {
		return append([]abi.Finding{}, f.kept...)
	}
	all := append([]abi.Finding{}, f.kept...)
	all[len(all)-1] = abi.Finding{Code: abi.CodeMoreFindings, Message: "and " + decimal(f.more+1) + " more that are not listed"}
	return all
}

func decimal(n int) string { return strconv.Itoa(n) }
