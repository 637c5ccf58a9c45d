package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"go.yaml.in/yaml/v4"

	"github.com/keymoat/keymoat/abi"
)

// The README's conversation is had anew, line by line.
func TestTheReadmeShowsWhatThePluginAnswers(t *testing.T) {
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, conversation, ok := strings.Cut(string(b), "```text\n")
	require.True(t, ok)
	conversation, _, _ = strings.Cut(conversation, "```")

	g := newGuest("")
	asked := map[string]bool{}
	var answers []string
	for line := range strings.Lines(conversation) {
		line = strings.TrimSuffix(line, "\n")
		question, isQuestion := strings.CutPrefix(line, "→ ")
		if !isQuestion {
			require.NotEmpty(t, answers, line)
			require.Equal(t, strings.TrimPrefix(line, "← "), answers[0])
			answers = answers[1:]
			continue
		}
		require.Empty(t, answers, "an answer is missing before %s", line)
		name, input, _ := strings.Cut(question, " ")
		require.Contains(t, functions, name)
		asked[name] = true
		answer, _ := ask(g, name, strings.ReplaceAll(input, "⏎", "\n"))
		if name == "compile" {
			answer = "(image)"
		}
		answers = strings.Split(strings.TrimSuffix(answer, "\n"), "\n")
	}
	require.Empty(t, answers)
	for name := range functions {
		require.True(t, asked[name], "the README shows no %s", name)
		require.Contains(t, string(b), "| `"+name+"` |")
	}
}

type schema struct {
	Version string
	Exports map[string]struct {
		Description   string
		Input, Output *struct {
			Ref         string `yaml:"$ref"`
			Type        string
			ContentType string `yaml:"contentType"`
		}
	}
	Components struct {
		Schemas map[string]struct {
			Type, Description string
			Required, Enum    []string
			Properties        map[string]any
		}
	}
}

func readSchema(t *testing.T) (s schema) {
	b, err := os.ReadFile("schema.yaml")
	require.NoError(t, err)
	require.NoError(t, yaml.Load(b, &s, yaml.WithKnownFields()))
	return s
}

func TestTheSchemaListsWhatThePluginExports(t *testing.T) {
	wasm := filepath.Join(t.TempDir(), "plugin.wasm")
	build := exec.Command("go", "build", "-buildmode=c-shared", "-o", wasm, ".")
	build.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=")
	output, err := build.CombinedOutput()
	require.NoError(t, err, "%s", output)
	b, err := os.ReadFile(wasm)
	require.NoError(t, err)
	runtime := wazero.NewRuntimeWithConfig(t.Context(), wazero.NewRuntimeConfigInterpreter())
	defer runtime.Close(t.Context())
	module, err := runtime.CompileModule(t.Context(), b)
	require.NoError(t, err)

	s := readSchema(t)
	require.Equal(t, "v1-draft", s.Version)
	var exported, described, tested []string
	for name, f := range module.ExportedFunctions() {
		if name == "_initialize" {
			continue
		}
		exported = append(exported, name)
		require.Empty(t, f.ParamTypes(), name)
		require.Equal(t, []api.ValueType{api.ValueTypeI32}, f.ResultTypes(), name)
	}
	for name, f := range s.Exports {
		described = append(described, name)
		require.NotEmpty(t, f.Description, name)
		if ref, ok := strings.CutPrefix(f.Output.Ref, "#/components/schemas/"); ok {
			require.Contains(t, s.Components.Schemas, ref)
		} else {
			require.NotEmpty(t, f.Output.Type, name)
		}
	}
	for name := range functions {
		tested = append(tested, name)
	}
	slices.Sort(exported)
	slices.Sort(described)
	slices.Sort(tested)
	require.Equal(t, exported, described)
	require.Equal(t, exported, tested)
	for _, f := range module.ImportedFunctions() {
		from, _, _ := f.Import()
		require.Contains(t, []string{"extism:host/env", "wasi_snapshot_preview1"}, from)
	}
}

func TestTheSchemasAreThoseOfThePackage(t *testing.T) {
	schemas := readSchema(t).Components.Schemas
	for name, v := range map[string]any{
		"Request": abi.Request{}, "HTTPRequest": abi.HTTPRequest{}, "HTTPHeader": abi.HTTPHeader{}, "Report": abi.Report{}, "Finding": abi.Finding{},
		"Trace": abi.Trace{}, "Step": abi.Step{}, "StatementTrace": abi.StatementTrace{},
	} {
		var all, required []string
		for i := range reflect.TypeOf(v).NumField() {
			field, options, _ := strings.Cut(reflect.TypeOf(v).Field(i).Tag.Get("json"), ",")
			if all = append(all, field); options == "" {
				required = append(required, field)
			}
		}
		var got []string
		for field := range schemas[name].Properties {
			got = append(got, field)
		}
		require.ElementsMatch(t, all, got, name)
		require.ElementsMatch(t, required, schemas[name].Required, name)
	}
	names := func(n int, name func(i int) string) (all []string) {
		for i := range n {
			all = append(all, name(i))
		}
		return all
	}
	require.Equal(t, names(len(abi.Effects()), func(i int) string { return abi.Effects()[i].String() }), schemas["Effect"].Enum)
	require.Equal(t, names(len(abi.Reasons()), func(i int) string { return abi.Reasons()[i].String() }), schemas["Reason"].Enum)
	require.Equal(t, names(len(abi.Levels()), func(i int) string { return abi.Levels()[i].String() }), schemas["Level"].Enum)
	require.Equal(t, names(len(abi.Networks()), func(i int) string { return abi.Networks()[i].String() }), schemas["Network"].Enum)
}
