package main

import (
	"strings"

	"github.com/keymoat/keymoat/abi"
)

// fakeHost is an Envoy of a few maps. It counts the calls that it gets.
type fakeHost struct {
	config     string
	configLost bool
	headers    [][2]string
	noHeaders  bool
	properties map[string]string
	unknown    map[string]bool // properties that fail
	gone       map[uint32]bool // contexts that are no more
	debug      bool
	time       uint64
	stuck      bool // headers cannot be removed

	calls    map[string]int
	counters map[string]int
	names    []string
	lines    []string
	removed  []string
	answers  []response
	raw      []byte
}

func (h *fakeHost) called(name string) {
	if h.calls != nil {
		h.calls[name]++
	}
}

func (h *fakeHost) configuration(size uint32) ([]byte, bool) {
	h.called("configuration")
	return []byte(h.config), !h.configLost
}

func (h *fakeHost) requestHeaders() ([]byte, bool) {
	h.called("requestHeaders")
	if h.raw == nil {
		h.raw = encodeHeaders(h.headers)
	}
	return h.raw, !h.noHeaders
}

func (h *fakeHost) removeRequestHeader(name string) bool {
	h.called("removeRequestHeader")
	h.removed = append(h.removed, name)
	return !h.stuck
}

func (h *fakeHost) property(path string) ([]byte, presence) {
	h.called("property")
	if h.unknown[path] {
		return nil, unknown
	}
	if value, ok := h.properties[path]; ok {
		return []byte(value), present
	}
	return nil, absent
}

func (h *fakeHost) respond(r *response) {
	h.called("respond")
	h.answers = append(h.answers, *r)
}

func (h *fakeHost) counter(name string) uint32 {
	h.names = append(h.names, name)
	return uint32(len(h.names))
}

func (h *fakeHost) add(counter uint32, n int64) {
	h.called("add")
	h.counters[h.names[counter-1]] += int(n)
}

func (h *fakeHost) log(l level, message string) {
	h.called("log")
	h.lines = append(h.lines, message)
}

func (h *fakeHost) verbose() bool              { return h.debug }
func (h *fakeHost) now() uint64                { h.called("now"); return h.time }
func (h *fakeHost) tick()                      {}
func (h *fakeHost) exists(context uint32) bool { return !h.gone[context] }

// encodeHeaders writes headers as Envoy hands them over.
func encodeHeaders(headers [][2]string) []byte {
	var lower []abi.HTTPHeader
	for _, h := range headers {
		lower = append(lower, abi.HTTPHeader{Name: strings.ToLower(h[0]), Value: h[1]})
	}
	return appendHeaders(nil, lower)
}
