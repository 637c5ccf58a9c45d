package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// Envoy has to provide what the filter imports, or the filter does not load. A
// new release of Go, or a new callback, has to show here.
func TestTheImportsAndExportsAreThese(t *testing.T) {
	ctx := context.Background()
	runtime := wazero.NewRuntime(ctx)
	defer runtime.Close(ctx)
	compiled := compile(t, ctx, runtime)
	var imports, exports []string
	for _, f := range compiled.ImportedFunctions() {
		module, name, _ := f.Import()
		imports = append(imports, module+"."+name)
	}
	for name := range compiled.ExportedFunctions() {
		exports = append(exports, name)
	}
	slices.Sort(imports)
	slices.Sort(exports)
	require.Equal(t, []string{
		"env.proxy_define_metric",
		"env.proxy_get_buffer_bytes",
		"env.proxy_get_current_time_nanoseconds",
		"env.proxy_get_header_map_pairs",
		"env.proxy_get_log_level",
		"env.proxy_get_property",
		"env.proxy_increment_metric",
		"env.proxy_log",
		"env.proxy_remove_header_map_value",
		"env.proxy_send_local_response",
		"env.proxy_set_effective_context",
		"env.proxy_set_tick_period_milliseconds",
		"wasi_snapshot_preview1.args_get",
		"wasi_snapshot_preview1.args_sizes_get",
		"wasi_snapshot_preview1.clock_time_get",
		"wasi_snapshot_preview1.environ_get",
		"wasi_snapshot_preview1.environ_sizes_get",
		"wasi_snapshot_preview1.fd_write",
		"wasi_snapshot_preview1.poll_oneoff",
		"wasi_snapshot_preview1.proc_exit",
		"wasi_snapshot_preview1.random_get",
		"wasi_snapshot_preview1.sched_yield",
	}, imports)
	require.Equal(t, []string{
		"_initialize",
		"proxy_abi_version_0_2_1",
		"proxy_on_configure",
		"proxy_on_context_create",
		"proxy_on_memory_allocate",
		"proxy_on_request_headers",
		"proxy_on_tick",
	}, exports)
}

// The same bytes that Envoy runs, in a sandbox that counts the calls and can
// see how much memory the filter takes.
func TestTheBuiltFilterTakesTwoCallsARequestAndItsMemoryDoesNotGrow(t *testing.T) {
	ctx := context.Background()
	host := &guestHost{preparedHost: newPreparedHost(t), calls: map[string]int{}}
	call := host.start(t, ctx)

	send := func(from, n uint64) {
		for stream := from; stream < from+n; stream++ {
			call("proxy_on_context_create", stream, 1)
			require.Zero(t, call("proxy_on_request_headers", stream, 12, 1), "refused")
		}
	}
	send(2, 1000) // to let everything that grows once grow
	clear(host.calls)
	memory := host.module.Memory().Size()
	const requests = 50_000
	send(2000, requests)
	require.Equal(t, map[string]int{"proxy_get_header_map_pairs": requests, "proxy_get_property": requests}, host.calls)
	require.Equal(t, memory, host.module.Memory().Size())

	call("proxy_on_tick", 1)
	require.Equal(t, requests+1000, host.counted)
}

func TestTheBuiltFilterReloadsAThousandTimesInBoundedMemory(t *testing.T) {
	ctx := context.Background()
	host := &guestHost{preparedHost: newPreparedHost(t), calls: map[string]int{}}
	call := host.start(t, ctx)
	reload := func(context uint64) {
		call("proxy_on_context_create", context, 0)
		require.Equal(t, uint64(1), call("proxy_on_configure", context, uint64(len(host.config))))
		host.alive = context
	}
	host.config = configuration()
	for context := uint64(2); context < 100; context++ {
		reload(context)
	}
	memory := host.module.Memory().Size()
	for context := uint64(100); context < 1000; context++ {
		reload(context)
	}
	require.Equal(t, memory, host.module.Memory().Size())
}

// What the filter itself takes of a request inside its sandbox. Envoy's part is
// measured by conformance/envoybench.
func BenchmarkAllowedRequestOfTheBuiltFilter(b *testing.B) {
	host := &guestHost{preparedHost: newPreparedHost(b), calls: map[string]int{}}
	call := host.start(b, context.Background())
	stream := uint64(1)
	for b.Loop() {
		stream++
		call("proxy_on_context_create", stream, 1)
		if call("proxy_on_request_headers", stream, 12, 1) != 0 {
			b.Fatal("refused")
		}
	}
}

