package extismhost_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/extismhost"
	"github.com/keymoat/keymoat/plugin/policy"
)

func TestThePluginConforms(t *testing.T) {
	conformance.Run(t, newEvaluator(t, wasm, extismhost.WithInstances(1)))
}

func TestWithNothingLoadedEveryQuestionIsAnError(t *testing.T) {
	ctx, e := t.Context(), newEvaluator(t, wasm)
	d, err := e.Evaluate(ctx, request(key, "203.0.113.1"))
	require.ErrorIs(t, err, abi.StatusNotLoaded)
	require.Zero(t, d)
	d, err = e.Authorize(ctx, abi.HTTPRequest{Target: "/", SourceIP: netip.MustParseAddr("203.0.113.1")})
	require.ErrorIs(t, err, abi.StatusNotLoaded)
	require.Zero(t, d)
	_, err = e.Explain(ctx, request(key, "203.0.113.1"))
	require.ErrorIs(t, err, abi.StatusNotLoaded)
	out := []abi.Decision{matched("::/0")}
	require.ErrorIs(t, e.EvaluateBatch(ctx, []abi.Request{request(key, "203.0.113.1")}, out), abi.StatusNotLoaded)
	require.Zero(t, out[0])
	require.Empty(t, e.Revision())
}

func TestErrorsAreThoseOfEveryHost(t *testing.T) {
	ctx, e := t.Context(), newEvaluator(t, wasm, extismhost.WithInstances(1))
	native := host.NewNative()
	_, err := e.Load(ctx, []byte(`{"Accounts":[{}]}`))
	require.ErrorIs(t, err, abi.StatusInvalidDocument)
	var detailed *abi.Error
	require.ErrorAs(t, err, &detailed)
	require.NotEmpty(t, detailed.Report.Errors)

	revision, err := e.Load(ctx, []byte(alternating[0]))
	require.NoError(t, err)
	want, err := native.Load(ctx, []byte(alternating[0]))
	require.NoError(t, err)
	require.Equal(t, want, revision)
	require.Equal(t, want, e.Revision())

	image, _, err := policy.Compile([]byte(alternating[1]))
	require.NoError(t, err)
	image[len(image)-1] ^= 1
	_, err = e.Load(ctx, image)
	require.ErrorIs(t, err, abi.StatusInvalidImage)
	require.Equal(t, want, e.Revision(), "the former rules stay")

	good := request(key, "203.0.113.1")
	requests := []abi.Request{
		good,
		{SourceIP: good.SourceIP},
		{AccessKeyID: "a b", SourceIP: good.SourceIP},
		{AccessKeyID: "\xff", SourceIP: good.SourceIP},
		{AccessKeyID: `"`, SourceIP: good.SourceIP},
		{AccessKeyID: key},
		{AccessKeyID: key, SourceIP: netip.MustParseAddr("fe80::1%eth0")},
		{AccessKeyID: key, SourceIP: netip.MustParseAddr("::ffff:203.0.113.9")},
		{AccessKeyID: key, SourceIP: good.SourceIP, Service: "\"\\\n \u2028é", Action: "\x01"},
		{AccessKeyID: key, SourceIP: good.SourceIP, VPCID: string(make([]byte, 256))},
		request(key, "198.51.100.1"),
	}
	out, outNative := make([]abi.Decision, len(requests)), make([]abi.Decision, len(requests))
	failed, failedNative := e.EvaluateBatch(ctx, requests, out), native.EvaluateBatch(ctx, requests, outNative)
	require.Equal(t, outNative, out)
	require.Equal(t, failedNative, failed)
	for n, r := range requests {
		want, wantErr := native.Evaluate(ctx, r)
		got, err := e.Evaluate(ctx, r)
		require.Equal(t, want, got, "request %d", n)
		if wantErr == nil {
			require.NoError(t, err, "request %d", n)
			continue
		}
		var status abi.Status
		require.ErrorAs(t, wantErr, &status)
		require.ErrorIs(t, err, status, "request %d", n)
	}
	_, err = e.Evaluate(ctx, abi.Request{AccessKeyID: key, SourceIP: good.SourceIP, VPCID: "\xff"})
	require.ErrorIs(t, err, abi.StatusInvalidRequest, "JSON cannot hold it")
	require.ErrorIs(t, e.EvaluateBatch(ctx, requests, out[1:]), abi.StatusInvalidArgument)
}

