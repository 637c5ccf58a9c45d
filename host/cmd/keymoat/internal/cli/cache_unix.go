//go:build unix

package cli

import (
	"io/fs"
	"os"
	"syscall"
)

func isOwn(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(s.Uid) == os.Geteuid()
}

func othersMayWrite(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }
