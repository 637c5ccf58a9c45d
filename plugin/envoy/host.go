package main

import "github.com/keymoat/keymoat/abi"

// host is what the filter asks of Envoy. A slice that it returns holds until
// the callback ends.
type host interface {
	// configuration returns the plugin configuration. It exists only while a
	// plugin is being configured.
	configuration(size uint32) (b []byte, ok bool)
	// requestHeaders returns all headers of the request in the form that
	// readHeaders takes, in one call: their values one by one would take a call
	// each and hide repeated ones.
	requestHeaders() (b []byte, ok bool)
	// removeRequestHeader removes every header of that name.
	removeRequestHeader(name string) (ok bool)
	// property returns an attribute of the request; the segments of its path
	// are parted by zero bytes.
	property(path string) (value []byte, found presence)
	// respond answers the request in place of the upstream.
	respond(r *response)

	// counter returns the number of the counter of that name, 0 if there can be none.
	counter(name string) (id uint32)
	add(counter uint32, n int64)

	log(l level, message string)
	// verbose reports whether Envoy writes lines of levelDebug.
	verbose() bool
	// now returns the time in nanoseconds. Its zero does not matter.
	now() uint64
	// tick makes Envoy call tick once a second for the plugin at hand.
	tick()
	// exists reports whether a context is still there.
	exists(context uint32) bool
}

// presence is what became of the search for a property.
type presence uint8

const (
	unknown presence = iota // Envoy could not tell: never the same as absent
	absent
	present
)

// response is an answer of the filter's own.
type response struct {
	status  int
	headers []abi.HTTPHeader
	body    []byte
	details string // for the access log, %RESPONSE_CODE_DETAILS%
}

// level is the level of a log line, in proxy-wasm's numbers.
type level int32

const (
	levelDebug level = 1
	levelInfo  level = 2
	levelWarn  level = 3
	levelError level = 4
)
