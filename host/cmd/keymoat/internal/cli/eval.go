package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/policy"
)

func newEval(c *Console) *cobra.Command {
	var (
		from     evaluatorFlags
		flags    requestFlags
		requests string
		format   string
	)
	cmd := &cobra.Command{
		Use:   "eval --policies FILE (--access-key-id ID --source-ip IP | --requests FILE)",
		Short: "Decide one request, or a file of them",
		Long: `Decide one request that the flags spell, or every request of a file: NDJSON in,
one JSON object a line, and NDJSON decisions out, one a line, in the same order.
A request that cannot be read is answered on its line with
{"Error":{"Code":...,"Message":...}}. - stands for standard input; each request is
answered as soon as its line is complete.

The policies are JSON, YAML or an image made by "keymoat compile".
The exit status is 0 if all are allowed, 1 if one is denied or in error,
2 if the call or a file is unusable.`,
		Example: `  keymoat eval --policies policies.yaml --access-key-id LTAI5tExample0000000001 --source-ip 203.0.113.1
  keymoat eval --policies policies.yaml --access-key-id LTAI5tExample0000000001 --source-ip 192.168.0.7 --vpc-id vpc-m5ekxe1zi8zwgqrtc1234
  keymoat eval --policies policies.image --requests requests.ndjson > decisions.ndjson
  tail -f requests.ndjson | keymoat eval --policies policies.image --requests - --engine wasm`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := from.check(cmd); err != nil {
				return err
			}
			if cmd.Flags().Changed("requests") {
				if flag := givenRequestFlag(cmd); flag != "" {
					return misuse(cmd, "--requests and --%s exclude each other", flag)
				}
				if err := atMostOneStdin(cmd, from.policies, requests); err != nil {
					return err
				}
				return evalStream(cmd.Context(), c, &from, requests, format)
			}
			if givenRequestFlag(cmd) == "" {
				return misuse(cmd, "give a request with --access-key-id and --source-ip, or a file of them with --requests")
			}
			request, err := flags.request(cmd)
			if err != nil {
				return err
			}
			return evalOne(cmd.Context(), c, &from, request, format)
		},
	}
	addEvaluator(cmd, &from)
	addRequest(cmd, &flags)
	cmd.Flags().StringVar(&requests, "requests", "", "`FILE` of requests, NDJSON; - is standard input")
	addOutput(cmd, c, &format)
	return cmd
}

func addEvaluator(cmd *cobra.Command, f *evaluatorFlags) {
	cmd.Flags().StringVar(&f.policies, "policies", "", "`FILE` of policies: JSON, YAML or an image; - is standard input")
	f.engine = engineNative
	addChoice(cmd, &f.engine, "engine", "", "evaluator: native, compiled into this program, or wasm, the plugin in its sandbox", engineNative, engineWasm)
}

func (f *evaluatorFlags) check(cmd *cobra.Command) error {
	if f.policies == "" {
		return misuse(cmd, "--policies is missing; name a file of policies")
	}
	return nil
}

func evalOne(ctx context.Context, c *Console, from *evaluatorFlags, request abi.Request, format string) error {
	ev, err := from.load(ctx, c)
	if err != nil {
		return err
	}
	defer ev.Close(ctx)
	decision, err := ev.Evaluate(ctx, request)
	if err != nil {
		return err
	}
	w := answerWriter{c: c, asTable: format == formatTable}
	w.add(answer{request: request, decision: decision})
	if err := w.write(); err != nil {
		return err
	}
	if !decision.Allowed() {
		return errNegative
	}
	return nil
}

// A request holds at most six fields of 255 bytes, an id and an address; even
// with every byte escaped it is far shorter than this. A longer line is
// answered with an error and costs no memory.
const maxLine = 1 << 20

