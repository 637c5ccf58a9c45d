//go:build unix

package cli

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCompileKeepsThePermissionsWhateverTheUmaskIs(t *testing.T) {
	output := filepath.Join(t.TempDir(), "policies.image")
	require.NoError(t, os.WriteFile(output, nil, 0o600))
	require.NoError(t, os.Chmod(output, 0o664))
	former := syscall.Umask(0o077)
	defer syscall.Umask(former)
	require.Zero(t, run(t, "", "compile", "testdata/policy.json", "-o", output).status)
	info, err := os.Stat(output)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o664), info.Mode().Perm())

	fresh := filepath.Join(t.TempDir(), "policies.image")
	require.Zero(t, run(t, "", "compile", "testdata/policy.json", "-o", fresh).status)
	info, err = os.Stat(fresh)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "a new image follows the umask")
}

// A shell that runs "keymoat compile … -o /dev/stdout >> log" means the log's
// end, not the log.
func TestCompileDoesNotReplaceAFileThatIsOpen(t *testing.T) {
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	require.NoError(t, err)
	defer log.Close()
	_, err = log.WriteString("kept\n")
	require.NoError(t, err)
	r := run(t, "", "compile", "testdata/policy.json", "-o", fmt.Sprintf("/dev/fd/%d", log.Fd()))
	require.Equal(t, 2, r.status)
	require.Contains(t, r.err, "image")
	content, err := os.ReadFile(log.Name())
	require.NoError(t, err)
	require.Equal(t, "kept\n", string(content))
	require.Equal(t, []string{"log"}, filesIn(t, filepath.Dir(log.Name())))
}