// guestHost is preparedHost behind the imports of the built filter.
type guestHost struct {
	*preparedHost
	module  api.Module
	calls   map[string]int
	counted int
	alive   uint64 // the only plugin that is still there
}

// start starts the filter, configured, and returns a function that calls its exports.
func (h *guestHost) start(t testing.TB, ctx context.Context) (call func(name string, args ...uint64) uint64) {
	runtime := wazero.NewRuntime(ctx)
	t.Cleanup(func() { runtime.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, runtime)
	env := runtime.NewHostModuleBuilder("env")
	export := func(name string, params int, f func(m api.Module, args []uint64) uint32) {
		types := make([]api.ValueType, params)
		for i := range types {
			types[i] = api.ValueTypeI32
		}
		if name == "proxy_increment_metric" {
			types[1] = api.ValueTypeI64
		}
		env.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, m api.Module, stack []uint64) {
			h.calls[name]++
			stack[0] = uint64(f(m, stack))
		}), types, []api.ValueType{api.ValueTypeI32}).Export(name)
	}
	answer := func(m api.Module, b []byte, data, length uint64) uint32 {
		result, err := m.ExportedFunction("proxy_on_memory_allocate").Call(ctx, uint64(len(b)))
		require.NoError(t, err)
		require.True(t, m.Memory().Write(uint32(result[0]), b))
		m.Memory().WriteUint32Le(uint32(data), uint32(result[0]))
		m.Memory().WriteUint32Le(uint32(length), uint32(len(b)))
		return 0
	}
	nothing := func(api.Module, []uint64) uint32 { return 0 }
	export("proxy_log", 3, func(m api.Module, args []uint64) uint32 {
		b, _ := m.Memory().Read(uint32(args[1]), uint32(args[2]))
		h.lines = append(h.lines[:0], string(b))
		return 0
	})
	export("proxy_get_log_level", 1, func(m api.Module, args []uint64) uint32 {
		m.Memory().WriteUint32Le(uint32(args[0]), uint32(levelInfo))
		return 0
	})
	export("proxy_get_current_time_nanoseconds", 1, nothing)
	export("proxy_get_buffer_bytes", 5, func(m api.Module, args []uint64) uint32 {
		return answer(m, []byte(h.config), args[3], args[4])
	})
	export("proxy_get_header_map_pairs", 3, func(m api.Module, args []uint64) uint32 {
		b, _ := h.requestHeaders()
		return answer(m, b, args[1], args[2])
	})
	export("proxy_get_property", 4, func(m api.Module, args []uint64) uint32 {
		b, _ := h.property("")
		return answer(m, b, args[2], args[3])
	})
	export("proxy_remove_header_map_value", 3, nothing)
	export("proxy_send_local_response", 8, nothing)
	export("proxy_define_metric", 4, func(m api.Module, args []uint64) uint32 {
		id := h.counter("")
		m.Memory().WriteUint32Le(uint32(args[3]), id)
		return 0
	})
	export("proxy_increment_metric", 2, func(_ api.Module, args []uint64) uint32 {
		h.counted += int(args[1])
		return 0
	})
	export("proxy_set_tick_period_milliseconds", 1, nothing)
	export("proxy_set_effective_context", 1, func(_ api.Module, args []uint64) uint32 {
		if h.alive != 0 && args[0] != h.alive {
			return 2 // there is no such context
		}
		return 0
	})
	_, err := env.Instantiate(ctx)
	require.NoError(t, err)
	h.module, err = runtime.InstantiateModule(ctx, compile(t, ctx, runtime), wazero.NewModuleConfig().WithStartFunctions("_initialize"))
	require.NoError(t, err)
	call = func(name string, args ...uint64) uint64 {
		results, err := h.module.ExportedFunction(name).Call(ctx, args...)
		require.NoError(t, err, "%s: %s", name, h.lines)
		if len(results) == 0 {
			return 0
		}
		return results[0]
	}
	call("proxy_on_context_create", 1, 0)
	require.Equal(t, uint64(1), call("proxy_on_configure", 1, uint64(len(h.config))), h.lines)
	return call
}

func compile(t testing.TB, ctx context.Context, runtime wazero.Runtime) wazero.CompiledModule {
	file := filepath.Join(t.TempDir(), "keymoat-envoy.wasm")
	require.NoError(t, envoytest.BuildFilter(ctx, file))
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	compiled, err := runtime.CompileModule(ctx, b)
	require.NoError(t, err)
	return compiled
}
