package host

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"

	"github.com/tetratelabs/wazero/api"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host/internal/instances"
)

// instance is one running guest. One call at a time may use it; instances.Set sees to
// that. After an error of type *TrapError it must be closed: a Go guest that
// trapped looks usable and is not.
type instance struct {
	module  api.Module
	memory  api.Memory
	request uint32 // address of the request buffer
	words   *instances.LastWords
	most    uint32 // bytes of memory; what has grown beyond is replaced

	functions map[string]api.Function
	evaluate  api.Function
	batch     api.Function
	authorize api.Function
	result    api.Function

	stack [3]uint64 // parameters and results of a call

	// scratch is a buffer in the guest that calls with larger input reuse.
	scratch     uint32
	scratchSize uint32
}

func newInstance(ctx context.Context, module api.Module, words *instances.LastWords) (*instance, error) {
	if err := checkVersion(ctx, module); err != nil {
		return nil, err
	}
	i := &instance{module: module, memory: module.ExportedMemory(abi.ExportMemory), words: words, functions: map[string]api.Function{}}
	for name := range abi.Exports() {
		if name != abi.ExportInitialize {
			i.functions[name] = module.ExportedFunction(name)
		}
	}
	i.evaluate = i.functions[abi.ExportEvaluate]
	i.batch = i.functions[abi.ExportEvaluateBatch]
	i.authorize = i.functions[abi.ExportAuthorize]
	i.result = i.functions[abi.ExportResult]
	if err := i.call(ctx, i.functions[abi.ExportRequestBuffer], abi.ExportRequestBuffer); err != nil {
		return nil, &GuestError{Problem: "it trapped when asked for its request buffer", Err: err}
	}
	i.request = uint32(i.stack[0])
	if _, ok := i.memory.Read(i.request, abi.RequestBufferSize); !ok {
		return nil, &GuestError{Problem: "its request buffer lies outside its memory"}
	}
	i.settle()
	return i, nil
}

// settle notes what the memory may grow to from here on. A guest's memory never
// shrinks, and what is not collected in it would be there for good.
func (i *instance) settle() {
	const allowance = 32 << 20
	i.most = uint32(min(uint64(i.memory.Size())+allowance, math.MaxUint32))
}

func (i *instance) close(ctx context.Context) {
	// Closing a module that trapped reports the trap again.
	_ = i.module.Close(ctx)
}

// call calls a function with the given parameters; its result is in stack[0].
func (i *instance) call(ctx context.Context, f api.Function, name string, params ...uint32) error {
	for n, p := range params {
		i.stack[n] = uint64(p)
	}
	if err := f.CallWithStack(ctx, i.stack[:]); err != nil {
		return i.trapped(name, err)
	}
	return nil
}

// trapped adds what the guest's own runtime said to what wazero knows.
func (i *instance) trapped(export string, err error) error {
	if words := i.words.String(); words != "" {
		err = fmt.Errorf("%s: %w", words, err)
	}
	return &TrapError{Export: export, Err: err}
}

// Faults of a guest that did not trap and yet is broken.
var (
	errMemory = errors.New("it names memory outside its own")
	errAnswer = errors.New("its answer has the wrong size")
)

// evaluateWord judges one request: one memory write and one call.
func (i *instance) evaluateWord(ctx context.Context, req *abi.Request) (abi.Word, error) {
	buffer, ok := i.memory.Read(i.request, abi.RequestBufferSize)
	if !ok {
		return 0, &TrapError{Export: abi.ExportEvaluate, Err: errMemory}
	}
	n, status := abi.PutRequest(buffer, req)
	if status != abi.StatusOK {
		return abi.ErrorWord(status), nil
	}
	i.stack[0] = uint64(n)
	if err := i.evaluate.CallWithStack(ctx, i.stack[:1]); err != nil {
		return 0, i.trapped(abi.ExportEvaluate, err)
	}
	return abi.Word(i.stack[0]), nil
}

// batchSize is how many requests one crossing takes: enough to make its cost
// vanish, few enough that the buffers stay small.
const batchSize = 1024

