// Package extismhost runs keymoat-extism.wasm, the Extism plug-in, behind
// host.Evaluator: for programs that have Extism already and keep their plug-ins
// as its modules. All others do better with package host, whose Engine runs
// the same evaluator without JSON on the way, a hundred times as fast.
package extismhost
