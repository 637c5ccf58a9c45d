//go:build !wasip1

package policy

// collect does nothing: outside a guest garbage is collected beside the program.
func collect() {}
