package cli

import (
	"bytes"
	"context"
	"flag"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestMain keeps the compiled plugin of the wasm engine out of the home
// directory, and compiles it once for all tests.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "keymoat-cache-")
	if err != nil {
		panic(err)
	}
	os.Setenv("XDG_CACHE_HOME", dir)
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// result is what a call leaves behind.
type result struct {
	status   int
	out, err string
}

// run runs a command as a program would: no terminal, no colours.
func run(t *testing.T, in string, args ...string) result {
	t.Helper()
	return runOn(t, &Console{In: strings.NewReader(in)}, args...)
}

func runOn(t *testing.T, c *Console, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	c.Out, c.Err = &out, &err
	status := Run(t.Context(), c, args)
	return result{status, out.String(), err.String()}
}

// revision is what changes with the layout of the image and says nothing here.
var revision = regexp.MustCompile(`\b[0-9a-f]{64}\b`)

func golden(t *testing.T, name, got string) {
	t.Helper()
	got = revision.ReplaceAllString(got, "(the revision)")
	path := filepath.Join("testdata", "golden", name)
	if *update {
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o666))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got)
}

func write(t testing.TB, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(content), 0o666))
	return path
}

const (
	key1 = "LTAI5tExample0000000001"
	key3 = "LTAI5tExample0000000003"
	vpc  = "vpc-m5ekxe1zi8zwgqrtc1234"
)

