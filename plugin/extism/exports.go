//go:build wasip1

package main

import (
	pdk "github.com/extism/go-pdk"

	"github.com/keymoat/keymoat/abi"
)

var (
	g = guest{config: func() string {
		document, _ := pdk.GetConfig("policy_set")
		return document
	}}
	output []byte // reused from call to call
)

// serve is one call: it reads the input, once, since each eight bytes take a
// call of the host, and sets the output, or the error, whose status is what the
// export returns.
func serve(call function) int32 {
	input := pdk.Input()
	answer, status := g.answer(call, output[:0], input)
	if status == abi.StatusOK {
		pdk.Output(answer)
	} else {
		pdk.SetErrorString(string(answer))
	}
	const most = 64 << 10 // what is larger is seldom, and not held
	if output = answer; cap(output) > most {
		output = nil
	}
	return int32(status)
}

//go:wasmexport load
func exportLoad() int32 { return serve((*guest).load) }

//go:wasmexport validate
func exportValidate() int32 { return serve((*guest).validate) }

//go:wasmexport compile
func exportCompile() int32 { return serve((*guest).compile) }

//go:wasmexport evaluate
func exportEvaluate() int32 { return serve((*guest).evaluate) }

//go:wasmexport evaluate_batch
func exportEvaluateBatch() int32 { return serve((*guest).evaluateBatch) }

//go:wasmexport explain
func exportExplain() int32 { return serve((*guest).explain) }

//go:wasmexport authorize
func exportAuthorize() int32 { return serve((*guest).authorize) }

//go:wasmexport revision
func exportRevision() int32 { return serve((*guest).revision) }
