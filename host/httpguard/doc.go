// Package httpguard refuses HTTP requests whose AccessKey may not be used from
// where they come. It is net/http middleware over any host.Evaluator:
//
//	guard, err := httpguard.New(evaluator)
//	server := &http.Server{Handler: guard.Handler(next), ConnContext: guard.ConnContext}
//	err = server.Serve(guard.Listener(listener))
//
// The address of a caller is that of the connection. Load balancers that pass
// it on in a header or by the PROXY protocol are named, each by an option;
// nobody else is believed.
//
// Whatever goes wrong refuses the request: an evaluator that answers with an
// error or panics, an address or a VPC id that cannot be read, anything else.
package httpguard
