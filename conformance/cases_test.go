package conformance

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/schema"
)

func TestEveryCaseFileSatisfiesTheSchema(t *testing.T) {
	compiled := newSchemas(t).compile(t, "../../conformance/cases.schema.json")
	eachFile(t, func(t *testing.T, content []byte, _ caseFile) {
		require.True(t, jsontext.Value(content).IsValid(), "it has a name twice")
		require.NoError(t, compiled.Validate(decode(t, content)))
	})
}

func TestEveryPolicySetOfAFileIsUsedUnderItsName(t *testing.T) {
	eachFile(t, func(t *testing.T, content []byte, file caseFile) {
		for name := range file.PolicySets {
			require.GreaterOrEqual(t, bytes.Count(content, []byte(`"`+name+`"`)), 2, name)
		}
	})
}

func TestEveryIdIsUnique(t *testing.T) {
	seen := map[string]string{}
	for _, c := range allCases(t) {
		require.Empty(t, seen[c.ID], "%s stands in two files", c.ID)
		seen[c.ID] = c.Group
	}
}

// Where nothing may be loaded, a case must not load anything: the cases after
// it rely on that.
func TestCasesWithNothingLoadedLoadNothing(t *testing.T) {
	for _, c := range allCases(t) {
		for _, r := range c.requests {
			_, loads := r.answer.(loadedAs)
			require.False(t, loads && string(c.policySet) == "null", c.ID)
		}
	}
}

func TestOnlySyntaxErrorsHaveNoPointer(t *testing.T) {
	for _, c := range allCases(t) {
		for _, r := range c.requests {
			if want, ok := r.answer.(reported); ok {
				for _, f := range slices.Concat(want.Errors.All, want.Warnings.All) {
					require.Equal(t, f.Code == string(abi.CodeSyntax), f.Pointer == nil, c.ID)
				}
			}
		}
	}
}

// What can be judged must be what the published schemas describe, and what
// they refuse must be refused.
func TestCasesAgreeWithThePublishedSchemas(t *testing.T) {
	schemas := newSchemas(t)
	request, httpRequest := schemas.compile(t, "request.json"), schemas.compile(t, "http-request.json")
	set, policy := schemas.compile(t, "policy-set.json"), schemas.compile(t, "access-key-policy.json")
	accepts := func(document []byte) bool {
		v := decode(t, document)
		return set.Validate(v) == nil || policy.Validate(v) == nil
	}
	// Rules that a schema cannot say, or not in full.
	beyond := map[string]bool{"InvalidEntry": true, "TooManyEntries": true, "DuplicateAccount": true, "DuplicateAccessKey": true}

	for _, c := range allCases(t) {
		t.Run(c.ID, func(t *testing.T) {
			if set := string(c.policySet); set != "" && set != "null" {
				require.True(t, accepts(c.policySet))
			}
			for _, r := range c.requests {
				switch want := r.answer.(type) {
				case decided:
					if r.verb == "Evaluate" {
						require.NoError(t, request.Validate(decode(t, r.payload)))
					} else if r.verb == "Authorize" {
						require.NoError(t, httpRequest.Validate(decode(t, r.payload)))
					}
				case traced:
					require.NoError(t, request.Validate(decode(t, r.payload)))
				case reported:
					if r.verb != "Validate" {
						continue
					}
					if want.valid() {
						require.True(t, accepts(r.bytes), "%s", r.bytes)
					} else if !slices.ContainsFunc(want.Errors.All, func(f finding) bool { return beyond[f.Code] }) {
						require.False(t, accepts(r.bytes), "%s", r.bytes)
					}
				}
			}
		})
	}
}

// Everything that an evaluator can say is expected by at least one case.
func TestEverythingThatCanBeSaidIsCovered(t *testing.T) {
	said := map[string]bool{}
	say := func(kind string, v any) { said[kind+" "+asText(v)] = true }
	for _, c := range allCases(t) {
		for _, r := range c.requests {
			switch want := r.answer.(type) {
			case failed:
				say("status", want.code)
			case loadedAs:
				say("status", abi.StatusOK)
			case refusedWith:
				say("status", abi.StatusInvalidDocument)
			case reported:
				for _, f := range want.Errors.findings() {
					say("error", f.Code)
				}
				for _, f := range want.Warnings.findings() {
					say("warning", f.Code)
				}
			case decided:
				var d abi.Decision
				require.NoError(t, json.Unmarshal(want.decision, &d))
				say("effect", d.Effect)
				say("reason", d.Reason)
				say("level", d.Level)
				say("network", d.Network)
			case traced:
				var steps []abi.Step
				require.NoError(t, json.Unmarshal(want.Steps, &steps))
				for _, step := range steps {
					say("step", step.Step)
					for _, s := range step.Statements {
						say("verdict", s.Verdict)
					}
				}
			}
		}
	}

	// What no case can bring about, and why.
	for _, beyond := range []string{
		"status TooLarge",        // needs more input than a test should hold
		"status InvalidArgument", // a fault of the host, not of a request
		"status Internal",        // a fault of the evaluator
		"error TooLarge",         // needs a policy set of gigabytes
		"warning MoreFindings",   // the list of errors shows that lists are cut
	} {
		require.False(t, said[beyond], "%s is covered now: it is no exception", beyond)
		said[beyond] = true
	}
	for kind, values := range map[string][]any{
		"status": enum(abi.Statuses()), "effect": enum(abi.Effects()), "reason": enum(abi.Reasons()),
		"level": enum(abi.Levels()), "network": enum(abi.Networks()), "step": enum(abi.Steps()),
		"error":   schemaEnum(t, "report.json", "errorCode"),
		"warning": schemaEnum(t, "report.json", "warningCode"),
		"verdict": schemaEnum(t, "trace.json", "statement", "properties", "Verdict"),
	} {
		for _, v := range values {
			require.True(t, said[kind+" "+asText(v)], "no case expects the %s %s", kind, asText(v))
		}
	}
}

