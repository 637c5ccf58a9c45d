// Package policysource keeps the rules of an evaluator those of a document
// that lives elsewhere: a file, an object in a bucket, an HTTP server, a
// parameter store; whatever gocloud.dev/runtimevar can watch.
//
//	source, err := policysource.Open(ctx, evaluator, "file:///etc/keymoat/policies.json")
//	defer source.Close()
//
// A change is in force within a second. A document that is not valid, or a
// source that cannot be read, is reported, and the former rules stay.
package policysource