func TestAnUnusableCallEndsWithTwoAndSaysWhy(t *testing.T) {
	const policies = "testdata/policies.yaml"
	empty := write(t, "empty.json", "")
	image := write(t, "cut.image", "")
	require.Zero(t, run(t, "", "compile", policies, "-o", image).status)
	whole, err := os.ReadFile(image)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(image, whole[:len(whole)-8], 0o666))

	for name, test := range map[string]struct {
		args []string
		err  string
	}{
		"an unknown command":                {[]string{"evaluate"}, `there is no command "evaluate"; see keymoat --help`},
		"a misspelt command":                {[]string{"explian"}, `there is no command "explian" (did you mean explain?); see keymoat --help`},
		"help about an unknown command":     {[]string{"help", "explian"}, `there is no command "explian" (did you mean explain?); see keymoat --help`},
		"help about too much":               {[]string{"help", "eval", "x"}, `there is no command "eval x"`},
		"completion for an unknown shell":   {[]string{"completion", "tcsh"}, `there is no completion for "tcsh"; see keymoat completion --help`},
		"an unknown flag":                   {[]string{"eval", "--polices", "x"}, "unknown flag: --polices; see keymoat eval --help"},
		"an unknown engine":                 {[]string{"eval", "--engine", "fast"}, "must be native or wasm"},
		"an unknown form":                   {[]string{"explain", "-o", "png"}, "must be text or json or svg or mermaid"},
		"a stray argument":                  {[]string{"eval", policies}, `unexpected argument "testdata/policies.yaml"`},
		"a stray argument to version":       {[]string{"version", "x"}, `unexpected argument "x"`},
		"validate without a file":           {[]string{"validate"}, "name at least one file, or - for standard input"},
		"validate with two standard inputs": {[]string{"validate", "-", "-"}, "standard input can be read once only"},
		"compile without a file":            {[]string{"compile", "-o", "x"}, "name one file to compile"},
		"compile with two files":            {[]string{"compile", "a", "b", "-o", "x"}, "name one file to compile"},
		"compile without an image":          {[]string{"compile", policies}, "name the image to write with -o IMAGE"},
		"compile to standard output":        {[]string{"compile", policies, "-o", "-"}, "the image is written to a file"},
		"compile of an image":               {[]string{"compile", image, "-o", "x"}, "is a compiled image already"},
		"eval without policies":             {[]string{"eval", "--access-key-id", key1}, "--policies is missing; name a file of policies"},
		"eval without a request":            {[]string{"eval", "--policies", policies}, "give a request with --access-key-id and --source-ip, or a file of them with --requests"},
		"eval without a key":                {[]string{"eval", "--policies", policies, "--source-ip", "::1"}, "--access-key-id is missing"},
		"eval without an address":           {[]string{"eval", "--policies", policies, "--access-key-id", key1}, "--source-ip is missing"},
		"eval with a bad address":           {[]string{"eval", "--policies", policies, "--access-key-id", key1, "--source-ip", "1.2.3.4:80"}, `--source-ip "1.2.3.4:80" is not one IPv4 or IPv6 address`},
		"eval with a bad key":               {[]string{"eval", "--policies", policies, "--access-key-id", "LTAI5tExample 0000000001", "--source-ip", "::1"}, "--access-key-id LTAI5t…0001 is no AccessKey id"},
		"eval with a long field":            {[]string{"eval", "--policies", policies, "--access-key-id", key1, "--source-ip", "::1", "--action", strings.Repeat("a", 256)}, "--action is longer than 255 bytes"},
		"eval with an empty VPC":            {[]string{"eval", "--policies", policies, "--access-key-id", key1, "--source-ip", "203.0.113.1", "--vpc-id", ""}, "--vpc-id is empty; give it a value or leave it out"},
		"eval with an empty account":        {[]string{"eval", "--policies", policies, "--access-key-id", key1, "--source-ip", "203.0.113.1", "--account-id="}, "--account-id is empty; give it a value or leave it out"},
		"eval with an empty file":           {[]string{"eval", "--policies", policies, "--requests", ""}, `"": no such file`},
		"explain with an empty VPC":         {[]string{"explain", "--policies", policies, "--access-key-id", key1, "--source-ip", "203.0.113.1", "--vpc-id", ""}, "--vpc-id is empty; give it a value or leave it out"},
		"eval with both kinds of requests":  {[]string{"eval", "--policies", policies, "--requests", "x", "--vpc-id", vpc}, "--requests and --vpc-id exclude each other"},
		"eval with two standard inputs":     {[]string{"eval", "--policies", "-", "--requests", "-"}, "standard input can be read once only"},
		"explain without policies":          {[]string{"explain", "--request", "{}"}, "--policies is missing"},
		"explain without a request":         {[]string{"explain", "--policies", policies}, "give a request with --access-key-id and --source-ip, or with --request"},
		"explain with both":                 {[]string{"explain", "--policies", policies, "--request", "{}", "--source-ip", "::1"}, "--request and --source-ip exclude each other"},
		"explain with a bad request":        {[]string{"explain", "--policies", policies, "--request", `{"AccessKeyId":"a","SourceIP":"::1"}`}, `--request: the request is malformed: /SourceIP: unknown field`},
		"policies that do not exist":        {[]string{"eval", "--policies", "testdata/nothing.yaml", "--access-key-id", key1, "--source-ip", "::1"}, "testdata/nothing.yaml: no such file; check the path"},
		"policies that are a directory":     {[]string{"eval", "--policies", "testdata", "--access-key-id", key1, "--source-ip", "::1"}, "testdata: is a directory; name a file in it"},
		"policies that are empty":           {[]string{"explain", "--policies", empty, "--access-key-id", key1, "--source-ip", "::1"}, "the file is empty"},
		"policies that are cut off":         {[]string{"eval", "--policies", image, "--access-key-id", key1, "--source-ip", "::1"}, "not a usable policy image"},
		"policies that are not valid":       {[]string{"eval", "--policies", "testdata/broken.yaml", "--access-key-id", key1, "--source-ip", "::1"}, `testdata/broken.yaml:3:16: /Accounts/0/AccountId: must be a string, not a number; in YAML, quote it: "1000000000000001" (WrongType) (and 6 more errors; see keymoat validate)`},
		"policies that are no YAML":         {[]string{"eval", "--policies", "-", "--access-key-id", key1, "--source-ip", "::1"}, "standard input:1:4: unknown anchor 'x' referenced"},
		"requests that do not exist":        {[]string{"eval", "--policies", policies, "--requests", "testdata/nothing.ndjson"}, "testdata/nothing.ndjson: no such file"},
		"requests that are a directory":     {[]string{"eval", "--policies", policies, "--requests", "testdata"}, "testdata: is a directory"},
		"requests that are empty":           {[]string{"eval", "--policies", policies, "--requests", empty}, "the file is empty"},
		"validate of nothing":               {[]string{"validate", "testdata/nothing.yaml"}, "testdata/nothing.yaml: no such file"},
		"validate of a directory":           {[]string{"validate", "testdata"}, "testdata: is a directory"},
		"validate of an empty file":         {[]string{"validate", empty}, "the file is empty"},
		"compile of an empty file":          {[]string{"compile", empty, "-o", "x"}, "the file is empty"},
		"compile of YAML that is none":      {[]string{"compile", "-", "-o", "x"}, "standard input:1:4: unknown anchor 'x' referenced"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, "a: *x", test.args...)
			require.Equal(t, 2, r.status)
			require.Empty(t, r.out)
			require.Contains(t, r.err, test.err)
			require.True(t, strings.HasPrefix(r.err, "keymoat: "), r.err)
			require.Equal(t, 1, strings.Count(r.err, "\n"), "one line: %s", r.err)
		})
	}
	for _, args := range [][]string{
		{"validate", "-"}, {"compile", "-", "-o", "x"}, {"eval", "--policies", "-", "--access-key-id", key1, "--source-ip", "::1"},
		{"eval", "--policies", policies, "--requests", "-"}, {"explain", "--policies", "-", "--access-key-id", key1, "--source-ip", "::1"},
	} {
		r := run(t, "", args...)
		require.Equal(t, result{2, "", "keymoat: standard input is empty; pipe a document in or name a file\n"}, r, args)
	}
}

