package conformance

import (
	"context"
	"io"
	"testing"

	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host"
)

// Run puts every case to an evaluator with nothing loaded, each as a subtest
// named after its file and its id. Excepted cases are skipped.
func Run(t *testing.T, evaluator host.Evaluator, exceptions ...Exception) {
	t.Helper()
	cases, err := Cases()
	if err != nil {
		t.Fatal(err)
	}
	results, err := Check(t.Context(), cases, InProcess(evaluator), exceptions)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Run(r.Case.Group+"/"+r.Case.ID, func(t *testing.T) {
			if r.Outcome == NotExpressible {
				t.Skip(r.Reason)
			}
			for _, failure := range r.Failures {
				t.Errorf("%s: %s", r.Case.Title, failure)
			}
		})
	}
}

// InProcess connects to an evaluator of this program over a pipe, by the same
// protocol as to any testee.
func InProcess(evaluator host.Evaluator) Start {
	return func(ctx context.Context) (io.ReadWriteCloser, error) {
		in, requests := io.Pipe()
		answers, out := io.Pipe()
		go func() {
			err := testee.Serve(ctx, evaluator, in, out)
			_ = in.CloseWithError(err)
			_ = out.CloseWithError(err)
		}()
		return &pipe{answers, requests}, nil
	}
}

type pipe struct {
	*io.PipeReader
	requests *io.PipeWriter
}

func (p *pipe) Write(b []byte) (int, error) { return p.requests.Write(b) }

func (p *pipe) Close() error {
	_ = p.requests.Close()
	return p.PipeReader.Close()
}
