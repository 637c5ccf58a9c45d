package host

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	"github.com/keymoat/keymoat/abi"
)

// guestImports is all that the plugin, built by Go 1.26, takes from the outside.
// Hosts that are not in this folder provide these functions, some by hand, so
// that a release of Go which needs another is not to be missed.
var guestImports = []string{
	"args_get", "args_sizes_get", "clock_time_get", "environ_get", "environ_sizes_get",
	"fd_write", "poll_oneoff", "proc_exit", "random_get", "sched_yield",
}

func TestTheEmbeddedPluginImportsWASIAlone(t *testing.T) {
	wasm, err := Guest()
	require.NoError(t, err)
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	module, err := r.CompileModule(t.Context(), wasm)
	require.NoError(t, err)

	var imports []string
	for _, f := range module.ImportedFunctions() {
		from, name, _ := f.Import()
		require.Equal(t, abi.ImportModule, from, name)
		imports = append(imports, name)
	}
	slices.Sort(imports)
	require.Equal(t, guestImports, imports)
	require.Empty(t, module.ImportedMemories())
}

func TestTheEmbeddedPluginExportsTheInterfaceAndNoMore(t *testing.T) {
	wasm, err := Guest()
	require.NoError(t, err)
	r := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer r.Close(t.Context())
	module, err := r.CompileModule(t.Context(), wasm)
	require.NoError(t, err)
	require.NoError(t, checkGuest(module))
	require.Equal(t, slices.Sorted(maps.Keys(abi.Exports())), slices.Sorted(maps.Keys(module.ExportedFunctions())))
}

func TestTheEmbeddedPluginIsOfThisRelease(t *testing.T) {
	e := newEngine(t, WithInstances(1))
	require.NoError(t, e.workshop.call(t.Context(), e.workshop.functions[abi.ExportInfo], abi.ExportInfo))
	info, err := e.workshop.resultBytes(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(info), `"Release":"`+abi.Release+`"`)
}

func newWithGuest(t *testing.T, wasm []byte, opts ...Option) (*Engine, error) {
	t.Helper()
	e, err := New(t.Context(), append([]Option{WithGuest(wasm), WithInstances(1)}, opts...)...)
	if err == nil {
		t.Cleanup(func() { require.NoError(t, e.Close(context.Background())) })
	}
	return e, err
}

func TestAGuestThatPassesForThePluginIsTaken(t *testing.T) {
	e, err := newWithGuest(t, guestStandIn().bytes())
	require.NoError(t, err)
	_, err = e.Load(t.Context(), small().image)
	require.NoError(t, err)
	d, err := e.Evaluate(t.Context(), small().requests[0])
	require.NoError(t, err)
	require.Equal(t, abi.ReasonNoActivePolicy, d.Reason)
}