func TestFileErrorsSayWhatToDo(t *testing.T) {
	require.EqualError(t, fileError("a", &fs.PathError{Op: "open", Path: "a", Err: fs.ErrPermission}), "a: permission denied; make it readable or run as another user")
	require.EqualError(t, fileError("-", io.ErrUnexpectedEOF), "standard input: unexpected EOF")
	require.EqualError(t, fileError("a\x1b[31m", fs.ErrNotExist), `a\x1b[31m: no such file; check the path, or give - for standard input`)
}

// full is a device without space.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestOutputThatCannotBeWrittenEndsWithTwo(t *testing.T) {
	image := filepath.Join(t.TempDir(), "x.image")
	for _, args := range [][]string{
		{"validate", "testdata/policies.yaml"},
		{"validate", "testdata/policies.yaml", "-o", "table"},
		{"compile", "testdata/policies.yaml", "-o", image},
		{"eval", "--policies", "testdata/policies.yaml", "--access-key-id", key1, "--source-ip", "203.0.113.1"},
		{"eval", "--policies", "testdata/policies.yaml", "--requests", "testdata/requests.ndjson"},
		{"explain", "--policies", "testdata/policies.yaml", "--access-key-id", key1, "--source-ip", "203.0.113.1"},
		{"explain", "--policies", "testdata/policies.yaml", "--access-key-id", key1, "--source-ip", "203.0.113.1", "-o", "svg"},
		{"version"},
	} {
		var err bytes.Buffer
		c := &Console{In: strings.NewReader(""), Out: full{}, Err: &err}
		require.Equal(t, 2, Run(context.Background(), c, args), args)
		require.Contains(t, err.String(), "keymoat: writing the output: short write\n")
	}
}

func TestHelpShowsAnExampleOfEachCommand(t *testing.T) {
	require.Equal(t, run(t, "", "--help"), run(t, ""), "without a command")
	for _, command := range []string{"validate", "compile", "eval", "explain", "version"} {
		r := run(t, "", command, "--help")
		require.Zero(t, r.status)
		require.Empty(t, r.err)
		require.Contains(t, r.out, "Examples:\n  keymoat "+command)
	}
}

func TestHelpKnowsEveryCommandAndShell(t *testing.T) {
	require.Equal(t, run(t, "", "eval", "--help"), run(t, "", "help", "eval"))
	for _, args := range []string{"help", "help help", "help completion fish", "completion", "completion bash --help"} {
		r := run(t, "", strings.Fields(args)...)
		require.Zero(t, r.status, args)
		require.NotEmpty(t, r.out, args)
		require.Empty(t, r.err, args)
	}
}