// evaluateBatch judges up to batchSize requests in one crossing.
func (i *instance) evaluateBatch(ctx context.Context, reqs []abi.Request, out []abi.Decision, base int, failed *batchErrors) error {
	size := abi.MaxRequestSize
	for n := range reqs {
		r := &reqs[n]
		// What is longer than any request does not cross.
		size += min(abi.MaxRequestSize,
			abi.RequestHeaderSize+len(r.AccessKeyID)+len(r.VPCID)+len(r.AccountID)+len(r.Service)+len(r.Action)+len(r.Protocol))
	}
	buffer, err := i.reserve(ctx, size)
	if err != nil {
		return err
	}
	used, count := 0, uint32(0)
	for n := range reqs {
		length, status := abi.PutRequest(buffer[used:], &reqs[n])
		out[n] = abi.Decision{Statement: int(status)} // until the answers are in
		if status == abi.StatusOK {
			used += length
			count++
		}
	}
	if err := i.call(ctx, i.batch, abi.ExportEvaluateBatch, i.scratch, uint32(used), count); err != nil {
		return err
	}
	status := abi.Status(i.stack[0])
	words, err := i.resultBytes(ctx)
	if err != nil {
		return err
	}
	if status != abi.StatusOK {
		clear(out)
		return status
	}
	if len(words) != int(8*count) {
		return &TrapError{Export: abi.ExportEvaluateBatch, Err: errAnswer}
	}
	for n := range reqs {
		status := abi.Status(out[n].Statement)
		if status == abi.StatusOK {
			status = abi.Word(binary.LittleEndian.Uint64(words)).Unpack(reqs[n].SourceIP, &out[n])
			words = words[8:]
		} else {
			out[n] = abi.Decision{}
		}
		failed.add(base+n, status)
	}
	return nil
}

// reserve returns a view of the scratch buffer with room for size bytes, at most
// abi.MaxHTTPRequestSize. It holds until the next call, which may move the memory.
func (i *instance) reserve(ctx context.Context, size int) ([]byte, error) {
	const least = 64 << 10
	if size > int(i.scratchSize) {
		if i.scratch != 0 {
			if err := i.call(ctx, i.functions[abi.ExportFree], abi.ExportFree, i.scratch); err != nil {
				return nil, err
			}
			i.scratch, i.scratchSize = 0, 0
		}
		want := uint32(1) << bits.Len(uint(max(size, least)-1)) // so that it seldom grows
		ptr, err := i.alloc(ctx, want)
		if err != nil {
			return nil, err
		}
		i.scratch, i.scratchSize = ptr, want
	}
	view, ok := i.memory.Read(i.scratch, i.scratchSize)
	if !ok {
		return nil, &TrapError{Export: abi.ExportAlloc, Err: errMemory}
	}
	return view, nil
}

func (i *instance) alloc(ctx context.Context, size uint32) (uint32, error) {
	if err := i.call(ctx, i.functions[abi.ExportAlloc], abi.ExportAlloc, size); err != nil {
		return 0, err
	}
	if ptr := uint32(i.stack[0]); ptr != 0 {
		return ptr, nil
	}
	return 0, abi.StatusTooLarge
}

// resultBytes is a view of the result of the last call. It holds until the next.
func (i *instance) resultBytes(ctx context.Context) ([]byte, error) {
	if err := i.call(ctx, i.result, abi.ExportResult); err != nil {
		return nil, err
	}
	view, ok := i.memory.Read(uint32(i.stack[0]>>32), uint32(i.stack[0]))
	if !ok {
		return nil, &TrapError{Export: abi.ExportResult, Err: errMemory}
	}
	return view, nil
}

// document calls a function that takes a buffer, and returns its status and a
// view of its result. The buffer is one of its own, since it may be large: load
// keeps it, and after any other function it is given back.
func (i *instance) document(ctx context.Context, name string, b []byte) (abi.Status, []byte, error) {
	if uint64(len(b)) > 1<<31 {
		return abi.StatusTooLarge, nil, nil
	}
	ptr, err := i.alloc(ctx, uint32(len(b)))
	if err != nil {
		return 0, nil, err
	}
	if !i.memory.Write(ptr, b) {
		return 0, nil, &TrapError{Export: abi.ExportAlloc, Err: errMemory}
	}
	if err := i.call(ctx, i.functions[name], name, ptr, uint32(len(b))); err != nil {
		return 0, nil, err
	}
	status := abi.Status(i.stack[0])
	if name != abi.ExportLoad {
		if err := i.call(ctx, i.functions[abi.ExportFree], abi.ExportFree, ptr); err != nil {
			return 0, nil, err
		}
	}
	result, err := i.resultBytes(ctx)
	return status, result, err
}

// authorizeWord judges an HTTP request.
func (i *instance) authorizeWord(ctx context.Context, req *abi.HTTPRequest) (abi.Word, error) {
	size := req.Size()
	if size > abi.MaxHTTPRequestSize {
		return abi.ErrorWord(abi.StatusTooLarge), nil
	}
	buffer, err := i.reserve(ctx, size+abi.MaxRequestSize) // which the encoder wants to have at its beginning
	if err != nil {
		return 0, err
	}
	encoded, status := abi.AppendHTTPRequest(buffer[:0], req)
	if status != abi.StatusOK {
		return abi.ErrorWord(status), nil
	}
	if err := i.call(ctx, i.authorize, abi.ExportAuthorize, i.scratch, uint32(len(encoded))); err != nil {
		return 0, err
	}
	return abi.Word(i.stack[0]), nil
}
