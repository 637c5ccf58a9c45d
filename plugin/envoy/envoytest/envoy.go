// Package envoytest runs real Envoys with the filter of plugin/envoy: for its
// tests, and for the example, the benchmark and the conformance testee, which
// need the same. Everything listens on loopback, on ports that the kernel
// chooses.
package envoytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Version is the release of Envoy that the filter is tested with.
const Version = "1.40.0"

// ErrNotInstalled is the error of Binary where there is no Envoy.
var ErrNotInstalled = errors.New("envoytest: Envoy is not installed; `make build/venv/.envoy` installs it, and `make example-envoy` runs an example with it, too")

// Binary returns the path of the Envoy in build/venv, where the Makefile
// installs it.
func Binary() (string, error) {
	root, err := Root()
	if err != nil {
		return "", err
	}
	found, err := filepath.Glob(filepath.Join(root, "build/venv/lib/python3*/site-packages/envoy/_bin/envoy"))
	if err != nil || len(found) == 0 {
		return "", ErrNotInstalled
	}
	return found[0], nil
}

// Require is Binary for tests. Without Envoy it skips the test, except on CI,
// where that is a failure.
func Require(t testing.TB) string {
	t.Helper()
	binary, err := Binary()
	switch {
	case err == nil:
		return binary
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return ""
}

// Root returns the root of the repository that the working directory lies in.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(b, []byte("module github.com/keymoat/keymoat\n")) {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("envoytest: not inside the repository of keymoat")
		}
		dir = parent
	}
}

// BuildFilter builds the filter from the sources into a file. It is the
// command of the Makefile, so that what is tested is what is shipped.
func BuildFilter(ctx context.Context, file string, tags ...string) error {
	return Build(ctx, "./plugin/envoy", file, tags...)
}

// Build builds another filter in the same way, from a package of this repository.
func Build(ctx context.Context, pkg, file string, tags ...string) error {
	root, err := Root()
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w", "-tags="+strings.Join(tags, ","), "-o", file, pkg)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("envoytest: build %s: %w\n%s", pkg, err, out)
	}
	return nil
}

// Options say how to start an Envoy.
type Options struct {
	Bootstrap any       // its configuration, of a form that encodes to JSON
	YAML      string    // its configuration, in place of Bootstrap
	Dir       string    // for its files, where it runs; must exist
	Workers   int       // 0 for one
	Debug     bool      // log every decision
	Log       io.Writer // gets a copy of the log; may be nil
}

// Envoy is a process. Close ends it.
type Envoy struct {
	PID int

	workers int
	cmd     *exec.Cmd
	admin   string
	exited  chan struct{}
	err     error // of the process; readable once exited is closed
	log     lines
}

// deadline bounds each wait for Envoy. It is generous, since nothing waits
// longer than it must.
const deadline = 60 * time.Second

// Start starts an Envoy and returns when it is ready to serve.
func Start(ctx context.Context, o Options) (*Envoy, error) {
	binary, err := Binary()
	if err != nil {
		return nil, err
	}
	name, bootstrap := "bootstrap.yaml", []byte(o.YAML)
	if o.YAML == "" {
		name = "bootstrap.json"
		if bootstrap, err = json.MarshalIndent(o.Bootstrap, "", "  "); err != nil {
			return nil, fmt.Errorf("envoytest: bootstrap: %w", err)
		}
	}
	file, address := filepath.Join(o.Dir, name), filepath.Join(o.Dir, "admin-address")
	if err := os.WriteFile(file, bootstrap, 0o600); err != nil {
		return nil, fmt.Errorf("envoytest: %w", err)
	}
	logLevels := "wasm:info"
	if o.Debug {
		logLevels = "wasm:debug"
	}
	e := &Envoy{workers: max(o.Workers, 1), exited: make(chan struct{})}
	e.log.copy = o.Log
	e.cmd = exec.CommandContext(ctx, binary, "--config-path", file, "--admin-address-path", address,
		"--disable-hot-restart", "--concurrency", strconv.Itoa(e.workers),
		"--service-node", "keymoat", "--service-cluster", "keymoat",
		"--log-level", "warning", "--component-log-level", logLevels, "--log-format", "%v")
	e.cmd.Dir = o.Dir
	e.cmd.Cancel = func() error { return e.cmd.Process.Signal(syscall.SIGTERM) }
	e.cmd.WaitDelay = 5 * time.Second
	e.cmd.Stderr = &e.log
	if err := e.cmd.Start(); err != nil {
		return nil, fmt.Errorf("envoytest: %w", err)
	}
	e.PID = e.cmd.Process.Pid
	go func() {
		e.err = e.cmd.Wait()
		close(e.exited)
	}()
	if err := e.Wait(ctx, "readiness", func() bool {
		b, err := os.ReadFile(address)
		if err != nil || len(b) == 0 {
			return false
		}
		e.admin = "http://" + string(b)
		body, err := e.Admin(ctx, "/ready")
		return err == nil && strings.TrimSpace(body) == "LIVE"
	}); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

// Wait returns when a condition holds, or an error if it does not within a
// generous time or Envoy ends.
func (e *Envoy) Wait(ctx context.Context, what string, condition func() bool) error {
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	const pause = 5 * time.Millisecond
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-e.exited:
			return fmt.Errorf("envoytest: wait for %s: Envoy ended: %w\n%s", what, e.err, e.Log())
		case <-ctx.Done():
			return fmt.Errorf("envoytest: wait for %s: %w\n%s", what, ctx.Err(), e.Log())
		}
	}
	return nil
}

