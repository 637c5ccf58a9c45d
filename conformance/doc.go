// Package conformance holds the cases that every host of keymoat must answer
// alike, and what puts them to a host.
//
// The cases are data, in cases/*.json, each with the sentence that it covers.
// They are put to a testee: a program that reads one request a line and writes
// one answer a line. README.md specifies that protocol and lists which cases
// cover which sentence. A Go host needs no program: its tests call Run, which
// talks the same protocol over a pipe inside the process, so that there is one
// comparison for all.
package conformance
