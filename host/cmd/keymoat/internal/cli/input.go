package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/cmd/keymoat/internal/document"
	"github.com/keymoat/keymoat/plugin/policy"
)

// stdin is the name that stands for standard input.
const stdin = "-"

func displayName(name string) string {
	switch name {
	case stdin:
		return "standard input"
	case "":
		return `""`
	}
	return printable(name)
}

// open opens an input and returns its size if it is known, else 0.
func (c *Console) open(name string) (r io.ReadCloser, size int64, err error) {
	if name == stdin {
		return io.NopCloser(c.In), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, fileError(name, err)
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		f.Close()
		return nil, 0, fileError(name, err)
	case info.IsDir():
		f.Close()
		return nil, 0, fileError(name, syscall.EISDIR)
	case info.Mode().IsRegular():
		size = info.Size()
	}
	return f, size, nil
}

// read reads a whole input, which must not be empty.
func (c *Console) read(name string) ([]byte, error) {
	r, size, err := c.open(name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, 0, size+512)
	for {
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fileError(name, err)
		}
		if len(data) == cap(data) {
			data = append(data, 0)[:len(data)]
		}
	}
	if len(data) == 0 {
		return nil, emptyError(name)
	}
	return data, nil
}

func emptyError(name string) error {
	if name == stdin {
		return errors.New("standard input is empty; pipe a document in or name a file")
	}
	return fmt.Errorf("%s: the file is empty", displayName(name))
}

// fileError says in one line what is wrong with a file and what to do.
func fileError(name string, err error) error {
	var advice string
	switch {
	case errors.Is(err, fs.ErrNotExist):
		advice = "no such file; check the path, or give - for standard input"
	case errors.Is(err, fs.ErrPermission):
		advice = "permission denied; make it readable or run as another user"
	case errors.Is(err, syscall.EISDIR):
		advice = "is a directory; name a file in it"
	default:
		var path *fs.PathError
		if errors.As(err, &path) {
			err = path.Err
		}
		advice = err.Error()
	}
	return fmt.Errorf("%s: %s", displayName(name), advice)
}

// source is a policy input: an image, or a document with its places.
type source struct {
	name string
	data []byte // what the evaluator takes
	doc  *document.Document
}

// readPolicies reads a policy set from a file. A YAML file that cannot be
// read is a *document.SyntaxError.
func (c *Console) readPolicies(name string) (*source, error) {
	data, err := c.read(name)
	if err != nil {
		return nil, err
	}
	if policy.IsImage(data) {
		return &source{name: name, data: data}, nil
	}
	done := c.stage(len(data), "reading "+displayName(name))
	doc, err := document.Parse(name, data)
	done()
	if err != nil {
		return nil, fmt.Errorf("%s:%w", displayName(name), err)
	}
	return &source{name: name, data: doc.JSON, doc: doc}, nil
}

// refusal turns the evaluator's error about the source into one line that
// names the file and the first place in it.
func (s *source) refusal(err error) error {
	var e *abi.Error
	if !errors.As(err, &e) || e.Report == nil || len(e.Report.Errors) == 0 || s.doc == nil {
		return fmt.Errorf("%s: %s", displayName(s.name), strings.TrimPrefix(err.Error(), "keymoat: "))
	}
	found := s.findings(e.Report.Errors)
	text := found[0].at(s.name) + ": " + found[0].text()
	if more := countOf(found[1:]); more.n > 0 {
		text += fmt.Sprintf(" (and %s; see keymoat validate)", more.of("more error", "more errors"))
	}
	return errors.New(text)
}

// The engines: the evaluator compiled into this program, or the plugin in its
// sandbox, as other hosts run it.
const (
	engineNative = "native"
	engineWasm   = "wasm"
)

// evaluatorFlags are the flags of the commands that evaluate.
type evaluatorFlags struct {
	policies string
	engine   string
}

// load reads the policies and returns an evaluator that has loaded them.
func (f *evaluatorFlags) load(ctx context.Context, c *Console) (host.Evaluator, error) {
	s, err := c.readPolicies(f.policies)
	if err != nil {
		return nil, err
	}
	ev, err := newEvaluator(ctx, c, f.engine)
	if err != nil {
		return nil, err
	}
	if _, err := ev.Load(ctx, s.data); err != nil {
		_ = ev.Close(ctx)
		return nil, s.refusal(err)
	}
	return ev, nil
}

func newEvaluator(ctx context.Context, c *Console, engine string) (host.Evaluator, error) {
	if engine == engineNative {
		return host.NewNative(), nil
	}
	dir, unusable := cacheDir()
	if unusable == nil {
		ev, err := host.New(ctx, host.WithInstances(1), host.WithCompilationCache(dir))
		if err == nil {
			return ev, nil
		}
		unusable = err
	}
	ev, err := host.New(ctx, host.WithInstances(1))
	if err != nil {
		return nil, fmt.Errorf("the wasm engine does not start: %w; try --engine native", err)
	}
	c.warn("the plugin is compiled anew: %s", strings.TrimPrefix(unusable.Error(), "keymoat: "))
	return ev, nil
}
