package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// cached evaluates with the plugin, which is compiled or comes from a cache.
func cached(t *testing.T) result {
	t.Helper()
	return run(t, "", "eval", "--engine", "wasm", "--policies", "testdata/policy.json", "--access-key-id", key1, "--source-ip", "203.0.113.1")
}

func TestTheWasmEngineStartsWithoutACacheAndSaysWhy(t *testing.T) {
	here := t.TempDir()
	file, own, link := filepath.Join(here, "file"), filepath.Join(here, "own"), filepath.Join(here, "link", "keymoat")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	require.NoError(t, os.Mkdir(own, 0o700))
	require.NoError(t, os.Mkdir(filepath.Dir(link), 0o700))
	require.NoError(t, os.Symlink(own, link))
	for base, why := range map[string]string{
		"relative":                          "there is no place for a compilation cache: ",
		filepath.Join(file, "below a file"): "cannot be made: not a directory",
		filepath.Dir(link):                  "is not a directory of its own; remove it, and it is made anew",
	} {
		t.Setenv("XDG_CACHE_HOME", base)
		r := cached(t)
		require.Zero(t, r.status, r.err)
		require.Contains(t, r.out, `"Allow"`)
		require.True(t, strings.HasPrefix(r.err, "keymoat: warning: the plugin is compiled anew: "), r.err)
		require.Contains(t, r.err, why)
		require.Equal(t, 1, strings.Count(r.err, "\n"))
	}
	require.Empty(t, filesIn(t, own))
}

// compiledPlugins returns what a cache holds, machine code above all.
func compiledPlugins(t *testing.T, dir string) (files []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "wazero-*", "*"))
	require.NoError(t, err)
	return files
}

func TestADamagedCacheOnlyCostsTime(t *testing.T) {
	base := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", base)
	first := cached(t)
	require.Equal(t, 0, first.status)
	require.Empty(t, first.err)
	files := compiledPlugins(t, filepath.Join(base, "keymoat"))
	require.NotEmpty(t, files)
	require.Equal(t, first, cached(t))

	for _, file := range files {
		require.NoError(t, os.Truncate(file, 1000))
	}
	damaged := cached(t)
	require.Equal(t, first.status, damaged.status)
	require.Equal(t, first.out, damaged.out)
	require.Contains(t, damaged.err, "keymoat: warning: the plugin is compiled anew: the compilation cache "+filepath.Join(base, "keymoat")+" cannot be used; name another directory, or empty it: ")
}
