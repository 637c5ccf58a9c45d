package host

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// cached returns the only file of a cache.
func cached(t *testing.T, dir string) (path string, content []byte) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*", "*"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	content, err = os.ReadFile(files[0])
	require.NoError(t, err)
	return files[0], content
}

func TestACompilationCacheIsMadeAndUsedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "not", "there", "yet")
	guest := WithGuest(guestStandIn().bytes()) // compiles in no time
	open := func() error {
		e, err := New(t.Context(), WithCompilationCache(dir), guest)
		if err != nil {
			return err
		}
		if _, err := e.Load(t.Context(), small().image); err != nil {
			return err
		}
		_, err = e.Evaluate(t.Context(), small().requests[0])
		require.NoError(t, err)
		return e.Close(t.Context())
	}
	require.NoError(t, open())
	path, content := cached(t, dir)
	require.NoError(t, open())
	again, same := cached(t, dir)
	require.Equal(t, path, again)
	require.Equal(t, content, same)

	// That it is read shows when it is damaged. The message has to blame the
	// cache, as nothing is wrong with the guest, and to say what to do.
	for name, damage := range map[string]func([]byte) []byte{
		"cut off":      func(b []byte) []byte { return b[:len(b)/2] },
		"empty":        func([]byte) []byte { return nil },
		"changed":      func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"another file": func([]byte) []byte { return []byte("something else that is in the way of the cache") },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, damage(append([]byte(nil), content...)), 0o600))
			err := open()
			require.ErrorContains(t, err, "the compilation cache "+dir+" cannot be used; name another directory, or empty it: ")
			var wrong *GuestError
			require.NotErrorAs(t, err, &wrong)
			require.NoError(t, os.Remove(path))
			require.NoError(t, open())
		})
	}
}

func TestACompilationCacheThatCannotBeMadeIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		_, err := New(t.Context(), WithCompilationCache(dir))
		require.ErrorContains(t, err, "the compilation cache "+dir+" cannot be used; name another directory, or empty it: ")
	}
}

func TestWithACompilationCacheTooAWrongGuestIsBlamedItself(t *testing.T) {
	_, err := New(t.Context(), WithCompilationCache(t.TempDir()), WithGuest([]byte("(module)")))
	var guest *GuestError
	require.ErrorAs(t, err, &guest)
	require.NotContains(t, err.Error(), "cache")
}

func TestTheUnpackedPluginIsKeptBesideTheCompiledOne(t *testing.T) {
	dir := t.TempDir()
	want, err := Guest()
	require.NoError(t, err)
	path := filepath.Join(dir, "keymoat-"+hex.EncodeToString(embeddedGuest[len(embeddedGuest)-8:])+".wasm")

	check := func() {
		t.Helper()
		got, err := cachedGuest(dir)
		require.NoError(t, err)
		require.Equal(t, want, got)
		kept, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Equal(t, want, kept)
		files, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, files, 1, "nothing is left over")
	}
	check()
	for name, damage := range map[string]func([]byte) []byte{
		"cut off": func(b []byte) []byte { return b[:len(b)/2] },
		"longer":  func(b []byte) []byte { return append(b, 0) },
		"empty":   func([]byte) []byte { return nil },
		"changed": func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(path, damage(bytes.Clone(want)), 0o600))
			check()
		})
	}
}

func TestAPluginThatCannotBeKeptIsUnpackedEachTime(t *testing.T) {
	want, err := Guest()
	require.NoError(t, err)
	got, err := cachedGuest(filepath.Join(t.TempDir(), "not", "there"))
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// That it is read, and not unpacked each time, no answer tells: both give the
// same bytes. So the file is checked to be what New reads.
func TestTheKeptPluginIsWhatNewReads(t *testing.T) {
	dir := t.TempDir()
	_, err := cachedGuest(dir)
	require.NoError(t, err)
	files, err := filepath.Glob(filepath.Join(dir, "*.wasm"))
	require.NoError(t, err)
	require.Len(t, files, 1)
	before, err := os.Stat(files[0])
	require.NoError(t, err)
	e, err := New(t.Context(), WithCompilationCache(dir))
	require.NoError(t, err)
	require.NoError(t, e.Close(t.Context()))
	after, err := os.Stat(files[0])
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after), "it was not written anew")
}
