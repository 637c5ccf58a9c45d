// Package testee puts any host.Evaluator at the other end of the conformance
// protocol that conformance/README.md specifies.
package testee

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/policy"
)

// Serve answers each line of in with one line on out until in ends.
func Serve(ctx context.Context, evaluator host.Evaluator, in io.Reader, out io.Writer) error {
	lines := bufio.NewReader(in)
	for {
		line, end := lines.ReadBytes('\n')
		if len(bytes.TrimSpace(line)) > 0 {
			answer, err := answer(ctx, evaluator, line)
			if err != nil {
				answer = errorAnswer(err)
			}
			b, err := json.Marshal(answer)
			if err != nil {
				return fmt.Errorf("testee: %w", err)
			}
			if _, err := out.Write(append(b, '\n')); err != nil {
				return fmt.Errorf("testee: %w", err)
			}
		}
		switch {
		case errors.Is(end, io.EOF):
			return nil
		case end != nil:
			return fmt.Errorf("testee: %w", end)
		}
	}
}

func answer(ctx context.Context, evaluator host.Evaluator, line []byte) (any, error) {
	verb, document, err := parse(line)
	if err != nil {
		return nil, &abi.Error{Status: abi.StatusInvalidArgument, Message: err.Error()}
	}
	switch verb {
	case "Load":
		revision, err := evaluator.Load(ctx, document)
		return struct{ Revision host.Revision }{revision}, err
	case "Validate":
		return evaluator.Validate(ctx, document)
	case "Evaluate":
		request, err := policy.ParseRequest(document)
		if err != nil {
			return nil, err
		}
		return evaluator.Evaluate(ctx, request)
	case "Explain":
		request, err := policy.ParseRequest(document)
		if err != nil {
			return nil, err
		}
		return evaluator.Explain(ctx, request)
	case "Authorize":
		request, err := policy.ParseHTTPRequest(document)
		if err != nil {
			return nil, err
		}
		return evaluator.Authorize(ctx, request)
	}
	return nil, &abi.Error{Status: abi.StatusInvalidArgument, Message: "the protocol has no verb " + verb}
}

// parse returns the verb of a line without the suffix Raw, and the bytes that
// it is about as they were sent.
func parse(line []byte) (verb string, document []byte, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(line, &members); err != nil {
		return "", nil, err
	}
	if len(members) != 1 {
		return "", nil, errors.New("a line is an object with one member")
	}
	for name, value := range members {
		verb, document = name, value
	}
	plain, raw := strings.CutSuffix(verb, "Raw")
	if raw {
		document = nil
		err = json.Unmarshal(members[verb], &document) // from base64
	}
	return plain, document, err
}

type errorObject struct {
	Code    string
	Message string
	Report  *abi.Report `json:",omitempty"`
}

// errorAnswer tells an error by its status; one that has none is Internal.
func errorAnswer(err error) any {
	object := errorObject{Code: abi.StatusInternal.String(), Message: err.Error()}
	var status abi.Status
	if errors.As(err, &status) {
		object.Code = status.String()
	}
	var detailed *abi.Error
	if errors.As(err, &detailed) {
		object.Report = detailed.Report
	}
	return struct{ Error errorObject }{object}
}
