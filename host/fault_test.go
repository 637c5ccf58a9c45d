package host

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/internal/faulty"
)

var faultyGuest = sync.OnceValues(func() ([]byte, error) { return faulty.Build(faulty.Core) })

func newFaultyEngine(t *testing.T, opts ...Option) *Engine {
	t.Helper()
	wasm, err := faultyGuest()
	require.NoError(t, err)
	return newEngine(t, append([]Option{WithGuest(wasm), WithMemoryLimit(32 << 20)}, opts...)...)
}

// faults are the ways to fail, with what the errors tell about each.
var faults = []struct {
	name, keyID, tells string
	outOfMemory        bool
}{
	{"a panic", "LTAI5tExampleFaultPanic", "panic: on purpose", false},
	{"an index out of range", "LTAI5tExampleFaultIndex", "panic: runtime error: index out of range", false},
	{"hoarding memory", "LTAI5tExampleFaultMemory", "runtime: out of memory", true},
	{"endless recursion", "LTAI5tExampleFaultStack", "runtime: out of memory", true},
	{"a deadlock", "LTAI5tExampleFaultDeadlock", "all goroutines are asleep", false},
	{"an exit that claims success", "LTAI5tExampleFaultExit", "exit_code(0)", false},
}

func request(keyID string) abi.Request {
	return abi.Request{AccessKeyID: keyID, SourceIP: netip.MustParseAddr("203.0.113.1")}
}

// onlyAddress is a policy set that allows small()'s account one address.
const onlyAddress = `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.1"]}]}`

var matched = abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched, Level: abi.LevelAccount,
	Network: abi.NetworkPublic, Entry: netip.MustParsePrefix("203.0.113.1/32")}

