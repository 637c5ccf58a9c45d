package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/xml"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	testeeprotocol "github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host"
)

// TestMain makes this test a testee as well, of the kind that the variable names.
func TestMain(m *testing.M) {
	switch kind := os.Getenv("KEYMOAT_TESTEE"); kind {
	case "":
		os.Exit(m.Run())
	case "right":
		serve(os.Stdout)
	case "wrong":
		serve(replacing{"SourceIPNotListed", "VPCNotListed"})
	case "mute":
		_, _ = io.Copy(io.Discard, os.Stdin)
	case "failing":
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n')
		fmt.Fprintln(os.Stderr, "no evaluator here")
		os.Exit(3)
	default:
		panic(kind)
	}
}

func serve(out io.Writer) {
	if err := testeeprotocol.Serve(context.Background(), host.NewNative(), os.Stdin, out); err != nil {
		panic(err)
	}
}

type replacing struct{ from, to string }

func (r replacing) Write(b []byte) (int, error) {
	_, err := os.Stdout.WriteString(strings.ReplaceAll(string(b), r.from, r.to))
	return len(b), err
}

func call(t *testing.T, kind string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	t.Setenv("KEYMOAT_TESTEE", kind)
	var out, errs bytes.Buffer
	status = run(t.Context(), args, &out, &errs)
	return status, out.String(), errs.String()
}

func self(name string) string { return name + "=" + os.Args[0] }

func TestTesteesThatAreRightExitZeroAndWriteBothReports(t *testing.T) {
	dir := t.TempDir()
	junit, html := filepath.Join(dir, "junit.xml"), filepath.Join(dir, "page.html")
	status, stdout, stderr := call(t, "right", "-junit", junit, "-html", html, self("one"), self("two"))
	require.Zero(t, status, stdout+stderr)
	require.Regexp(t, `(?m)^subject +cases +one +two$`, stdout)
	require.Regexp(t, `(?m)^all +(\d+) +(\d+) +(\d+)$`, stdout)

	written, err := os.ReadFile(junit)
	require.NoError(t, err)
	var suites junitSuites
	require.NoError(t, xml.Unmarshal(written, &suites))
	require.Len(t, suites.Suites, 2)
	require.Zero(t, suites.Failures)
	written, err = os.ReadFile(html)
	require.NoError(t, err)
	require.Contains(t, string(written), "no answer wrong")
	require.NotRegexp(t, `(src|href)=`, string(written), "the page needs nothing beside it")
}

func TestATesteeThatIsWrongExitsOneAndIsShown(t *testing.T) {
	status, stdout, _ := call(t, "wrong", self("wrong"))
	require.Equal(t, exitFailed, status)
	require.Regexp(t, `(?m)^all +\d+ +\d+ ✗\d+$`, stdout)
	require.Contains(t, stdout, "✗ wrong: scenario-7-account-lists (")
	require.Contains(t, stdout, `want {"Effect":"Deny","Reason":"SourceIPNotListed"`)
	require.Contains(t, stdout, `got  {"Effect":"Deny","Reason":"VPCNotListed"`)
}

func TestATesteeThatFailsIsShownWithWhatItSaid(t *testing.T) {
	status, stdout, _ := call(t, "failing", self("failing"))
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "the testee did not answer: exit status 3: no evaluator here")
}

func TestATesteeThatNeverAnswersIsEnded(t *testing.T) {
	status, stdout, _ := call(t, "mute", "-timeout", "10ms", self("mute"))
	require.Equal(t, exitFailed, status)
	require.Contains(t, stdout, "the testee did not answer: it took longer than 10ms")
}

func TestCasesThatAreNotExpressibleAreShownWithTheReason(t *testing.T) {
	file := filepath.Join(t.TempDir(), "exceptions.json")
	require.NoError(t, os.WriteFile(file, []byte(`[{"Cases":"explain-*","Reason":"it carries no traces"}]`), 0o600))
	status, stdout, stderr := call(t, "right", "-not-expressible", "one="+file, self("one"))
	require.Zero(t, status, stdout+stderr)
	require.Regexp(t, `(?m)^Traces +(\d+) +0 –\d+$`, stdout)
	require.Contains(t, stdout, "– one cannot express, because it carries no traces:\n  explain-matched-public\n")
}

func TestAnUnusableCallExitsTwo(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.json")
	require.NoError(t, os.WriteFile(bad, []byte(`{}`), 0o600))
	unknown := filepath.Join(dir, "unknown.json")
	require.NoError(t, os.WriteFile(unknown, []byte(`[{"Cases":"no-such-case","Reason":"r"}]`), 0o600))
	for name, args := range map[string][]string{
		"no testee":                  {},
		"no command":                 {"one"},
		"an empty command":           {"one= "},
		"no name":                    {"=" + os.Args[0]},
		"two of a name":              {self("one"), self("one")},
		"an unknown flag":            {"-colour", self("one")},
		"no such program":            {"one=" + filepath.Join(dir, "nothing")},
		"exceptions of nobody":       {"-not-expressible", "two=" + bad, self("one")},
		"exceptions without a file":  {"-not-expressible", "one", self("one")},
		"no such exceptions":         {"-not-expressible", "one=" + filepath.Join(dir, "nothing"), self("one")},
		"exceptions that are none":   {"-not-expressible", "one=" + bad, self("one")},
		"exceptions about no case":   {"-not-expressible", "one=" + unknown, self("one")},
		"a report that has no place": {"-junit", filepath.Join(dir, "nowhere", "junit.xml"), self("one")},
	} {
		t.Run(name, func(t *testing.T) {
			status, _, stderr := call(t, "right", args...)
			require.Equal(t, exitUnusable, status)
			require.Contains(t, stderr, "conformance: ")
		})
	}
}

func TestHelpExitsZero(t *testing.T) {
	status, _, stderr := call(t, "right", "-h")
	require.Zero(t, status)
	require.Contains(t, stderr, "usage: conformance [flags] name=command …")
}