func TestABatchLargerThanACrossingIsAnsweredInOrder(t *testing.T) {
	ctx, e := t.Context(), newEvaluator(t, wasm, extismhost.WithInstances(1))
	_, err := e.Load(ctx, []byte(alternating[0]))
	require.NoError(t, err)
	requests, out := make([]abi.Request, 2500), make([]abi.Decision, 2500)
	for n := range requests {
		requests[n] = request(key, []string{"203.0.113.1", "192.0.2.1"}[n%2])
	}
	requests[2100].AccessKeyID = ""
	err = e.EvaluateBatch(ctx, requests, out)
	require.Equal(t, &abi.BatchError{Items: []abi.BatchItem{{Index: 2100, Status: abi.StatusInvalidAccessKeyID}}}, err)
	for n := range out {
		require.Equal(t, map[bool]abi.Decision{true: matched("203.0.113.0/24"), false: notListed}[n%2 == 0 && n != 2100] == out[n], n != 2100, n)
	}
	require.NoError(t, e.EvaluateBatch(ctx, nil, nil))
}

func TestAfterCloseEveryCallSaysSo(t *testing.T) {
	ctx, e := t.Context(), newEvaluator(t, wasm)
	require.NoError(t, e.Close(ctx))
	_, err := e.Evaluate(ctx, request(key, "203.0.113.1"))
	require.ErrorIs(t, err, host.ErrClosed)
	_, err = e.Load(ctx, []byte(alternating[0]))
	require.ErrorIs(t, err, host.ErrClosed)
	_, err = e.Validate(ctx, []byte(alternating[0]))
	require.ErrorIs(t, err, host.ErrClosed)
}

func TestAModuleThatIsNoPluginIsRefused(t *testing.T) {
	empty := []byte("\x00asm\x01\x00\x00\x00")
	for _, module := range [][]byte{nil, []byte("no module"), empty} {
		_, err := extismhost.New(t.Context(), module)
		var guest *host.GuestError
		require.ErrorAs(t, err, &guest)
	}
	b, err := wasm()
	require.NoError(t, err)
	_, err = extismhost.New(t.Context(), b, extismhost.WithInstances(0))
	require.ErrorIs(t, err, abi.StatusInvalidArgument)
	_, err = extismhost.New(t.Context(), b, extismhost.WithTimeout(-1))
	require.ErrorIs(t, err, abi.StatusInvalidArgument)
}