func TestShellsCanCompleteCommandsFlagsAndValues(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		r := run(t, "", "completion", shell)
		require.Zero(t, r.status, shell)
		require.Contains(t, r.out, "keymoat", shell)
	}
	for typed, want := range map[string]string{
		"v":                      "validate\tCheck policy documents and report everything that is wrong with them\nversion\tTell the release, the version of the interface and the embedded plugin\n:4\n",
		"eval --engine ":         "native\nwasm\n:4\n",
		"eval -o ":               "json\ntable\n:4\n",
		"explain -o ":            "text\njson\nsvg\nmermaid\n:4\n",
		"eval --access-key-id ":  ":4\n",
		"validate ":              "json\nyaml\nyml\n:8\n",
		"compile ":               "json\nyaml\nyml\n:8\n",
		"explain --access-key-i": "--access-key-id\tid of the AccessKey that the call is made with\n:4\n",
	} {
		r := run(t, "", append([]string{"__complete"}, strings.Split(typed, " ")...)...)
		require.Zero(t, r.status, typed)
		require.Equal(t, want, r.out, typed)
	}
}

func TestColoursAreForTerminalsThatWantThem(t *testing.T) {
	env := func(pairs ...string) func(string) string {
		return func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		}
	}
	require.True(t, wantsColour(env("TERM", "xterm")))
	require.False(t, wantsColour(env("TERM", "xterm", "NO_COLOR", "1")))
	require.False(t, wantsColour(env("TERM", "dumb")))
	require.False(t, System().Colour, "tests do not run on a terminal")

	args := []string{"eval", "--policies", "testdata/policies.yaml", "--access-key-id", key1, "--source-ip", "203.0.113.1"}
	r := runOn(t, &Console{OutTerminal: true, Colour: true}, args...)
	require.Contains(t, r.out, "\x1b[32mAllow\x1b[0m")
	r = runOn(t, &Console{OutTerminal: true}, args...)
	require.NotContains(t, r.out, "\x1b")
	require.Contains(t, r.out, "ACCESS KEY ID", "a terminal gets a table")
}

func TestVersionTellsReleaseInterfaceAndPlugin(t *testing.T) {
	require.Equal(t, result{0, "keymoat " + abi.Release + "\n", ""}, run(t, "", "--version"))
	r := run(t, "", "version", "-o", "table")
	require.Zero(t, r.status)
	require.Regexp(t, `^keymoat `+abi.Release+`\nABI     1\.\d+\nGo      go1\.\S+\nguest   sha256 [0-9a-f]{64}, [0-9,]+ bytes\n$`, r.out)
	r = run(t, "", "version", "-o", "json")
	require.Regexp(t, `^\{"Release":"`+abi.Release+`","ABI":"1\.\d+","Go":"go1\.[^"]+","Guest":\{"SHA256":"[0-9a-f]{64}","Size":\d+\}\}\n$`, r.out)
}

func TestTextFromOutsideCannotSteerATerminal(t *testing.T) {
	for in, want := range map[string]string{
		"plain text, é 网":   "plain text, é 网",
		`a "quoted" word`:   `a "quoted" word`,
		"\x1b[31mred":       `\x1b[31mred`,
		"a\nb":              `a\nb`,
		"right\u202eleft":   `right\u202eleft`,
		"not \xff UTF-8":    `not \xff UTF-8`,
		"\x1b \"a\" \\ end": `\x1b "a" \\ end`,
	} {
		require.Equal(t, want, printable(in), "%q", in)
	}
	require.Equal(t, "one two", oneLine("one\n\ttwo\r\n"))
}

func TestThousandsAreSetOff(t *testing.T) {
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		require.Equal(t, want, thousands(n))
	}
	require.Equal(t, "1 byte", counted(1, "byte", "bytes"))
	require.Equal(t, "0 bytes", counted(0, "byte", "bytes"))
}
