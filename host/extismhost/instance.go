package extismhost

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/internal/instances"
)

// exports are the plug-in's functions that an Evaluator calls.
var exports = []string{"load", "validate", "compile", "evaluate", "evaluate_batch", "explain", "authorize", "revision"}

// instance is one running plug-in. One call at a time may use it. After an error
// of type *host.TrapError it must be closed: a Go guest that trapped looks
// usable and is not.
type instance struct {
	plugin      *extism.Plugin
	words       *instances.LastWords
	memoryLimit uint64
	input       []byte // reused from call to call
}

// instantiate starts a plug-in. It gets random numbers, a clock that counts from
// its start and a place for its last words, and nothing else of the outside.
func (e *Evaluator) instantiate(ctx context.Context) (*instance, error) {
	words := &instances.LastWords{}
	config := wazero.NewModuleConfig().WithRandSource(rand.Reader).WithSysNanotime().WithStderr(words)
	plugin, err := e.compiled.Instance(ctx, extism.PluginInstanceConfig{ModuleConfig: config})
	if err != nil {
		return nil, &host.GuestError{Problem: "it does not start", Err: err}
	}
	return &instance{plugin: plugin, words: words, memoryLimit: e.options.memoryLimit}, nil
}

func (i *instance) close(ctx context.Context) {
	// Closing a module that trapped reports the trap again.
	_ = i.plugin.Close(ctx)
}

var (
	errAnswer = errors.New("its answer is none that the plug-in gives")
	errEnded  = errors.New("it ended in the middle")
)

// call calls a function. Its error is what the plug-in says, an *abi.Error, or
// else a *host.TrapError. The caller's context does not interrupt it, which
// would cost the instance; the time-out alone does.
func (i *instance) call(ctx context.Context, export string, input []byte) ([]byte, error) {
	const reserve = 1 << 20
	if uint64(len(input))+reserve > max(i.memoryLimit, 2*reserve) {
		return nil, i.tooLarge(len(input))
	}
	rc, output, err := i.plugin.CallWithContext(context.WithoutCancel(ctx), export, input)
	switch {
	case err == nil && rc == 0 && len(output) > 0:
		return output, nil
	case err == nil: // an exit, of which Extism makes a success
		err = errEnded
	default:
		if said := readError(rc, err.Error()); said != nil {
			return nil, said
		}
	}
	if i.words.OutOfMemory() && (export == "load" || export == "compile" || export == "validate") {
		err = errors.Join(i.tooLarge(len(input)), err)
	}
	if words := i.words.String(); words != "" {
		err = fmt.Errorf("%s: %w", words, err)
	}
	return nil, &host.TrapError{Export: export, Err: err}
}

func (i *instance) tooLarge(size int) error {
	return &abi.Error{Status: abi.StatusTooLarge, Message: fmt.Sprintf(
		"%d bytes are too many for an instance of %d bytes; raise the limit (WithMemoryLimit)", size, i.memoryLimit)}
}

// readError reads an error of the plug-in: JSON that names the status which the
// function returned. It is nil if that is not what it is.
func readError(rc uint32, text string) error {
	status := abi.Status(rc)
	if rc == 0 || rc >= uint32(len(abi.Statuses())) || !strings.HasPrefix(text, `{"Error":{"Code":"`+status.String()+`"`) {
		return nil
	}
	var answer struct {
		Error struct {
			Message string
			Report  *abi.Report
		}
	}
	if json.Unmarshal([]byte(text), &answer) != nil {
		return nil
	}
	return &abi.Error{Status: status, Message: answer.Error.Message, Report: answer.Error.Report}
}

// trapped reports whether an instance is lost.
func trapped(err error) bool {
	var trap *host.TrapError
	return errors.As(err, &trap)
}

// decide calls a function that answers the input with a decision.
func (i *instance) decide(ctx context.Context, export string) (abi.Decision, error) {
	output, err := i.call(ctx, export, fill(i.input))
	if err != nil {
		return abi.Decision{}, err
	}
	d, ok := readDecision(output)
	if !ok {
		return abi.Decision{}, &host.TrapError{Export: export, Err: errAnswer}
	}
	return d, nil
}

// batchSize is how many requests one crossing takes: enough to make its cost
// vanish, few enough that the buffers stay small.
const batchSize = 1024

// evaluateBatch judges up to batchSize requests in one crossing, and returns
// those that have no decision.
func (i *instance) evaluateBatch(ctx context.Context, reqs []abi.Request, out []abi.Decision) (failed []abi.BatchItem, err error) {
	clear(out)
	i.input = i.input[:0]
	sent := make([]int, 0, len(reqs))
	refused := map[int]abi.Status{}
	for n := range reqs {
		before := len(i.input)
		if len(sent) > 0 {
			i.input = append(i.input, '\n')
		}
		if i.input, err = appendRequest(i.input, &reqs[n]); err != nil {
			i.input = i.input[:before]
			refused[n] = statusOf(err)
			continue
		}
		sent = append(sent, n)
	}
	if len(sent) > 0 {
		output, err := i.call(ctx, "evaluate_batch", fill(i.input))
		if err != nil {
			return nil, err
		}
		answers := strings.Split(strings.TrimSuffix(string(output), "\n"), "\n")
		if len(answers) != len(sent) {
			return nil, &host.TrapError{Export: "evaluate_batch", Err: errAnswer}
		}
		for at, n := range sent {
			d, ok := readDecision([]byte(answers[at]))
			if ok {
				out[n] = d
				continue
			}
			if refused[n] = statusNamed(answers[at]); refused[n] == abi.StatusOK {
				return nil, &host.TrapError{Export: "evaluate_batch", Err: errAnswer}
			}
		}
	}
	for n := range reqs {
		if status, ok := refused[n]; ok {
			failed = append(failed, abi.BatchItem{Index: n, Status: status})
		}
	}
	return failed, nil
}

func statusOf(err error) abi.Status {
	status := abi.StatusInternal
	errors.As(err, &status)
	return status
}

// statusNamed returns the status of an error on a line, StatusOK if it is none.
func statusNamed(line string) abi.Status {
	for _, status := range abi.Statuses()[1:] {
		if readError(uint32(status), line) != nil {
			return status
		}
	}
	return abi.StatusOK
}
