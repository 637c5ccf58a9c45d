//go:build unix

package cli

import (
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestACacheThatOthersCanWriteToIsNotUsed(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "keymoat")
	t.Setenv("XDG_CACHE_HOME", base)
	made, err := cacheDir()
	require.NoError(t, err)
	require.Equal(t, dir, made)
	for mode, usable := range map[os.FileMode]bool{0o700: true, 0o755: true, 0o720: false, 0o702: false, 0o777: false, 0o777 | os.ModeSticky: false} {
		require.NoError(t, os.Chmod(dir, mode))
		_, err := cacheDir()
		require.Equal(t, usable, err == nil, "%v: %v", mode, err)
	}

	require.NoError(t, os.Chmod(dir, 0o777))
	r := cached(t)
	require.Zero(t, r.status, r.err)
	require.Equal(t, "keymoat: warning: the plugin is compiled anew: the compilation cache "+dir+" can be written by others (mode 0777); remove it, and it is made anew\n", r.err)
	require.Empty(t, filesIn(t, dir), "neither read nor written")
}

// owned is a directory of another user.
type owned struct {
	fs.FileInfo
	by int
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: uint32(o.by)} }

func TestACacheOfAnotherUserIsNotUsed(t *testing.T) {
	info, err := os.Lstat(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, trusted(info))
	require.NoError(t, trusted(owned{info, os.Geteuid()}))
	require.EqualError(t, trusted(owned{info, os.Geteuid() + 1}), "belongs to another user")
}
