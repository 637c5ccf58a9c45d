package main

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/cmd/keymoat/internal/cli"
)

var update = flag.Bool("update", false, "rewrite the outputs in README.md")

// console is a session of README.md: commands that begin with "$ ", and what
// they print. drawing is a picture that the command in the comment makes.
var (
	console = regexp.MustCompile("(?s)(```console\n)(.*?)(```\n)")
	drawing = regexp.MustCompile("(?s)(<!-- \\$ ([^\n]*) -->\n```mermaid\n)(.*?)(```\n)")
)

// TestTheReadmeShowsWhatTheCommandsPrint runs every command of README.md in
// the folder of the test data.
func TestTheReadmeShowsWhatTheCommandsPrint(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS("internal/cli/testdata")))
	name, err := os.Getwd()
	require.NoError(t, err)
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Chdir(dir)

	commands := 0
	got := console.ReplaceAllStringFunc(string(readme), func(block string) string {
		parts := console.FindStringSubmatch(block)
		status := 0
		var session strings.Builder
		lines := strings.SplitAfter(parts[2], "\n")
		for i := 0; i < len(lines); i++ {
			command, isCommand := strings.CutPrefix(lines[i], "$ ")
			if !isCommand {
				continue // output of former times
			}
			for strings.HasSuffix(command, "\\\n") {
				i++
				command += lines[i]
			}
			session.WriteString("$ " + command)
			if command == "echo $?\n" {
				session.WriteString(strconv.Itoa(status) + "\n")
				continue
			}
			var output string
			status, output = execute(t, command)
			session.WriteString(output)
			commands++
		}
		return parts[1] + session.String() + parts[3]
	})
	got = drawing.ReplaceAllStringFunc(got, func(block string) string {
		parts := drawing.FindStringSubmatch(block)
		_, output := execute(t, parts[2])
		commands++
		return parts[1] + output + parts[4]
	})
	require.Greater(t, commands, 8)
	if *update {
		require.NoError(t, os.WriteFile(name+"/README.md", []byte(got), 0o666))
		return
	}
	want, have := strings.Split(string(readme), "\n"), strings.Split(got, "\n")
	for i := range min(len(want), len(have)) {
		require.Equal(t, want[i], have[i], "line %d; go test -update renews the page", i+1)
	}
	require.Len(t, have, len(want))
}

// execute runs a command line and returns its exit status and what it prints.
func execute(t *testing.T, command string) (int, string) {
	t.Helper()
	args := split(strings.ReplaceAll(command, "\\\n", " "))
	require.Equal(t, "keymoat", args[0])
	var output bytes.Buffer
	c := &cli.Console{In: strings.NewReader(""), Out: &output, Err: &output}
	return cli.Run(t.Context(), c, args[1:]), output.String()
}

// split takes a command line apart at spaces outside of single quotes.
func split(command string) (args []string) {
	for i, part := range strings.Split(command, "'") {
		if i%2 == 1 {
			args = append(args, part)
		} else {
			args = append(args, strings.Fields(part)...)
		}
	}
	return args
}