// evalStream answers the requests of a file. Each read of the input is
// answered before the next, so that a program that asks line by line gets its
// answers line by line, and a large file goes in large pieces.
func evalStream(ctx context.Context, c *Console, from *evaluatorFlags, requests, format string) error {
	input, size, err := c.open(requests)
	if err != nil {
		return err
	}
	defer input.Close()
	ev, err := from.load(ctx, c)
	if err != nil {
		return err
	}
	defer ev.Close(ctx)

	s := stream{
		ev:       ev,
		out:      answerWriter{c: c, asTable: format == formatTable},
		progress: progress{c: c, total: size},
	}
	err = s.run(ctx, input)
	s.progress.clear()
	var broken *inputError
	switch {
	case errors.As(err, &broken):
		return fileError(requests, broken.err)
	case err != nil:
		return err
	case s.lines == 0:
		return emptyError(requests)
	case s.out.denied+s.out.failed > 0:
		return errNegative
	}
	return nil
}

type inputError struct{ err error }

func (e *inputError) Error() string { return e.err.Error() }

type stream struct {
	ev       host.Evaluator
	out      answerWriter
	progress progress
	lines    int // answered so far

	// The requests of one piece. Their strings alias its bytes.
	requests  []abi.Request
	decisions []abi.Decision
}

func (s *stream) run(ctx context.Context, input io.Reader) error {
	buffer := make([]byte, maxLine)
	filled, read := 0, int64(0)
	tooLong := false // the line that the buffer begins with was answered already
	for {
		n, err := input.Read(buffer[filled:])
		filled, read = filled+n, read+int64(n)
		piece := buffer[:filled]
		if tooLong {
			end := bytes.IndexByte(piece, '\n')
			if end < 0 {
				piece = piece[:0]
			} else {
				piece, tooLong = piece[end+1:], false
			}
		}
		ended := err == io.EOF
		// The last line needs no end.
		if ended && len(piece) > 0 && piece[len(piece)-1] != '\n' {
			piece = append(piece, '\n')
		}
		whole := bytes.LastIndexByte(piece, '\n') + 1
		if err := s.answer(ctx, piece[:whole]); err != nil {
			return err
		}
		rest := piece[whole:]
		if len(rest) == len(buffer) {
			s.lines++
			s.out.add(answer{err: &abi.Error{
				Status:  abi.StatusInvalidRequest,
				Message: "the line is longer than " + counted(maxLine, "byte", "bytes") + "; no request is",
			}})
			rest, tooLong = nil, true
		}
		if err := s.out.write(); err != nil {
			return err
		}
		filled = copy(buffer, rest)
		s.progress.show(s.lines, read)
		switch {
		case ended:
			return nil
		case err != nil:
			return &inputError{err}
		case ctx.Err() != nil:
			return ctx.Err()
		}
	}
}

// answer answers whole lines.
func (s *stream) answer(ctx context.Context, piece []byte) error {
	const batch = 4096
	for len(piece) > 0 {
		first := len(s.out.answers)
		s.requests = s.requests[:0]
		for len(piece) > 0 && len(s.out.answers)-first < batch {
			end := bytes.IndexByte(piece, '\n')
			request, err := parseLine(piece[:end])
			piece = piece[end+1:]
			s.out.add(answer{request: request, err: err})
			if err == nil {
				s.requests = append(s.requests, request)
			}
		}
		if err := s.decide(ctx, s.out.answers[first:]); err != nil {
			return fmt.Errorf("requests %d to %d: %w", s.lines+1, s.lines+len(s.out.answers)-first, err)
		}
		s.lines += len(s.out.answers) - first
	}
	return nil
}

func parseLine(line []byte) (abi.Request, error) {
	if len(bytes.TrimSpace(line)) == 0 {
		return abi.Request{}, &abi.Error{Status: abi.StatusInvalidRequest, Message: "the line is empty; each line must hold one request"}
	}
	return policy.ParseRequest(line)
}

// decide evaluates s.requests, which are those of the answers that are not in
// error yet, and puts the decisions into their places.
func (s *stream) decide(ctx context.Context, answers []answer) error {
	if len(s.requests) == 0 {
		return nil
	}
	if cap(s.decisions) < len(s.requests) {
		s.decisions = make([]abi.Decision, len(s.requests), cap(s.requests))
	}
	s.decisions = s.decisions[:len(s.requests)]
	var (
		batch  *abi.BatchError
		failed []abi.BatchItem
	)
	switch err := s.ev.EvaluateBatch(ctx, s.requests, s.decisions); {
	case errors.As(err, &batch):
		failed = batch.Items
	case err != nil:
		return err
	}
	next := 0
	for i := range answers {
		a := &answers[i]
		if a.err != nil {
			continue
		}
		if len(failed) > 0 && failed[0].Index == next {
			a.err = failed[0].Status
			failed = failed[1:]
		}
		a.decision = s.decisions[next]
		next++
	}
	return nil
}

