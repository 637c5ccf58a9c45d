package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync/atomic"
	"time"

	"github.com/keymoat/keymoat/conformance"
)

// process is a testee that runs as a program of its own.
type process struct {
	command *exec.Cmd
	stdin   io.WriteCloser
	stdout  io.ReadCloser
	stderr  ends
	limit   time.Duration
	timer   *time.Timer // ends the program when an answer takes too long
	late    atomic.Bool
}

func startProcess(command []string, limit time.Duration) conformance.Start {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		p := &process{command: exec.CommandContext(ctx, command[0], command[1:]...), limit: limit}
		p.command.Stderr = &p.stderr
		p.command.WaitDelay = time.Second // a child of its own may hold stderr open
		var err error
		if p.stdin, err = p.command.StdinPipe(); err != nil {
			return nil, err
		}
		if p.stdout, err = p.command.StdoutPipe(); err != nil {
			return nil, err
		}
		if err := p.command.Start(); err != nil {
			return nil, err
		}
		p.timer = time.AfterFunc(limit, p.end)
		return p, nil
	}
}

func (p *process) end() {
	p.late.Store(true)
	_ = p.command.Process.Kill()
	_ = p.stdout.Close() // in case a child of its own holds the other end
}

func (p *process) Write(b []byte) (int, error) {
	p.timer.Reset(p.limit)
	return p.stdin.Write(b)
}

func (p *process) Read(b []byte) (int, error) { return p.stdout.Read(b) }

// Close ends the program as the protocol says, by closing its input. The
// error tells why it ended if it did not end well.
func (p *process) Close() error {
	_ = p.stdin.Close()
	p.timer.Reset(p.limit)
	_, _ = io.Copy(io.Discard, p.stdout)
	err := p.command.Wait()
	p.timer.Stop()
	switch said := p.stderr.String(); {
	case p.late.Load():
		return fmt.Errorf("it took longer than %v", p.limit)
	case err != nil && said != "":
		return fmt.Errorf("%w: %s", err, said)
	case errors.Is(err, exec.ErrWaitDelay):
		return nil
	default:
		return err
	}
}

// ends keeps the beginning and the end of what is written to it: some
// languages tell first why they give up, some last.
type ends struct {
	first, last []byte
	cut         bool // something between them is gone
}

func (e *ends) Write(b []byte) (int, error) {
	const most = 300
	n := min(most-len(e.first), len(b))
	e.first = append(e.first, b[:n]...)
	e.last = append(e.last, b[n:]...)
	if over := len(e.last) - most; over > 0 {
		e.last = append(e.last[:0], e.last[over:]...)
		e.cut = true
	}
	return len(b), nil
}

func (e *ends) String() string {
	between := ""
	if e.cut {
		between = " … "
	}
	return strings.TrimSpace(string(e.first) + between + string(e.last))
}