// The tables of README.md name every case, and nothing that is no case.
func TestREADMENamesEveryCase(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	known, named := map[string]bool{}, map[string]bool{}
	for _, c := range allCases(t) {
		known[c.ID] = true
	}
	_, tables, ok := strings.Cut(string(readme), "\n## What is covered\n")
	require.True(t, ok)
	id := regexp.MustCompile("`([a-z0-9-]+)`")
	for line := range strings.Lines(tables) {
		_, cells, ok := strings.Cut(strings.TrimPrefix(line, "| "), " | ") // the first cell is the rule
		if !ok {
			continue
		}
		for _, match := range id.FindAllStringSubmatch(cells, -1) {
			require.True(t, known[match[1]], "README.md names %s, which is no case", match[1])
			named[match[1]] = true
		}
	}
	for id := range known {
		require.True(t, named[id], "README.md does not name %s", id)
	}
}

func TestFaultyCaseFilesAreRefused(t *testing.T) {
	file := func(cases string) string { return `{"$schema":"s","Subject":"s","Cases":[` + cases + `]}` }
	one := func(request string) string {
		return file(`{"Id":"i","Title":"t","Covers":"c","Requests":[` + request + `]}`)
	}
	require.NoError(t, readError(one(`{"Evaluate":{},"Expect":{"Error":"NotLoaded"}}`)))
	for name, content := range map[string]string{
		"not JSON":                    `{`,
		"an unknown field":            file(`{"Id":"i","Name":"n"}`),
		"something behind":            file("") + `{}`,
		"an unknown policy set":       file(`{"Id":"i","PolicySet":"nowhere","Requests":[]}`),
		"no expectation":              one(`{"Evaluate":{}}`),
		"two verbs":                   one(`{"Evaluate":{},"Load":{},"Expect":{}}`),
		"an unknown verb":             one(`{"Judge":{},"Expect":{}}`),
		"an unknown damage":           one(`{"LoadImage":{"PolicySet":{"Accounts":[]},"Damage":"Lost"},"Expect":{"Loaded":true}}`),
		"an image of nothing":         one(`{"LoadImage":{"PolicySet":{}},"Expect":{"Loaded":true}}`),
		"bytes that are no list":      one(`{"LoadRaw":"text","Expect":{"Loaded":true}}`),
		"bytes that are no base64":    one(`{"LoadRaw":[{"Base64":"*"}],"Expect":{"Loaded":true}}`),
		"a load that expects nothing": one(`{"Load":{},"Expect":{}}`),
		"a report that is none":       one(`{"Validate":{},"Expect":{"Faults":[]}}`),
		"a trace that is none":        one(`{"Explain":{},"Expect":{"Result":1}}`),
	} {
		t.Run(name, func(t *testing.T) { require.Error(t, readError(content)) })
	}
}

func readError(content string) error {
	_, err := readCases([]byte(content))
	return err
}

func allCases(t *testing.T) []Case {
	cases, err := Cases()
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	return cases
}

func eachFile(t *testing.T, check func(t *testing.T, content []byte, file caseFile)) {
	names, err := fs.Glob(files, "cases/*.json")
	require.NoError(t, err)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			content, err := files.ReadFile(name)
			require.NoError(t, err)
			var file caseFile
			require.NoError(t, strictly(content, &file))
			check(t, content, file)
		})
	}
}

func (l findingList) findings() []finding {
	if l.Last != nil {
		return []finding{*l.Last}
	}
	return l.All
}

func asText(v any) string {
	b, _ := json.Marshal(v)
	if status, ok := v.(abi.Status); ok {
		return status.String()
	}
	return strings.Trim(string(b), `"`)
}

func enum[T any](values []T) (all []any) {
	for _, v := range values {
		all = append(all, v)
	}
	return all
}

func schemaEnum(t *testing.T, name string, path ...string) []any {
	content, err := schema.FS.ReadFile(name)
	require.NoError(t, err)
	v := decode(t, content).(map[string]any)["$defs"].(map[string]any)
	for _, key := range path {
		v = v[key].(map[string]any)
	}
	return v["enum"].([]any)
}

type schemas struct{ *jsonschema.Compiler }

const schemaBase = "https://github.com/keymoat/keymoat/abi/schema/"

func newSchemas(t *testing.T) schemas {
	s := schemas{jsonschema.NewCompiler()}
	names, err := fs.Glob(schema.FS, "*.json")
	require.NoError(t, err)
	for _, name := range names {
		content, err := schema.FS.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, s.AddResource(schemaBase+name, decode(t, content)))
	}
	own, err := os.ReadFile("cases.schema.json")
	require.NoError(t, err)
	require.NoError(t, s.AddResource("https://github.com/keymoat/keymoat/conformance/cases.schema.json", decode(t, own)))
	return s
}

func (s schemas) compile(t *testing.T, name string) *jsonschema.Schema {
	url := schemaBase + name
	if strings.HasPrefix(name, "../../") {
		url = "https://github.com/keymoat/keymoat/" + strings.TrimPrefix(name, "../../")
	}
	compiled, err := s.Compile(url)
	require.NoError(t, err)
	return compiled
}

func decode(t *testing.T, b []byte) any {
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	require.NoError(t, err)
	return v
}
