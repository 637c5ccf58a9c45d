package host

import (
	"log/slog"
	"runtime"
)

// Option sets one thing about an Engine.
type Option func(*options)

type options struct {
	cacheDir    string
	instances   int
	memoryLimit uint64
	guest       []byte
	logger      *slog.Logger
}

func defaults() options {
	return options{
		instances:   runtime.GOMAXPROCS(0),
		memoryLimit: 1 << 30,
		logger:      slog.New(slog.DiscardHandler),
	}
}

// wasm is the plugin to run.
func (o *options) wasm() ([]byte, error) {
	switch {
	case o.guest != nil:
		return o.guest, nil
	case o.cacheDir != "":
		return cachedGuest(o.cacheDir)
	}
	return Guest()
}

// WithCompilationCache keeps the compiled plugin in a directory, which is made
// if need be. Starting takes half a second without it, and some tens of
// milliseconds with it. Who can write to the directory can run code in this
// process: give it to nobody else.
func WithCompilationCache(dir string) Option { return func(o *options) { o.cacheDir = dir } }

// WithInstances sets how many calls can be evaluated at the same time; further
// ones wait. Each instance takes about 4 MiB and a copy of the image. The
// default is GOMAXPROCS; more than that gains nothing.
func WithInstances(n int) Option { return func(o *options) { o.instances = n } }

// WithMemoryLimit bounds the memory of each instance, in bytes. The default is
// 1 GiB. A policy set that does not fit is refused.
func WithMemoryLimit(bytes uint64) Option { return func(o *options) { o.memoryLimit = bytes } }

// WithGuest runs another build of the plugin than the embedded one.
func WithGuest(wasm []byte) Option { return func(o *options) { o.guest = wasm } }

// WithLogger sends the engine's own events there: loads, and instances that
// were lost. Requests are never logged.
func WithLogger(l *slog.Logger) Option {
	return func(o *options) {
		if l != nil {
			o.logger = l
		}
	}
}