// answer is what becomes of one request: a decision, or an error.
type answer struct {
	request  abi.Request
	decision abi.Decision
	err      error // unwraps to an abi.Status
}

// answerWriter writes answers as NDJSON or as a table, and counts them.
type answerWriter struct {
	c              *Console
	asTable        bool
	table          *table
	answers        []answer
	buffer         []byte
	denied, failed int
	written        int
}

func (w *answerWriter) add(a answer) { w.answers = append(w.answers, a) }

// write writes the answers that were added since the last time.
func (w *answerWriter) write() error {
	if len(w.answers) == 0 {
		return nil
	}
	for i := range w.answers {
		switch a := &w.answers[i]; {
		case a.err != nil:
			w.failed++
		case !a.decision.Allowed():
			w.denied++
		}
	}
	w.buffer = w.buffer[:0]
	if w.asTable {
		w.appendTable()
	} else {
		for i := range w.answers {
			w.buffer = append(w.answers[i].appendJSON(w.buffer), '\n')
		}
	}
	w.written += len(w.answers)
	clear(w.answers) // their strings alias the input
	w.answers = w.answers[:0]
	if _, err := w.c.Out.Write(w.buffer); err != nil {
		return outputError(err)
	}
	return nil
}

func (a *answer) appendJSON(b []byte) []byte {
	if a.err == nil {
		return a.decision.AppendJSON(b)
	}
	code, message := describe(a.err)
	b = append(b, `{"Error":{"Code":`...)
	b = strconv.AppendQuote(b, code)
	b = append(b, `,"Message":`...)
	// The error could only be about what ToValidUTF8 has mended.
	b, _ = jsontext.AppendQuote(b, strings.ToValidUTF8(message, "\ufffd"))
	return append(b, '}', '}')
}

// describe returns the code and the sentence of an error about a request.
func describe(err error) (code, message string) {
	var status abi.Status
	if !errors.As(err, &status) {
		status = abi.StatusInternal
	}
	message = err.Error()
	var e *abi.Error
	if errors.As(err, &e) && e.Message != "" {
		message = e.Message
	}
	return status.String(), message
}

var answerHeader = []string{"ACCESS KEY ID", "SOURCE IP", "NETWORK", "EFFECT", "REASON", "LEVEL", "STATEMENT", "ENTRY"}

func (w *answerWriter) appendTable() {
	rows := make([][]cell, len(w.answers))
	for i := range w.answers {
		rows[i] = w.answers[i].row(w.written + i + 1)
	}
	if w.table == nil {
		// An error's sentence stands in the last columns and needs none of its own.
		var sample [][]cell
		for i := range rows {
			if w.answers[i].err == nil {
				sample = append(sample, rows[i])
			}
		}
		w.table = newTable(w.c, answerHeader, sample)
		w.buffer = w.table.appendHeader(w.buffer, answerHeader)
	}
	for _, row := range rows {
		w.buffer = w.table.appendRow(w.buffer, row)
	}
}

// row returns the row of the answer to the request on that line. An error is
// shown by its line, as the request may have no key and no address.
func (a *answer) row(line int) []cell {
	if a.err != nil {
		code, message := describe(a.err)
		return []cell{{text: "line " + strconv.Itoa(line)}, {text: "-"}, {text: "-"}, {"Error", yellow}, {text: code + ": " + printable(message)}}
	}
	d := &a.decision
	row := []cell{
		{text: printable(a.request.AccessKeyID)},
		{text: a.request.SourceIP.String()},
		{text: d.Network.String()},
		{d.Effect.String(), red},
		{text: d.Reason.String()},
		{text: d.Level.String()},
		{text: "-"},
		{text: "-"},
	}
	if d.Allowed() {
		row[3].in = green
	}
	if a.request.VPCID != "" {
		row[2].text = printable(a.request.VPCID)
	}
	if d.Entry.IsValid() {
		row[6].text = strconv.Itoa(d.Statement)
		row[7].text = d.Entry.String()
	}
	return row
}