func TestAnUnusableGuestIsRefusedBeforeItServes(t *testing.T) {
	tests := []struct {
		name    string
		spoil   func(m *module)
		problem string // of the message
	}{
		{"it imports what is not WASI",
			func(m *module) { m.imports = [][2]string{{"env", "open_socket"}} },
			"it imports env.open_socket; only wasi_snapshot_preview1 may be imported from"},
		{"it imports what WASI does not have",
			func(m *module) { m.imports = [][2]string{{abi.ImportModule, "launch"}} },
			`it does not start: "launch" is not exported in module "wasi_snapshot_preview1"`},
		{"it has no memory to write requests to",
			func(m *module) { m.memory = "" },
			`it does not export its memory as "memory"`},
		{"its memory has another name",
			func(m *module) { m.memory = "mem" },
			`it does not export its memory as "memory"`},
		{"evaluate returns an i32",
			func(m *module) {
				m.functions[abi.ExportEvaluate] = function{abi.Signature{Params: []abi.ValueType{abi.I32}, Results: []abi.ValueType{abi.I32}}, constant(abi.I32, 0)}
			},
			"it exports keymoat_evaluate with the signature [i32] -> [i32], not [i32] -> [i64]"},
		{"load takes one parameter",
			func(m *module) {
				m.functions[abi.ExportLoad] = function{abi.Signature{Params: []abi.ValueType{abi.I32}, Results: []abi.ValueType{abi.I32}}, constant(abi.I32, 0)}
			},
			"it exports keymoat_load with the signature [i32] -> [i32], not [i32 i32] -> [i32]"},
		{"it is of the next major version",
			func(m *module) { m.answer(abi.ExportABIVersion, constant(abi.I32, 2<<16)...) },
			"its interface has version 2.0; this host needs 1.0, or a later minor version of it"},
		{"it is of no version",
			func(m *module) { m.answer(abi.ExportABIVersion, constant(abi.I32, 0)...) },
			"its interface has version 0.0; this host needs 1.0"},
		{"it traps when it starts",
			func(m *module) { m.answer(abi.ExportInitialize, unreachable) },
			"it does not start: "},
		{"it traps when asked for its version",
			func(m *module) { m.answer(abi.ExportABIVersion, unreachable) },
			"it trapped when asked for its version: "},
		{"it traps when asked for its request buffer",
			func(m *module) { m.answer(abi.ExportRequestBuffer, unreachable) },
			"it trapped when asked for its request buffer: "},
		{"its request buffer begins outside its memory",
			func(m *module) { m.answer(abi.ExportRequestBuffer, constant(abi.I32, 4<<16)...) },
			"its request buffer lies outside its memory"},
		{"its request buffer ends outside its memory",
			func(m *module) {
				m.answer(abi.ExportRequestBuffer, constant(abi.I32, 4<<16-abi.RequestBufferSize+1)...)
			},
			"its request buffer lies outside its memory"},
		{"it needs more memory than it may have",
			func(m *module) { m.pages = 1 << 14 },
			"it needs more memory than WithMemoryLimit gives it, 67108864 bytes: section memory: min 16384 pages (1 Gi) over limit of 1024 pages (64 Mi)"},
	}
	for name := range abi.Exports() {
		tests = append(tests, struct {
			name    string
			spoil   func(m *module)
			problem string
		}{"it lacks " + name, func(m *module) { delete(m.functions, name) }, "it does not export " + name + "; is it built for another version"})
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := guestStandIn()
			test.spoil(&m)
			_, err := newWithGuest(t, m.bytes(), WithMemoryLimit(64<<20))
			var guest *GuestError
			require.ErrorAs(t, err, &guest)
			require.ErrorContains(t, err, "keymoat: unusable guest: "+test.problem)
		})
	}
}

func TestALaterMinorVersionOfTheInterfaceIsTaken(t *testing.T) {
	m := guestStandIn()
	m.answer(abi.ExportABIVersion, constant(abi.I32, int64(abi.Version)+1)...)
	_, err := newWithGuest(t, m.bytes())
	require.NoError(t, err)
}

func TestWhatIsNoModuleIsRefused(t *testing.T) {
	whole := guestStandIn().bytes()
	for name, wasm := range map[string][]byte{
		"nothing":             {},
		"text":                []byte("(module)"),
		"a module cut off":    whole[:len(whole)/2],
		"a module of wasm 2":  append([]byte("\x00asm\x02"), whole[5:]...),
		"the plugin, gzipped": embeddedGuest,
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newWithGuest(t, wasm)
			var guest *GuestError
			require.ErrorAs(t, err, &guest)
			require.ErrorContains(t, err, "it does not compile: ")
		})
	}
}

