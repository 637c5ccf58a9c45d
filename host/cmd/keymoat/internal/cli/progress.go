package cli

import (
	"fmt"
	"time"
)

const clearLine = "\r\x1b[K"

// progress shows on a terminal how far a long evaluation has come. It stays
// silent where the answers themselves go to the terminal.
type progress struct {
	c     *Console
	total int64 // bytes of input, 0 if unknown
	next  time.Time
	shown bool
}

func (p *progress) show(requests int, read int64) {
	if !p.c.ErrTerminal || p.c.OutTerminal {
		return
	}
	const pause = 200 * time.Millisecond
	now := time.Now()
	if p.next.IsZero() {
		p.next = now.Add(pause) // short work needs no progress
	}
	if now.Before(p.next) {
		return
	}
	p.next, p.shown = now.Add(pause), true
	text := counted(requests, "request", "requests")
	if p.total > 0 {
		text += fmt.Sprintf(", %d%%", min(100, 100*read/p.total))
	}
	fmt.Fprint(p.c.Err, clearLine, text)
}

func (p *progress) clear() {
	if p.shown {
		fmt.Fprint(p.c.Err, clearLine)
	}
}

// stage tells what a long step is about and returns what ends it.
func (c *Console) stage(size int, what string) (done func()) {
	const long = 8 << 20
	if !c.ErrTerminal || size < long {
		return func() {}
	}
	fmt.Fprintf(c.Err, "%s (%d MiB) …", what, size>>20)
	return func() { fmt.Fprint(c.Err, clearLine) }
}
