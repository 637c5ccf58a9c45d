package policysource

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gocloud.dev/gcerrors"
	"gocloud.dev/runtimevar"
	"gocloud.dev/runtimevar/driver"
)

// openFile opens file:///path or, relative to the working directory, file://./path.
func openFile(u *url.URL, o options) (*runtimevar.Variable, error) {
	path := u.Path
	if u.Host == "." || os.PathSeparator != '/' {
		path = strings.TrimPrefix(path, "/")
	}
	if path == "" || u.Host != "" && u.Host != "." || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("%s is not the URL of a file: file:///path or file://./path", u.Redacted())
	}
	path, err := filepath.Abs(filepath.FromSlash(path))
	if err != nil {
		return nil, err
	}
	return runtimevar.New(&file{path: path, interval: o.interval, limit: o.limit}), nil
}

// file watches a file by looking at it time and again. The driver that waits
// for the kernel's notifications misses changes: of a link that is pointed
// elsewhere, of a file whose former self somebody holds open, and on network
// file systems.
type file struct {
	path     string
	interval time.Duration
	limit    int64

	seen    fs.FileInfo // when it was read last, nil if it was not
	settled bool        // seen is old enough to tell the next change
	sum     [sha256.Size]byte
	problem string
}

const (
	// racy is how long the time of a file may stand still while it changes.
	racy = 2 * time.Second
	// small is what a file may have to be read each time, whatever its time says.
	small = 1 << 20
)

// WatchVariable implements driver.Watcher.
func (f *file) WatchVariable(context.Context, driver.State) (driver.State, time.Duration) {
	info, err := os.Stat(f.path) // before it is read: what changes after is seen the next time
	switch {
	case err != nil:
		return f.failed(err), f.interval
	case !info.Mode().IsRegular(): // to read a pipe may take for ever
		return f.failed(fmt.Errorf("%s (%v) is not a regular file; put one there, or a link to one", f.path, info.Mode())), f.interval
	}
	if f.seen != nil && f.settled && info.Size() > small && os.SameFile(f.seen, info) && f.seen.ModTime().Equal(info.ModTime()) && f.seen.Size() == info.Size() {
		return nil, f.interval
	}
	content, err := f.read(info.Size())
	if err != nil {
		return f.failed(err), f.interval
	}
	first := f.seen == nil
	f.seen, f.settled, f.problem = info, time.Since(info.ModTime()) > racy, ""
	if sum := sha256.Sum256(content); first || sum != f.sum {
		f.sum = sum
		return &fileState{content: content, at: time.Now()}, f.interval
	}
	return nil, f.interval
}

// read reads the file, which probably has so many bytes.
func (f *file) read(size int64) ([]byte, error) {
	if size > f.limit {
		return nil, tooLarge(f.limit)
	}
	from, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer from.Close()
	content := bytes.NewBuffer(make([]byte, 0, size+bytes.MinRead))
	_, err = content.ReadFrom(limited(from, f.limit))
	return content.Bytes(), err
}

// failed is the state after an error, nil if it is the same error again.
func (f *file) failed(err error) driver.State {
	f.seen = nil
	if f.problem == err.Error() {
		return nil
	}
	f.problem = err.Error()
	return &fileState{err: err}
}

// Close, ErrorAs and ErrorCode implement driver.Watcher.
func (f *file) Close() error            { return nil }
func (f *file) ErrorAs(error, any) bool { return false }

func (f *file) ErrorCode(err error) gcerrors.ErrorCode {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return gcerrors.NotFound
	case errors.Is(err, fs.ErrPermission):
		return gcerrors.PermissionDenied
	}
	return gcerrors.Unknown
}

// fileState implements driver.State.
type fileState struct {
	content []byte
	at      time.Time
	err     error
}

func (s *fileState) Value() (any, error)   { return s.content, s.err }
func (s *fileState) UpdateTime() time.Time { return s.at }
func (s *fileState) As(any) bool           { return false }
