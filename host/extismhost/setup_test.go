package extismhost_test

import (
	"context"
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
	"github.com/keymoat/keymoat/host/internal/faulty"
)

const plugin = "../../plugin/extism"

// wasm is the plug-in, faultyWasm the plug-in that fails for certain key ids.
var (
	wasm       = sync.OnceValues(build)
	faultyWasm = sync.OnceValues(func() ([]byte, error) { return faulty.Build(faulty.Extism) })
)

func build() ([]byte, error) {
	dir, err := os.MkdirTemp("", "keymoat-extism")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "plugin.wasm")
	command := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", file, ".")
	command.Dir = plugin
	command.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	if output, err := command.CombinedOutput(); err != nil {
		return nil, errors.New("building the plug-in: " + err.Error() + "\n" + string(output))
	}
	return os.ReadFile(file)
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
