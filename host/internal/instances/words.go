package instances

import "strings"

// LastWords keeps the first line that a guest writes to its standard error.
// Nothing but its runtime writes there, before it traps: why it has to.
type LastWords struct {
	line []byte
	full bool
}

// Write implements io.Writer.
func (w *LastWords) Write(b []byte) (int, error) {
	const most = 200
	for _, c := range b {
		w.full = w.full || c == '\n' || len(w.line) == most
		if !w.full {
			w.line = append(w.line, c)
		}
	}
	return len(b), nil
}

func (w *LastWords) String() string { return string(w.line) }

// OutOfMemory reports whether the guest ended for want of memory.
func (w *LastWords) OutOfMemory() bool { return strings.Contains(w.String(), "out of memory") }
