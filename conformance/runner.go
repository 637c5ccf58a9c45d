package conformance

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Start starts a testee with nothing loaded and connects to it: what is
// written are its requests, what is read are its answers.
type Start func(ctx context.Context) (io.ReadWriteCloser, error)

// Outcome is what became of a case.
type Outcome int

// The outcomes.
const (
	Passed         Outcome = iota
	Failed                 // an answer was wrong or did not come
	NotExpressible         // the host declares that it cannot express the case
)

// Result is what one host made of one case.
type Result struct {
	Case     Case
	Outcome  Outcome
	Failures []Failure // of a case that failed, never empty
	Reason   string    // why a case is not expressible
}

// Failure is one wrong answer. The texts are shortened.
type Failure struct {
	Problem string
	Sent    string
	Want    string
	Got     string

	err error
}

func (f Failure) String() string {
	text := f.Problem
	for _, part := range []struct{ name, text string }{{"sent", f.Sent}, {"want", f.Want}, {"got ", f.Got}} {
		if part.text != "" {
			text += "\n  " + part.name + " " + part.text
		}
	}
	return text
}

// Check puts the cases to a testee and returns a result for each, in their
// order. Cases about the same policy set are put together, so that it is
// loaded once. A testee that ends or stops to answer is started anew.
//
// The error tells that the cases could not be put: the testee does not start,
// or an exception is about no case.
func Check(ctx context.Context, cases []Case, start Start, exceptions []Exception) ([]Result, error) {
	reasons, err := reasonsByID(cases, exceptions)
	if err != nil {
		return nil, err
	}
	s := session{ctx: ctx, start: start}
	defer s.close()
	if err := s.open(); err != nil {
		return nil, err
	}
	results := make([]Result, len(cases))
	for _, i := range byPolicySet(cases) {
		c := cases[i]
		results[i].Case = c
		if reason := reasons[c.ID]; reason != "" {
			results[i].Outcome, results[i].Reason = NotExpressible, reason
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if results[i].Failures = s.put(c); len(results[i].Failures) > 0 {
			results[i].Outcome = Failed
		}
	}
	return results, nil
}

// byPolicySet orders the cases: first those that need a testee with nothing
// loaded, then set by set.
func byPolicySet(cases []Case) []int {
	order := make([]int, len(cases))
	first := map[string]int{"null": -1}
	for i, c := range cases {
		order[i] = i
		if _, ok := first[string(c.policySet)]; !ok {
			first[string(c.policySet)] = i
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		return first[string(cases[a].policySet)] - first[string(cases[b].policySet)]
	})
	return order
}

// session is a testee and what is known of it.
type session struct {
	ctx   context.Context
	start Start

	conn     io.ReadWriteCloser // nil after it failed
	lines    *bufio.Reader
	answered bool   // it has answered at least once since it started
	loaded   string // the policy set that a case had loaded, "" for none or another
	revision string // that the rules in force must have
	gaveUp   error  // why nothing is asked any more
}

func (s *session) open() error {
	conn, err := s.start(s.ctx)
	if err != nil {
		return fmt.Errorf("conformance: the testee does not start: %w", err)
	}
	s.conn, s.lines = conn, bufio.NewReader(conn)
	s.answered, s.loaded, s.revision = false, "", ""
	return nil
}

func (s *session) close() {
	if s.conn != nil {
		_ = s.conn.Close() // its last answers have been read
		s.conn = nil
	}
}

// put puts one case and returns what went wrong.
func (s *session) put(c Case) (failures []Failure) {
	if set := string(c.policySet); set != "" && set != "null" && (set != s.loaded || s.conn == nil) {
		s.loaded = ""
		load := request{verb: "Load", payload: c.policySet, bytes: c.policySet, answer: loadedAs{c.policySet}}
		if failure := s.ask(load); failure != nil {
			failures = append(failures, *failure)
			if failure.err != errOtherRevision { // which is told once, the rules are in force all the same
				return failures
			}
		}
	}
	for _, r := range c.requests {
		failure := s.ask(r)
		if failure != nil {
			failures = append(failures, *failure)
		}
		if s.conn == nil {
			break
		}
	}
	return failures
}

// ask puts one request and returns what is wrong with its answer, nil if nothing is.
func (s *session) ask(r request) *Failure {
	line := slices.Concat([]byte(`{"`+r.verb+`":`), r.payload, []byte("}\n"))
	failure := &Failure{Sent: short(line), Want: short([]byte(r.answer.String()))}
	if strings.HasSuffix(r.verb, "Raw") {
		failure.Sent = r.verb + " " + short([]byte(strconv.Quote(string(r.bytes)))) // base64 tells people nothing
	}
	answer, err := s.exchange(line)
	if err != nil {
		failure.Problem = err.Error()
		return failure
	}
	failure.Got = short(answer)
	if !json.Valid(answer) {
		failure.Problem = "the answer is not JSON"
		return failure
	}
	err = r.answer.check(answer, s.revision)
	source, loads := r.answer.(loadedAs)
	switch {
	case loads && (err == nil || err == errOtherRevision):
		s.loaded, s.revision = string(source.source), revisionOf(source.source)
	case err != nil && strings.HasPrefix(r.verb, "Load"):
		s.loaded = "" // whatever it took, it cannot be relied on
	}
	if err == nil {
		return nil
	}
	failure.err, failure.Problem = err, err.Error()
	return failure
}

// exchange sends a line and returns the next. After an error the testee is
// gone; the next call starts another, unless that would be in vain.
func (s *session) exchange(line []byte) ([]byte, error) {
	if s.gaveUp != nil {
		return nil, s.gaveUp
	}
	if s.conn == nil {
		if err := s.open(); err != nil {
			s.gaveUp = err
			return nil, err
		}
	}
	_, err := s.conn.Write(line)
	var answer []byte
	if err == nil {
		answer, err = s.lines.ReadBytes('\n')
	}
	if err == nil {
		s.answered = true
		return bytes.TrimSpace(answer), nil
	}
	if closing := s.conn.Close(); closing != nil {
		err = closing // it knows why the testee ended
	} else if errors.Is(err, io.EOF) {
		err = errors.New("it ended")
	}
	s.conn = nil
	err = fmt.Errorf("the testee did not answer: %w", err)
	if !s.answered {
		s.gaveUp = err
	}
	return nil, err
}

// short cuts a line so that it can be read by people.
func short(b []byte) string {
	const most = 600
	b = bytes.TrimSpace(b)
	if len(b) <= most {
		return string(b)
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(b[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes)", b[:cut], len(b))
}
