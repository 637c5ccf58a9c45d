package main

import (
	"unsafe"
)

// The exports that Envoy calls. Those that the filter does without are left
// out, since each would cost every request a call: a stream's end, the body,
// the response.

var theFilter = filter{host: envoy{}}

//go:wasmexport proxy_abi_version_0_2_1
func exportABIVersion() {}

//go:wasmexport proxy_on_memory_allocate
func exportMemoryAllocate(size uint32) unsafe.Pointer { return lent.allocate(size) }

//go:wasmexport proxy_on_context_create
func exportContextCreate(context, parent uint32) { theFilter.createContext(context, parent) }

//go:wasmexport proxy_on_configure
func exportConfigure(context, size uint32) uint32 {
	lent.reset()
	if theFilter.configure(context, size) {
		return 1
	}
	return 0
}

//go:wasmexport proxy_on_tick
func exportTick(context uint32) { theFilter.tick(context) }

//go:wasmexport proxy_on_request_headers
func exportRequestHeaders(context, _, _ uint32) uint32 {
	const goOn, stop = 0, 1
	lent.reset()
	if theFilter.requestHeaders(context) {
		return goOn
	}
	return stop
}

// The imports, as the specification of proxy-wasm names them. A string is
// passed as a pointer and a length. Each returns zero for success.

//go:wasmimport env proxy_log
func proxyLog(level int32, message string) uint32

//go:wasmimport env proxy_get_log_level
func proxyGetLogLevel(level *int32) uint32

//go:wasmimport env proxy_get_current_time_nanoseconds
func proxyGetCurrentTimeNanoseconds(t *uint64) uint32

//go:wasmimport env proxy_get_buffer_bytes
func proxyGetBufferBytes(buffer, start, size uint32, data *uint32, length *uint32) uint32

//go:wasmimport env proxy_get_header_map_pairs
func proxyGetHeaderMapPairs(headerMap uint32, data *uint32, length *uint32) uint32

//go:wasmimport env proxy_remove_header_map_value
func proxyRemoveHeaderMapValue(headerMap uint32, name string) uint32

//go:wasmimport env proxy_get_property
func proxyGetProperty(path string, data *uint32, length *uint32) uint32

//go:wasmimport env proxy_send_local_response
func proxySendLocalResponse(status uint32, details string, body string, headers string, grpcStatus int32) uint32

//go:wasmimport env proxy_define_metric
func proxyDefineMetric(kind uint32, name string, id *uint32) uint32

//go:wasmimport env proxy_increment_metric
func proxyIncrementMetric(id uint32, n int64) uint32

//go:wasmimport env proxy_set_tick_period_milliseconds
func proxySetTickPeriodMilliseconds(period uint32) uint32

//go:wasmimport env proxy_set_effective_context
func proxySetEffectiveContext(context uint32) uint32

// Numbers of proxy-wasm.
const (
	statusOK       = 0
	statusNotFound = 1

	pluginConfiguration = 7
	requestHeaders      = 0
	counterMetric       = 0
	grpcPermission      = 7 // PERMISSION_DENIED
)

// envoy is the host that the imports reach.
type envoy struct{}

// Where Envoy puts its answers: in variables of the package, since an address
// of the stack would make them escape to the heap at each call.
var (
	data, length, metric uint32
	logLevel             int32
	nanosecond           uint64
)

func (envoy) configuration(size uint32) ([]byte, bool) {
	if proxyGetBufferBytes(pluginConfiguration, 0, size, &data, &length) != statusOK {
		return nil, false
	}
	return lent.take(data, length), true
}

func (envoy) requestHeaders() ([]byte, bool) {
	if proxyGetHeaderMapPairs(requestHeaders, &data, &length) != statusOK {
		return nil, false
	}
	return lent.take(data, length), true
}

func (envoy) removeRequestHeader(name string) bool {
	return proxyRemoveHeaderMapValue(requestHeaders, name) == statusOK
}

func (envoy) property(path string) ([]byte, presence) {
	switch proxyGetProperty(path, &data, &length) {
	case statusOK:
		return lent.take(data, length), present
	case statusNotFound:
		return nil, absent
	}
	return nil, unknown
}

func (envoy) respond(r *response) {
	headers := appendHeaders(nil, r.headers)
	proxySendLocalResponse(uint32(r.status), r.details, string(r.body), string(headers), grpcPermission)
}

func (envoy) counter(name string) uint32 {
	if proxyDefineMetric(counterMetric, name, &metric) != statusOK {
		return 0
	}
	return metric
}

func (envoy) add(counter uint32, n int64) { proxyIncrementMetric(counter, n) }

func (envoy) log(l level, message string) { proxyLog(int32(l), message) }

func (envoy) verbose() bool {
	return proxyGetLogLevel(&logLevel) == statusOK && level(logLevel) <= levelDebug
}

func (envoy) now() uint64 {
	proxyGetCurrentTimeNanoseconds(&nanosecond)
	return nanosecond
}

func (envoy) tick() { proxySetTickPeriodMilliseconds(1000) }

func (envoy) exists(context uint32) bool { return proxySetEffectiveContext(context) == statusOK }

// lent is the memory that Envoy asks for to put its answers in.
var lent memory

// memory hands out one fixed piece from front to back, and starts again at the
// next callback: no request costs the garbage collector anything. What is too
// large for it comes from the heap.
type memory struct {
	fixed [64 << 10]byte // as many bytes of headers as Envoy takes by default
	used  uint32
	last  []byte // handed out last; Envoy has not said yet what it put there
}

func (m *memory) reset() { m.used, m.last = 0, nil }

func (m *memory) allocate(size uint32) unsafe.Pointer {
	if used := m.used; size <= uint32(len(m.fixed))-used && size > 0 {
		m.used += size
		m.last = m.fixed[used : used+size : used+size]
	} else {
		m.allocateOther(size)
	}
	return unsafe.Pointer(unsafe.SliceData(m.last))
}

//go:noinline
func (m *memory) allocateOther(size uint32) { m.last = make([]byte, size, max(size, 1)) }

// take returns what Envoy put into the memory that it asked for last.
func (m *memory) take(data, length uint32) []byte {
	if length == 0 {
		return nil
	}
	if uintptr(data) != uintptr(unsafe.Pointer(unsafe.SliceData(m.last))) || length > uint32(len(m.last)) {
		panic("Envoy answered with memory that it had not asked for")
	}
	return m.last[:length]
}
