package main

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/cmd/keymoat/internal/cli"
)

// section returns the only block of that language under a heading of the
// README.md of the whole project.
func section(t *testing.T, heading, language string) string {
	t.Helper()
	readme, err := os.ReadFile("../../../README.md")
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(readme), "\n## "+heading+"\n")
	require.True(t, found, heading)
	rest, _, _ = strings.Cut(rest, "\n## ")
	blocks := regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(rest, -1)
	require.Len(t, blocks, 1, heading)
	return blocks[0][1]
}

// TestTheFrontPagesCommandsDoWhatItSays runs the commands with the policy set
// of the page. JSON is YAML, so they find it under the name that they have.
func TestTheFrontPagesCommandsDoWhatItSays(t *testing.T) {
	policySet := section(t, "A policy set", "json")
	commands := section(t, "On the command line", "sh")
	t.Chdir(t.TempDir())
	require.NoError(t, os.WriteFile("policies.yaml", []byte(policySet), 0o666))

	type outcome struct {
		status int
		begins string
	}
	var got []outcome
	for _, line := range strings.Split(strings.TrimSpace(commands), "\n") {
		command, _, _ := strings.Cut(line, " > ") // into a file
		args, isCommand := strings.CutPrefix(command, "keymoat ")
		if !isCommand {
			require.Regexp(t, `^(go install .*)?$`, line)
			continue
		}
		var out, problem bytes.Buffer
		status := cli.Run(t.Context(), &cli.Console{Out: &out, Err: &problem}, strings.Fields(args))
		require.Empty(t, problem.String(), line)
		begins := out.String()
		got = append(got, outcome{status, begins[:min(len(begins), 40)]})
	}
	require.Equal(t, []outcome{
		{0, `{"File":"policies.yaml","Valid":true,"Er`},
		{0, `{"Effect":"Allow","Reason":"Matched","Le`},
		{1, `<svg xmlns="http://www.w3.org/2000/svg" `}, // the key's own policy decides alone
	}, got)
}

func TestTheFrontPagesPolicySetRaisesNoDoubt(t *testing.T) {
	report, err := host.NewNative().Validate(t.Context(), []byte(section(t, "A policy set", "json")))
	require.NoError(t, err)
	require.Equal(t, abi.Report{Valid: true, Errors: []abi.Finding{}, Warnings: []abi.Finding{}}, report)
}

// decide holds the code of the page, word for word.
func decide(ctx context.Context, dir string, policySet []byte, made *abi.Decision) error {
	engine, err := host.New(ctx, host.WithCompilationCache(dir))
	if err != nil {
		return err
	}
	defer engine.Close(ctx)
	if _, err := engine.Load(ctx, policySet); err != nil {
		return err // says what is wrong, and where
	}
	decision, err := engine.Evaluate(ctx, abi.Request{
		AccessKeyID: "LTAI5tExample0000000001",
		SourceIP:    netip.MustParseAddr("203.0.113.1"),
	})
	if err != nil || !decision.Allowed() {
		// refuse
	}
	*made = decision
	return err
}

func TestTheFrontPagesCodeDecides(t *testing.T) {
	source, err := os.ReadFile("frontpage_test.go")
	require.NoError(t, err)
	indent := regexp.MustCompile(`(?m)^[\t ]+`)
	require.Contains(t, indent.ReplaceAllString(string(source), ""), indent.ReplaceAllString(section(t, "From Go", "go"), ""))

	var made abi.Decision
	policySet := []byte(section(t, "A policy set", "json"))
	require.NoError(t, decide(t.Context(), t.TempDir(), policySet, &made))
	require.True(t, made.Allowed())
	require.Equal(t, abi.LevelAccessKey, made.Level)
}