// A caller reads the number of the loads that have returned before its call, and
// of those that have begun after it. If they are equal, one set was in force all
// the time, and any answer but its own is wrong; else that of either is right.
func TestAfterALoadReturnsNoCallSeesTheOldRules(t *testing.T) {
	const loads, callers = 40, 8
	ctx := context.Background()
	e := newEvaluator(t, wasm, extismhost.WithInstances(3))
	sources := []string{"203.0.113.1", "203.0.113.2", "198.51.100.1"}
	answers := [2][]abi.Decision{
		{matched("203.0.113.0/24"), matched("203.0.113.0/24"), notListed},
		{matched("203.0.113.1/32"), notListed, matched("198.51.100.1/32")},
	}
	_, err := e.Load(ctx, []byte(alternating[0]))
	require.NoError(t, err)

	var begun, returned atomic.Int64 // load n is of set n%2
	failed, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stop, certain := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	for caller := range callers {
		all.Go(func() {
			for n := caller; ; n++ {
				at := n % len(sources)
				r := request(key, sources[at])
				var d abi.Decision
				var err error
				before := returned.Load()
				switch n % 8 {
				case 0:
					out := make([]abi.Decision, 2)
					if err = e.EvaluateBatch(ctx, []abi.Request{r, r}, out); out[0] != out[1] {
						err = errors.New("a batch mixes two sets")
					}
					d = out[1]
				case 1:
					d, err = e.Authorize(ctx, abi.HTTPRequest{Target: "/?AccessKeyId=" + key, SourceIP: r.SourceIP})
				case 2:
					var trace abi.Trace
					trace, err = e.Explain(ctx, r)
					d = trace.Decision
				default:
					d, err = e.Evaluate(ctx, r)
				}
				after := begun.Load()
				old, now := answers[before%2][at], answers[after%2][at]
				if after > before+1 {
					old, now = answers[0][at], answers[1][at]
				}
				if err != nil || d != old && d != now {
					fail(fmt.Errorf("%s got %+v, %v between the loads %d and %d", sources[at], d, err, before, after))
					return
				}
				if before == after {
					select {
					case certain <- struct{}{}:
					case <-stop:
						return
					default:
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for load := int64(1); load <= loads && failed.Err() == nil; load++ {
		begun.Store(load)
		_, err := e.Load(ctx, []byte(alternating[load%2]))
		require.NoError(t, err)
		returned.Store(load)
		select {
		case <-certain: // a call from beginning to end between two loads
		case <-failed.Done():
		}
	}
	close(stop)
	all.Wait()
	require.NoError(t, context.Cause(failed))
}

func TestAfterAnyFaultTheNextCallIsRight(t *testing.T) {
	type call func(ctx context.Context, e *extismhost.Evaluator, keyID string) (any, error)
	for fault, of := range map[string]struct {
		timeout time.Duration
		tells   string
	}{
		"Panic":  {time.Minute, "panic: on purpose"},
		"Memory": {time.Minute, "out of memory"},
		"Exit":   {time.Minute, "it ended in the middle"},
		"Loop":   {time.Second / 2, context.DeadlineExceeded.Error()},
	} {
		for export, call := range map[string]call{
			"evaluate": func(ctx context.Context, e *extismhost.Evaluator, keyID string) (any, error) {
				return e.Evaluate(ctx, request(keyID, "203.0.113.1"))
			},
			"evaluate_batch": func(ctx context.Context, e *extismhost.Evaluator, keyID string) (any, error) {
				out := make([]abi.Decision, 2)
				err := e.EvaluateBatch(ctx, []abi.Request{request(key, "203.0.113.1"), request(keyID, "203.0.113.1")}, out)
				return [2]abi.Decision(out), err
			},
			"explain": func(ctx context.Context, e *extismhost.Evaluator, keyID string) (any, error) {
				return e.Explain(ctx, request(keyID, "203.0.113.1"))
			},
			"authorize": func(ctx context.Context, e *extismhost.Evaluator, keyID string) (any, error) {
				return e.Authorize(ctx, abi.HTTPRequest{Target: "/?AccessKeyId=" + keyID, SourceIP: netip.MustParseAddr("203.0.113.1")})
			},
			"validate": func(ctx context.Context, e *extismhost.Evaluator, keyID string) (any, error) {
				return e.Validate(ctx, []byte(`{"Accounts":[{"AccountId":"`+keyID+`"}]}`))
			},
			"compile": func(ctx context.Context, e *extismhost.Evaluator, keyID string) (any, error) {
				return e.Load(ctx, []byte(`{"Accounts":[{"AccountId":"`+keyID+`"}]}`))
			},
		} {
			t.Run(fault+" in "+export, func(t *testing.T) {
				t.Parallel()
				ctx := t.Context()
				e := newEvaluator(t, faultyWasm, extismhost.WithInstances(1), extismhost.WithMemoryLimit(64<<20), extismhost.WithTimeout(of.timeout))
				revision, err := inTime(func() (host.Revision, error) { return e.Load(ctx, []byte(alternating[0])) })
				require.NoError(t, err)

				answer, err := call(ctx, e, "LTAI5tExampleFault"+fault)
				require.Zero(t, answer)
				var trap *host.TrapError
				require.ErrorAs(t, err, &trap)
				require.Equal(t, export, trap.Export)
				require.ErrorIs(t, err, abi.StatusInternal)
				require.ErrorContains(t, err, of.tells)

				// A Go guest that trapped seems to work a few times: so should a
				// fresh one, and go on.
				for range 20 {
					d, err := inTime(func() (abi.Decision, error) { return e.Evaluate(ctx, request(key, "203.0.113.1")) })
					require.NoError(t, err)
					require.Equal(t, matched("203.0.113.0/24"), d)
				}
				require.Equal(t, revision, e.Revision())
				report, err := inTime(func() (abi.Report, error) { return e.Validate(ctx, []byte(alternating[0])) })
				require.NoError(t, err)
				require.True(t, report.Valid)
			})
		}
	}
}

func TestTrapsLeaveOtherCallersAlone(t *testing.T) {
	e := newEvaluator(t, faultyWasm, extismhost.WithInstances(3))
	_, err := e.Load(t.Context(), []byte(alternating[0]))
	require.NoError(t, err)
	stop := make(chan struct{})
	var all sync.WaitGroup
	var wrong atomic.Int64
	for range 4 {
		all.Go(func() {
			for {
				d, err := e.Evaluate(context.Background(), request(key, "203.0.113.1"))
				if err != nil || d != matched("203.0.113.0/24") {
					wrong.Add(1)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 20 {
		_, err := e.Evaluate(t.Context(), request("LTAI5tExampleFaultPanic", "203.0.113.1"))
		require.ErrorIs(t, err, abi.StatusInternal)
	}
	close(stop)
	all.Wait()
	require.Zero(t, wrong.Load())
}

func TestACallerWhoGivesUpCostsNoInstance(t *testing.T) {
	e := newEvaluator(t, faultyWasm, extismhost.WithInstances(1), extismhost.WithTimeout(time.Minute))
	_, err := e.Load(t.Context(), []byte(alternating[0]))
	require.NoError(t, err)
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		if d, err := e.Evaluate(cancelled, request(key, "203.0.113.1")); err != nil {
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, d)
		}
	}
	d, err := e.Evaluate(t.Context(), request(key, "203.0.113.1"))
	require.NoError(t, err)
	require.Equal(t, matched("203.0.113.0/24"), d)
}

func TestWhatDoesNotFitIsTooLarge(t *testing.T) {
	ctx, e := t.Context(), newEvaluator(t, wasm, extismhost.WithInstances(1), extismhost.WithMemoryLimit(16<<20))
	_, err := e.Load(ctx, []byte(alternating[0]))
	require.NoError(t, err)
	spaces := make([]byte, 16<<20)
	for n := range spaces {
		spaces[n] = ' '
	}
	for _, size := range []int{14 << 20, 16 << 20} {
		_, err = e.Load(ctx, append(spaces[:size:size], alternating[1]...))
		require.ErrorIs(t, err, abi.StatusTooLarge)
	}
	_, err = e.Authorize(ctx, abi.HTTPRequest{Target: string(spaces) + " ", SourceIP: netip.MustParseAddr("203.0.113.1")})
	require.ErrorIs(t, err, abi.StatusTooLarge)
	d, err := e.Evaluate(ctx, request(key, "203.0.113.1"))
	require.NoError(t, err)
	require.Equal(t, matched("203.0.113.0/24"), d)
}

func TestAnInstanceDoesNotKeepTheMemoryOfALargeInput(t *testing.T) {
	ctx, e := t.Context(), newEvaluator(t, wasm, extismhost.WithInstances(1))
	_, err := e.Load(ctx, []byte(alternating[0]))
	require.NoError(t, err)
	for _, size := range []int{1 << 20, 8 << 20} {
		_, err := e.Authorize(ctx, abi.HTTPRequest{Target: "/" + strings.Repeat("x", size), SourceIP: netip.MustParseAddr("203.0.113.1")})
		require.NoError(t, err)
		require.Equal(t, size < 4<<20, e.Kept() >= size, "%d bytes", size)
	}
	d, err := e.Evaluate(ctx, request(key, "203.0.113.1"))
	require.NoError(t, err)
	require.Equal(t, matched("203.0.113.0/24"), d)
}

// The plug-in alone, as a program without this package has it.
func TestRulesMayStandInTheManifest(t *testing.T) {
	b, err := wasm()
	require.NoError(t, err)
	for _, c := range []struct{ policySet, answer, tells string }{
		{alternating[0], `{"Effect":"Allow","Reason":"Matched",`, ""},
		{`{"Accounts":[{}]}`, "", `{"Error":{"Code":"InvalidDocument",`},
		{"", "", `{"Error":{"Code":"NotLoaded",`},
	} {
		p, err := extism.NewPlugin(t.Context(), extism.Manifest{
			Wasm: []extism.Wasm{extism.WasmData{Data: b}}, Config: map[string]string{"policy_set": c.policySet},
		}, extism.PluginConfig{EnableWasi: true, RuntimeConfig: extismhost.Runtime}, nil)
		require.NoError(t, err)
		rc, answer, err := p.Call("evaluate", []byte(`{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}`))
		if c.tells == "" {
			require.NoError(t, err)
			require.Zero(t, rc)
			require.Contains(t, string(answer), c.answer)
		} else {
			require.ErrorContains(t, err, c.tells)
			require.NotZero(t, rc)
			require.Empty(t, answer)
		}
		require.NoError(t, p.Close(t.Context()))
	}
}