// Close ends Envoy and waits for its end.
func (e *Envoy) Close() {
	e.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-e.exited:
	case <-time.After(5 * time.Second):
		e.cmd.Process.Kill()
		<-e.exited
	}
}

// Exited is closed when the process has ended.
func (e *Envoy) Exited() <-chan struct{} { return e.exited }

// Admin asks Envoy's administration interface.
func (e *Envoy) Admin(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.admin+path, nil)
	if err != nil {
		return "", err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return "", err
	}
	if res.StatusCode != http.StatusOK {
		return "", fmt.Errorf("envoytest: admin %s: %s: %s", path, res.Status, b)
	}
	return string(b), nil
}

// Address returns the address that a listener has got.
func (e *Envoy) Address(ctx context.Context, listener string) (string, error) {
	body, err := e.Admin(ctx, "/listeners?format=json")
	if err != nil {
		return "", err
	}
	var listeners struct {
		Statuses []struct {
			Name    string
			Address struct {
				Socket struct {
					Address string
					Port    int `json:"port_value"`
				} `json:"socket_address"`
			} `json:"local_address"`
		} `json:"listener_statuses"`
	}
	if err := json.Unmarshal([]byte(body), &listeners); err != nil {
		return "", fmt.Errorf("envoytest: listeners: %w", err)
	}
	for _, l := range listeners.Statuses {
		if l.Name == listener {
			return net.JoinHostPort(l.Address.Socket.Address, strconv.Itoa(l.Address.Socket.Port)), nil
		}
	}
	return "", fmt.Errorf("envoytest: no listener %s", listener)
}

// Stats returns the counters and gauges whose names match a regular expression.
func (e *Envoy) Stats(ctx context.Context, pattern string) (map[string]int, error) {
	body, err := e.Admin(ctx, "/stats?filter="+url.QueryEscape(pattern))
	if err != nil {
		return nil, err
	}
	stats := map[string]int{}
	for line := range strings.Lines(body) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if n, err := strconv.Atoi(value); err == nil {
			stats[name] = n
		}
	}
	return stats, nil
}

// Log returns what Envoy has logged so far.
func (e *Envoy) Log() string { return e.log.from(0) }

// NextLine returns the next line of the log behind the place from that holds a
// text, and the place behind that line.
func (e *Envoy) NextLine(ctx context.Context, from int, text string) (line string, next int, err error) {
	err = e.Wait(ctx, "a log line with "+text, func() bool {
		next = from
		for l := range strings.Lines(e.log.from(from)) {
			whole, ended := strings.CutSuffix(l, "\n")
			if !ended {
				break
			}
			next += len(l)
			if strings.Contains(whole, text) {
				line = whole
				return true
			}
		}
		return false
	})
	return line, next, err
}

// Accepted waits until a configuration of the filter is in force on every
// worker, by what the log says behind the place from. It returns the place
// behind that. A configuration with the very text of one that is in force
// already is not looked at again, so the log says nothing about it.
func (e *Envoy) Accepted(ctx context.Context, from int) (next int, err error) {
	const trials = 2 // Envoy tries it in a VM that it throws away, and on the main thread
	for range trials + e.workers {
		if _, from, err = e.NextLine(ctx, from, "configuration accepted: "); err != nil {
			return from, err
		}
	}
	return from, nil
}

// lines keeps what is written and passes it on.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	copy io.Writer
}

func (l *lines) from(place int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text.Bytes()[place:])
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.copy != nil {
		l.copy.Write(b)
	}
	return l.text.Write(b)
}
