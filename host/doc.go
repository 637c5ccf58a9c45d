// Package host runs the keymoat plugin in Go programs.
//
// Engine runs it in its sandbox (WebAssembly, by wazero); Native is the same
// evaluator compiled in. Both implement Evaluator and answer alike. The
// plugin is embedded, so that an Engine needs no files:
//
//	engine, err := host.New(ctx)
//	revision, err := engine.Load(ctx, policySet)
//	decision, err := engine.Evaluate(ctx, abi.Request{AccessKeyID: id, SourceIP: ip})
//	if err != nil || !decision.Allowed() {
//		// refuse
//	}
package host