// A guest may pass all checks and turn out broken when it serves. Its instance
// is replaced, and the next caller finds one that works as far as any does.
func TestABrokenGuestIsAnErrorAndNeverADecision(t *testing.T) {
	const outside = 1 << 20 // the stand-in has 256 KiB
	ctx := context.Background()
	request := abi.Request{AccessKeyID: "LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")}
	evaluate := func(e *Engine) (any, error) { return e.Evaluate(ctx, request) }
	batch := func(e *Engine) (any, error) {
		out := []abi.Decision{{Effect: abi.EffectAllow, Reason: abi.ReasonMatched}}
		err := e.EvaluateBatch(ctx, []abi.Request{request}, out)
		return out[0], err
	}
	explain := func(e *Engine) (any, error) { return e.Explain(ctx, request) }
	authorize := func(e *Engine) (any, error) {
		return e.Authorize(ctx, abi.HTTPRequest{Target: "/?AccessKeyId=" + request.AccessKeyID, SourceIP: request.SourceIP})
	}
	validate := func(e *Engine) (any, error) { return e.Validate(ctx, []byte("{}")) }
	compile := func(e *Engine) (any, error) { return e.Load(ctx, []byte("{}")) }

	tests := []struct {
		name   string
		export string
		code   []byte
		call   func(*Engine) (any, error)
		want   string
	}{
		{"evaluate traps", abi.ExportEvaluate, []byte{unreachable}, evaluate, "failed in keymoat_evaluate: wasm error: unreachable"},
		{"authorize traps", abi.ExportAuthorize, []byte{unreachable}, authorize, "failed in keymoat_authorize: wasm error: unreachable"},
		{"explain traps", abi.ExportExplain, []byte{unreachable}, explain, "failed in keymoat_explain: wasm error: unreachable"},
		{"a batch traps", abi.ExportEvaluateBatch, []byte{unreachable}, batch, "failed in keymoat_evaluate_batch: wasm error: unreachable"},
		{"validate traps", abi.ExportValidate, []byte{unreachable}, validate, "failed in keymoat_validate: wasm error: unreachable"},
		{"compile traps", abi.ExportCompile, []byte{unreachable}, compile, "failed in keymoat_compile: wasm error: unreachable"},
		{"free traps", abi.ExportFree, []byte{unreachable}, explain, "failed in keymoat_free: wasm error: unreachable"},
		{"a result lies outside memory", abi.ExportResult, constant(abi.I64, outside<<32|8), explain, "failed in keymoat_result: it names memory outside its own"},
		{"a batch's result lies outside memory", abi.ExportResult, constant(abi.I64, outside<<32|8), batch, "failed in keymoat_result: it names memory outside its own"},
		{"a result ends outside memory", abi.ExportResult, constant(abi.I64, (4<<16-8)<<32|9), explain, "failed in keymoat_result: it names memory outside its own"},
		{"a result is as long as can be", abi.ExportResult, constant(abi.I64, -1), validate, "failed in keymoat_result: it names memory outside its own"},
		{"a trace is no JSON", abi.ExportResult, constant(abi.I64, 8<<32|8), explain, "failed in keymoat_explain: invalid character"},
		{"a report is no JSON", abi.ExportResult, constant(abi.I64, 8<<32|8), validate, "failed in keymoat_validate: invalid character"},
		{"a batch has too few answers", abi.ExportResult, constant(abi.I64, 0), batch, "failed in keymoat_evaluate_batch: its answer has the wrong size"},
		{"a batch has too many answers", abi.ExportResult, constant(abi.I64, 8<<32|16), batch, "failed in keymoat_evaluate_batch: its answer has the wrong size"},
		{"a buffer lies outside memory", abi.ExportAlloc, constant(abi.I32, outside), explain, "failed in keymoat_alloc: it names memory outside its own"},
		{"a batch's buffer lies outside memory", abi.ExportAlloc, constant(abi.I32, outside), batch, "failed in keymoat_alloc: it names memory outside its own"},
		{"no buffer is given for a batch", abi.ExportAlloc, constant(abi.I32, 0), batch, abi.StatusTooLarge.Error()},
		{"no buffer is given for a document", abi.ExportAlloc, constant(abi.I32, 0), validate, "2 bytes are too many for an instance of 1073741824 bytes"},
		{"a word has an effect that there is not", abi.ExportEvaluate, constant(abi.I64, 2<<8|12<<16), evaluate, abi.StatusInternal.Error()},
		{"a word has no reason", abi.ExportEvaluate, constant(abi.I64, 1<<8), evaluate, abi.StatusInternal.Error()},
		{"a word has a prefix that no address has", abi.ExportEvaluate, constant(abi.I64, 1<<56|33<<48|12<<16|1<<8), evaluate, abi.StatusInternal.Error()},
		{"a word has a status that there is not", abi.ExportEvaluate, constant(abi.I64, 200), evaluate, "Status(200)"},
		{"a word is all ones", abi.ExportAuthorize, constant(abi.I64, -1), authorize, "Status(255)"},
		{"a batch has a status and no answers", abi.ExportEvaluateBatch, constant(abi.I32, int64(abi.StatusInternal)), batch, abi.StatusInternal.Error()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			e, err := newWithGuest(t, guestStandIn().bytes())
			require.NoError(t, err)
			_, err = e.Load(ctx, small().image)
			require.NoError(t, err)

			m := guestStandIn()
			m.answer(test.export, test.code...)
			broken, err := e.runtime.CompileModule(ctx, m.bytes())
			require.NoError(t, err)
			whole := e.guest
			e.guest = broken
			workshop, err := e.instantiate(ctx)
			require.NoError(t, err)
			serving, err := e.instantiate(ctx)
			require.NoError(t, err)
			e.guest = whole
			e.workshop, e.serving.Current().Instances[0] = workshop, serving

			answer, err := test.call(e)
			require.ErrorContains(t, err, test.want)
			require.Zero(t, answer, "beside an error stands no answer")
			var trap *TrapError
			if errors.As(err, &trap) {
				require.ErrorIs(t, err, abi.StatusInternal)
				replaced := workshop.module.IsClosed() != serving.module.IsClosed()
				require.True(t, replaced, "the instance that failed, and no other, is gone")
				d, err := e.Evaluate(ctx, request)
				require.NoError(t, err)
				require.Equal(t, abi.ReasonNoActivePolicy, d.Reason)
			}
		})
	}
}

