// Package credential finds the AccessKey ids that an HTTP request claims.
//
// A request can carry a key id in a signed header, in a header of its own or
// in the query, and in several of these at once. A caller who names an open
// key in one place and signs with a closed one in another must not be judged
// by the open one, so this package reads every place and says so when they
// differ. It reads at least as leniently as the services behind it do: what
// one of them might take for a key id is a claim here, or makes the request
// unreadable if another might not. It sees headers and query, not the body.
//
// It checks no signature. Whether a claim is true is for the service to say.
//
// README.md beside it lists the schemes and explains each leniency.
//
// The package is pure Go over package abi, keeps no state between requests,
// and allocates only for a key id that is percent-encoded.
package credential
