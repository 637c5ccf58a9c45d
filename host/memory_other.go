//go:build !linux

package host

import "context"

// withMemory leaves it to wazero where instances have their memory from. What
// memory_linux.go says of huge pages other systems do by themselves, or not.
func withMemory(ctx context.Context) context.Context { return ctx }