func TestADocumentThatTheGuestHasNoBufferForLeavesTheRules(t *testing.T) {
	const most = 2000
	m := guestStandIn()
	m.answer(abi.ExportAlloc, slices.Concat(
		[]byte{localGet, 0}, constant(abi.I32, most), []byte{i32GtU, ifTrue, noResult}, constant(abi.I32, 0), []byte{returnNow, end},
		m.functions[abi.ExportAlloc].code)...)
	e, err := newWithGuest(t, m.bytes())
	require.NoError(t, err)
	require.Less(t, len(small().image), most)
	revision, err := e.Load(t.Context(), small().image)
	require.NoError(t, err)

	require.Greater(t, len(hundred().image), most)
	_, err = e.Load(t.Context(), hundred().image)
	require.ErrorIs(t, err, abi.StatusTooLarge)
	require.ErrorContains(t, err, "raise the limit (WithMemoryLimit)")
	require.Equal(t, revision, e.Revision())
	_, err = e.Evaluate(t.Context(), small().requests[0])
	require.NoError(t, err)
}

func TestAnInstanceThatGrowsIsReplacedWithoutAnError(t *testing.T) {
	const calls, pages = 100, 160 // 10 MiB more with each
	m := guestStandIn()
	m.answer(abi.ExportAuthorize, slices.Concat(
		constant(abi.I32, pages), []byte{memoryGrow, 0, drop}, m.functions[abi.ExportAuthorize].code)...)
	var log bytes.Buffer
	e, err := newWithGuest(t, m.bytes(), WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	_, err = e.Load(t.Context(), small().image)
	require.NoError(t, err)
	for range calls {
		d, err := e.Authorize(t.Context(), abi.HTTPRequest{Target: "/?AccessKeyId=LTAI5tExample0000000001", SourceIP: netip.MustParseAddr("203.0.113.1")})
		require.NoError(t, err)
		require.Equal(t, abi.ReasonNoActivePolicy, d.Reason)
		if i := e.serving.Current().Instances[0]; i != nil {
			require.LessOrEqual(t, i.memory.Size(), uint32(33<<20))
		}
	}
	require.Equal(t, calls/4, strings.Count(log.String(), "an instance has grown large"))
	require.NotContains(t, log.String(), "LTAI5t")
}
