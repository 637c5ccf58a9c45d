// Package policysource keeps the rules of an evaluator those of a document
// that lives elsewhere: a file, an object in a bucket, an HTTP server, a
// parameter store; whatever gocloud.dev/runtimevar can watch.
//
//	source, err := policysource.Open(ctx, evaluator, "file:///etc/keymoat/policies.json")
//	defer source.Close()
//
// A change is seen within half a second and in force when it is loaded. In the
// sandbox that is within a second in all for JSON of up to about 1 MB; a compiled
// image of any size loads in milliseconds to tenths of a second. A document that
// is not valid or cannot be loaded, and a source that cannot be read, are
// reported, and the former rules stay.
package policysource
