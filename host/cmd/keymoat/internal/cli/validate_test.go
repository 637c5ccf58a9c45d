package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func TestValidateReportsEveryFindingWithItsPlace(t *testing.T) {
	args := []string{"validate", "testdata/policies.yaml", "testdata/broken.yaml", "testdata/broken.json", "testdata/policy.json"}
	r := run(t, "", append(args, "-o", "table")...)
	require.Equal(t, 1, r.status)
	require.Empty(t, r.err)
	golden(t, "validate.table", r.out)

	r = run(t, "", args...)
	require.Equal(t, 1, r.status)
	golden(t, "validate.ndjson", r.out)
}

func TestValidateReadsStandardInputAsJSONOrYAML(t *testing.T) {
	for _, document := range []string{`{"Status":"Inactive","Statements":[]}`, "Status: Inactive\nStatements: []\n"} {
		r := run(t, document, "validate", "-")
		require.Equal(t, result{0, `{"File":"-","Valid":true,"Errors":[],"Warnings":[]}` + "\n", ""}, r, document)
	}
}

func TestValidateTellsWhereSyntaxFails(t *testing.T) {
	for document, want := range map[string]finding{
		"{\n \"Status\": \"Active\",,}":      {abi.Finding{Code: abi.CodeSyntax}, 2, 21},
		"{\"Status\": \"Act":                 {abi.Finding{Code: abi.CodeSyntax}, 1, 16},
		"{} {}":                              {abi.Finding{Code: abi.CodeSyntax}, 1, 4},
		"Status: [\n":                        {abi.Finding{Code: abi.CodeSyntax}, 2, 1},
		"Status: Active\n---\na: b\n":        {abi.Finding{Code: abi.CodeSyntax}, 2, 1},
		"\ufeff{\"Status\": \"Active\"}":     {abi.Finding{Code: abi.CodeSyntax}, 1, 1},
		"{\"Status\": \"\xff\"}":             {abi.Finding{Code: abi.CodeSyntax}, 1, 13},
		strings.Repeat("[", 20000):           {abi.Finding{Code: abi.CodeSyntax}, 1, 65},
		"{\"a\":\x00}":                       {abi.Finding{Code: abi.CodeSyntax}, 1, 6},
		"# only a comment\n":                 {abi.Finding{Code: abi.CodeSyntax}, 0, 0},
		"{\"Statements\": [{\"Type\": nul}]": {abi.Finding{Code: abi.CodeSyntax}, 1, 29},
	} {
		r := run(t, document, "validate", "-")
		require.Equal(t, 1, r.status, "%.50q", document)
		var v verdict
		require.NoError(t, json.Unmarshal([]byte(r.out), &v))
		require.False(t, v.Valid)
		require.NotEmpty(t, v.Errors)
		got := v.Errors[len(v.Errors)-1]
		require.NotEmpty(t, got.Message)
		got.Message, got.Pointer = "", ""
		require.Equal(t, want, got, "%.50q", document)
	}
}

func TestValidateGoesOnAfterAFileThatCannotBeRead(t *testing.T) {
	r := run(t, "", "validate", "testdata/nothing.json", "testdata/policy.json", "testdata")
	require.Equal(t, 2, r.status)
	require.Equal(t, `{"File":"testdata/policy.json","Valid":true,"Errors":[],"Warnings":[]}`+"\n", r.out)
	require.Equal(t, "keymoat: testdata/nothing.json: no such file; check the path, or give - for standard input\nkeymoat: testdata: is a directory; name a file in it\n", r.err)
}

func TestValidateChecksImages(t *testing.T) {
	image := filepath.Join(t.TempDir(), "policies.image")
	compiled := run(t, "", "compile", "testdata/policies.yaml", "-o", image)
	require.Zero(t, compiled.status)
	told := revision.FindString(compiled.out)
	require.NotEmpty(t, told)
	require.Equal(t, result{0, `{"File":"` + image + `","Valid":true,"Image":{"Revision":"` + told + `","Accounts":1,"AccessKeys":4},"Errors":[],"Warnings":[]}` + "\n", ""},
		run(t, "", "validate", image))
	require.Contains(t, run(t, "", "validate", image, "-o", "table").out, image+": image of 1 account and 4 keys, revision "+told+"\n")
	bytes, err := os.ReadFile(image)
	require.NoError(t, err)
	bytes[len(bytes)/2] ^= 1
	require.NoError(t, os.WriteFile(image, bytes, 0o666))
	r := run(t, "", "validate", image, "-o", "table")
	require.Equal(t, 1, r.status)
	require.Contains(t, r.out, image+": error: ")
	require.Contains(t, r.out, "(InvalidImage)\n")
}

func TestStrictTakesAFileWithWarningsForNotValid(t *testing.T) {
	const doubtful, fine = `{"Status":"Active","Statements":[]}`, `{"Status":"Inactive","Statements":[]}`
	for _, test := range []struct {
		document, flag string
		status         int
		valid          string
	}{
		{doubtful, "--strict=false", 0, `"Valid":true`},
		{doubtful, "--strict", 1, `"Valid":false`},
		{fine, "--strict", 0, `"Valid":true`},
	} {
		r := run(t, test.document, "validate", "-", test.flag)
		require.Equal(t, test.status, r.status)
		require.Contains(t, r.out, test.valid)
	}
}

func TestCountsOfAListThatWasCutSayMoreThan(t *testing.T) {
	document := func(errors int) string {
		return `{"Accounts":[` + strings.TrimSuffix(strings.Repeat(`{"AccountId":1},`, errors), ",") + `]}`
	}
	for errors, want := range map[int]struct{ table, compile, eval string }{
		abi.MaxFindings:     {"no     10,000  ", "10,000 errors, so no image", "(and 9,999 more errors; see keymoat validate)"},
		abi.MaxFindings + 1: {"no     more than 9,999  ", "more than 9,999 errors, so no image", "(and more than 9,998 more errors; see keymoat validate)"},
	} {
		require.Contains(t, run(t, document(errors), "validate", "-", "-o", "table").out, want.table)
		require.Contains(t, run(t, document(errors), "compile", "-", "-o", filepath.Join(t.TempDir(), "x")).err, want.compile)
		require.Contains(t, run(t, document(errors), "eval", "--policies", "-", "--access-key-id", key1, "--source-ip", "::1").err, want.eval)
	}
}