func TestAfterAnyFaultTheNextCallIsRight(t *testing.T) {
	ctx := t.Context()
	var log bytes.Buffer
	e := newFaultyEngine(t, WithInstances(1), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	revision, err := e.Load(ctx, []byte(onlyAddress))
	require.NoError(t, err)

	calls := map[string]func(keyID string) (any, error){
		abi.ExportEvaluate: func(keyID string) (any, error) { return e.Evaluate(ctx, request(keyID)) },
		abi.ExportEvaluateBatch: func(keyID string) (any, error) {
			out := []abi.Decision{matched, matched}
			err := e.EvaluateBatch(ctx, []abi.Request{request("LTAI5tExample0000000001"), request(keyID)}, out)
			return [2]abi.Decision(out), err
		},
		abi.ExportExplain: func(keyID string) (any, error) { return e.Explain(ctx, request(keyID)) },
		abi.ExportAuthorize: func(keyID string) (any, error) {
			return e.Authorize(ctx, abi.HTTPRequest{Target: "/?AccessKeyId=" + keyID, SourceIP: request(keyID).SourceIP})
		},
		abi.ExportValidate: func(keyID string) (any, error) {
			return e.Validate(ctx, []byte(`{"Accounts":[{"AccountId":"`+keyID+`"}]}`))
		},
		abi.ExportCompile: func(keyID string) (any, error) {
			return e.Load(ctx, []byte(`{"Accounts":[{"AccountId":"`+keyID+`"}]}`))
		},
	}
	for _, fault := range faults {
		for export, call := range calls {
			t.Run(fault.name+" in "+export, func(t *testing.T) {
				log.Reset()
				answer, err := call(fault.keyID)
				require.Zero(t, answer)
				if fault.outOfMemory && (export == abi.ExportCompile || export == abi.ExportValidate) {
					require.ErrorIs(t, err, abi.StatusTooLarge)
				} else {
					var trap *TrapError
					require.ErrorAs(t, err, &trap)
					require.Equal(t, export, trap.Export)
					require.ErrorIs(t, err, abi.StatusInternal)
					require.Contains(t, log.String(), "an instance trapped")
				}
				require.NotContains(t, log.String(), fault.keyID)

				// A Go guest that trapped seems to work a few times: so should a
				// fresh one, and go on.
				for range 100 {
					d, err := e.Evaluate(ctx, request("LTAI5tExample0000000001"))
					require.NoError(t, err)
					require.Equal(t, matched, d)
				}
				require.Equal(t, revision, e.Revision())
				report, err := e.Validate(ctx, []byte(onlyAddress))
				require.NoError(t, err)
				require.True(t, report.Valid)
			})
		}
	}
}

func TestATrapTellsWhatTheGuestSaidLast(t *testing.T) {
	e := newFaultyEngine(t, WithInstances(1))
	_, err := e.Load(t.Context(), []byte(onlyAddress))
	require.NoError(t, err)
	for _, fault := range faults {
		t.Run(fault.name, func(t *testing.T) {
			_, err := e.Evaluate(t.Context(), request(fault.keyID))
			require.ErrorContains(t, err, "keymoat: the guest failed in keymoat_evaluate: ")
			require.ErrorContains(t, err, fault.tells)
		})
	}
}

func TestAnImageThatTrapsTheGuestLeavesTheRules(t *testing.T) {
	e := newFaultyEngine(t)
	native := NewNative()
	revision, err := e.Load(t.Context(), []byte(onlyAddress))
	require.NoError(t, err)
	_, err = native.Load(t.Context(), []byte(`{"Accounts":[{"AccountId":"LTAI5tExampleFaultPanic"}]}`))
	require.NoError(t, err)
	image := imageOf(t, `{"Accounts":[{"AccountId":"LTAI5tExampleFaultPanic"}]}`)

	_, err = e.Load(t.Context(), image)
	var trap *TrapError
	require.ErrorAs(t, err, &trap)
	require.Equal(t, abi.ExportLoad, trap.Export)
	require.Equal(t, revision, e.Revision())
	d, err := e.Evaluate(t.Context(), request("LTAI5tExample0000000001"))
	require.NoError(t, err)
	require.Equal(t, matched, d)
}

func TestTrapsLeaveOtherCallersAndTheMemoryAlone(t *testing.T) {
	const traps, callers = 200, 8
	e := newFaultyEngine(t, WithInstances(3))
	_, err := e.Load(t.Context(), []byte(onlyAddress))
	require.NoError(t, err)

	trap := func(times int) {
		for range times {
			_, err := e.Evaluate(t.Context(), request("LTAI5tExampleFaultPanic"))
			require.ErrorIs(t, err, abi.StatusInternal)
		}
	}
	trap(10)
	before, spaceBefore := heap(), addressSpace(t)

	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	var failure onceError
	for range callers {
		all.Go(func() {
			for ctx.Err() == nil {
				d, err := e.Evaluate(context.Background(), request("LTAI5tExample0000000001"))
				if err != nil || d != matched {
					failure.set(errors.Join(err, errors.New("a bystander got another answer")))
					return
				}
			}
		})
	}
	trap(traps)
	stop()
	all.Wait()
	require.NoError(t, failure.err)

	// 200 instances that stay would be half a gigabyte.
	const little = 16 << 20
	require.Less(t, heap(), before+little)
	// Where their memory is not from the heap, they would hold 200 times the limit.
	require.LessOrEqual(t, addressSpace(t), spaceBefore+traps*(32<<20)/10)
}

// addressSpace is how much of it this process has, in bytes.
func addressSpace(t *testing.T) uint64 {
	t.Helper()
	if runtime.GOOS != "linux" {
		return 0
	}
	statm, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, _, _ := strings.Cut(string(statm), " ")
	n, err := strconv.ParseUint(pages, 10, 64)
	require.NoError(t, err)
	return n * uint64(os.Getpagesize())
}

type onceError struct {
	once sync.Once
	err  error
}

func (e *onceError) set(err error) { e.once.Do(func() { e.err = err }) }

func heap() uint64 {
	runtime.GC()
	runtime.GC() // what finalizers have let go
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestAnInstanceThatCannotBeReplacedIsTriedAgain(t *testing.T) {
	ctx := t.Context()
	var log bytes.Buffer
	e := newFaultyEngine(t, WithInstances(1), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	_, err := e.Load(ctx, []byte(onlyAddress))
	require.NoError(t, err)

	limit := e.options.memoryLimit
	e.options.memoryLimit = 1 // no image fits any more
	_, err = e.Evaluate(ctx, request("LTAI5tExampleFaultPanic"))
	require.ErrorIs(t, err, abi.StatusInternal)
	require.Contains(t, log.String(), "cannot be replaced yet")
	for range 3 {
		d, err := e.Evaluate(ctx, request("LTAI5tExample0000000001"))
		require.ErrorIs(t, err, abi.StatusTooLarge)
		require.Zero(t, d)
	}

	e.options.memoryLimit = limit
	d, err := e.Evaluate(ctx, request("LTAI5tExample0000000001"))
	require.NoError(t, err)
	require.Equal(t, matched, d)
}
