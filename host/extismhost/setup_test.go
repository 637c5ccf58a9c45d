package extismhost_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/extismhost"
)

const plugin = "../../plugin/extism"

// wasm is the plug-in, faultyWasm the plug-in that fails for certain key ids.
var (
	wasm       = sync.OnceValues(func() ([]byte, error) { return build() })
	faultyWasm = sync.OnceValues(buildFaulty)
)

func build(flags ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "keymoat-extism")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "plugin.wasm")
	args := append([]string{"build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file}, flags...)
	command := exec.Command("go", append(args, ".")...)
	command.Dir = plugin
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, errors.New("building the plug-in: " + err.Error() + "\n" + string(output))
	}
	return os.ReadFile(file)
}

func buildFaulty() ([]byte, error) {
	const before, after = "g.answer(call, output[:0], input)", "g.answer(call, output[:0], fault(input))"
	dir, err := os.MkdirTemp("", "keymoat-extism")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	folder, err := filepath.Abs(plugin)
	if err != nil {
		return nil, err
	}
	fault, err := filepath.Abs("testdata/fault.go")
	if err != nil {
		return nil, err
	}
	source, err := os.ReadFile(filepath.Join(folder, "exports.go"))
	if err != nil {
		return nil, err
	}
	if bytes.Count(source, []byte(before)) != 1 {
		return nil, errors.New("plugin/extism/exports.go no longer holds " + before + "; this test has to follow")
	}
	edited, overlay := filepath.Join(dir, "exports.go"), filepath.Join(dir, "overlay.json")
	replace, _ := json.Marshal(map[string]any{"Replace": map[string]string{
		filepath.Join(folder, "exports.go"): edited,
		filepath.Join(folder, "fault.go"):   fault,
	}})
	err = errors.Join(os.WriteFile(edited, bytes.Replace(source, []byte(before), []byte(after), 1), 0o644), os.WriteFile(overlay, replace, 0o644))
	if err != nil {
		return nil, err
	}
	return build("-overlay", overlay)
}

func newEvaluator(t testing.TB, module func() ([]byte, error), opts ...extismhost.Option) *extismhost.Evaluator {
	t.Helper()
	b, err := module()
	require.NoError(t, err)
	e, err := inTime(func() (*extismhost.Evaluator, error) { return extismhost.New(t.Context(), b, opts...) })
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	return e
}

// inTime is the answer that a healthy instance gives in some time, however slow
// this machine and short the time-out.
func inTime[T any](call func() (T, error)) (T, error) {
	for {
		answer, err := call()
		if !errors.Is(err, context.DeadlineExceeded) {
			return answer, err
		}
	}
}

const key = "LTAI5tExample0000000001"

func request(keyID, source string) abi.Request {
	return abi.Request{AccessKeyID: keyID, SourceIP: netip.MustParseAddr(source)}
}

func matched(entry string) abi.Decision {
	return abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched, Level: abi.LevelAccount, Entry: netip.MustParsePrefix(entry)}
}

var notListed = abi.Decision{Effect: abi.EffectDeny, Reason: abi.ReasonSourceIPNotListed, Level: abi.LevelAccount}

// alternating are two sets that no request is answered alike by.
var alternating = [2]string{
	`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}`,
	`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.1","198.51.100.1"]}]}`,
}
