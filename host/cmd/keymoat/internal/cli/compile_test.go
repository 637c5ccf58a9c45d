package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestCompileWritesAnImageAndTellsItsRevision(t *testing.T) {
	dir := t.TempDir()
	output := filepath.Join(dir, "policies.image")
	r := run(t, "", "compile", "testdata/policies.yaml", "-o", output)
	require.Equal(t, 0, r.status, r.err)
	require.Empty(t, r.err)
	image, err := os.ReadFile(output)
	require.NoError(t, err)
	sum := sha256.Sum256(image)
	require.Equal(t, fmt.Sprintf("image    %s\nrevision %s\nsize     %s bytes\n", output, hex.EncodeToString(sum[:]), thousands(len(image))), r.out)
	require.Equal(t, []string{"policies.image"}, filesIn(t, dir), "no temporary file is left")

	// The same policies give the same image, whatever they are written in.
	asJSON := `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.1"]}]}`
	asYAML := "Status: Active\nStatements:\n- Type: ClassicWhiteList\n  IPList: 203.0.113.1\n"
	require.Equal(t, run(t, asJSON, "compile", "-", "-o", output).out, run(t, asYAML, "compile", "-", "-o", output).out)
}

func TestAnImageAnswersAsItsPolicies(t *testing.T) {
	image := filepath.Join(t.TempDir(), "policies.image")
	require.Zero(t, run(t, "", "compile", "testdata/policies.yaml", "-o", image).status)
	require.Equal(t,
		run(t, "", "eval", "--policies", "testdata/policies.yaml", "--requests", "testdata/requests.ndjson"),
		run(t, "", "eval", "--policies", image, "--requests", "testdata/requests.ndjson"))
}

func TestCompileTellsAllErrorsAndLeavesTheFormerImage(t *testing.T) {
	dir := t.TempDir()
	output := filepath.Join(dir, "policies.image")
	require.NoError(t, os.WriteFile(output, []byte("former"), 0o666))
	r := run(t, "", "compile", "testdata/broken.yaml", "-o", output)
	require.Equal(t, 2, r.status)
	require.Empty(t, r.out)
	lines := strings.Split(strings.TrimSpace(r.err), "\n")
	require.Len(t, lines, 10)
	require.Equal(t, "keymoat: testdata/broken.yaml: 7 errors, so no image is written", lines[9])
	former, err := os.ReadFile(output)
	require.NoError(t, err)
	require.Equal(t, "former", string(former))
	require.Equal(t, []string{"policies.image"}, filesIn(t, dir))
}

func TestCompileTellsWarningsAndWrites(t *testing.T) {
	output := filepath.Join(t.TempDir(), "policies.image")
	r := run(t, "Status: Active\nStatements: []\n", "compile", "-", "-o", output)
	require.Zero(t, r.status)
	require.Regexp(t, `^standard input:\d+:\d+: warning: .*\(NoStatements\)\n$`, r.err)
	require.FileExists(t, output)
}

func TestCompileWritesOnlyWhereAnImageBelongs(t *testing.T) {
	dir := t.TempDir()
	source := filepath.Join(dir, "policy.json")
	document, err := os.ReadFile("testdata/policy.json")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(source, document, 0o666))
	link := filepath.Join(dir, "link.json")
	require.NoError(t, os.Symlink(source, link))
	loop := filepath.Join(t.TempDir(), "loop")
	require.NoError(t, os.Symlink(loop, loop))
	for output, want := range map[string]string{
		dir:                               "is a directory; name the image in it",
		filepath.Join(dir, "none", "x"):   "the directory does not exist; make it first",
		os.DevNull:                        "is not a regular file; name another image",
		source:                            "the image would replace the policy set it is made from; name another",
		link:                              "the image would replace the policy set it is made from; name another",
		filepath.Join(source, "x"):        "not a directory",
		loop:                              "too many links",
		filepath.Join(dir, longName(300)): "file name too long",
	} {
		r := run(t, "", "compile", source, "-o", output)
		require.Equal(t, 2, r.status, output)
		require.Contains(t, r.err, want)
	}
	require.Equal(t, []string{"link.json", "policy.json"}, filesIn(t, dir))
	now, err := os.ReadFile(source)
	require.NoError(t, err)
	require.Equal(t, document, now)
}

func longName(n int) string { return strings.Repeat("x", n) }

func TestCompileReplacesWhatALinkPointsTo(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "v1.image"), filepath.Join(dir, "current.image")
	require.NoError(t, os.WriteFile(target, []byte("former"), 0o600))
	require.NoError(t, os.Symlink(target, link))
	require.Zero(t, run(t, "", "compile", "testdata/policy.json", "-o", link).status)
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.NotZero(t, info.Mode()&os.ModeSymlink, "the link stays")
	info, err = os.Stat(target)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm(), "the permissions stay")
	require.Greater(t, info.Size(), int64(len("former")))
}

func TestCompileMakesWhatALinkPointsTo(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "images"), 0o777))
	first, second := filepath.Join(dir, "current.image"), filepath.Join(dir, "images", "latest.image")
	require.NoError(t, os.Symlink(filepath.Join("images", "latest.image"), first))
	require.NoError(t, os.Symlink("v2.image", second))
	r := run(t, "", "compile", "testdata/policy.json", "-o", first)
	require.Zero(t, r.status, r.err)
	require.Contains(t, r.out, "image    "+first+"\n")
	for _, link := range []string{first, second} {
		info, err := os.Lstat(link)
		require.NoError(t, err)
		require.NotZero(t, info.Mode()&os.ModeSymlink, "the link stays")
	}
	require.Equal(t, []string{"latest.image", "v2.image"}, filesIn(t, filepath.Dir(second)))
	require.Zero(t, run(t, "", "validate", first).status)
}
