// Package policy is the evaluator: it reads policy sets, checks them,
// compiles them to an image, and judges requests by an image where it lies.
//
// The data flows one way:
//
//	document --read--> model --build--> image --Open--> Evaluator --> decision
//
// It is pure Go and knows nothing of WebAssembly or of hosts: the plugin, the
// native evaluator and the command line all call it, and every decision of
// keymoat is made here, in Evaluator.Evaluate.
//
// An Evaluator never changes after Open and is safe for concurrent use. The
// functions of the package keep no state.
package policy
