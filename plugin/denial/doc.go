// Package denial writes the answer that a refused caller sees, so that every
// host that stands in the path of HTTP requests answers alike, byte for byte.
//
// An answer names the source address that was seen, which is what the caller
// needs to put things right, and never the rule that refused: that would tell a
// stranger which keys exist and which policies they have.
//
// The package is pure Go over package abi and small enough for a WebAssembly
// guest: no reflection, no formatting, nothing of HTTP.
package denial
