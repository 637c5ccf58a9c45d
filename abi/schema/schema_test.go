package schema_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/schema"
)

// base is where the $id of every schema says that it lives.
const base = "https://github.com/keymoat/keymoat/abi/schema/"

var names = []string{
	"access-key-policy.json", "decision.json", "http-request.json", "plugin-config.json",
	"policy-set.json", "report.json", "request.json", "trace.json",
}

func TestEverySchemaIsEmbedded(t *testing.T) {
	found, err := fs.Glob(schema.FS, "*.json")
	require.NoError(t, err)
	require.Equal(t, names, found)
}

func TestEverySchemaAcceptsItsExamples(t *testing.T) {
	compiler := newCompiler(t)
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			compiled := compile(t, compiler, name)
			document := read(t, name).(map[string]any)
			require.Equal(t, base+name, document["$id"])
			require.NotEmpty(t, document["description"])
			examples := document["examples"].([]any)
			require.NotEmpty(t, examples)
			for _, example := range examples {
				require.NoError(t, compiled.Validate(example))
			}
		})
	}
}

func TestEveryPropertyIsDescribed(t *testing.T) {
	for _, name := range names {
		walk(read(t, name), "", func(at string, object map[string]any) {
			if object["additionalProperties"] != false {
				return // a condition, not the description of an object
			}
			for property, v := range object["properties"].(map[string]any) {
				described := v.(map[string]any)
				if _, tag := described["const"]; tag && described["description"] == nil {
					continue // a constant that only tells alternatives apart
				}
				require.NotEmpty(t, described["description"], "%s%s/properties/%s", name, at, property)
			}
		})
	}
}

// Every object that lists its properties must refuse all others.
func TestNoSchemaLetsAnUnknownFieldPass(t *testing.T) {
	for _, name := range names {
		walk(read(t, name), "", func(at string, object map[string]any) {
			if _, ok := object["properties"]; !ok || object["type"] != "object" {
				return
			}
			if strings.HasSuffix(at, "/contains") || at == "/$defs/finding" {
				return // a condition, and a base that error and warning close
			}
			require.Equal(t, false, object["additionalProperties"], name+at)
		})
	}
}

func TestSchemasRefuseWhatTheRulesForbid(t *testing.T) {
	compiler := newCompiler(t)
	statement := `{"Type":"VPCWhiteList","Value":"vpc-a","IPList":["10.0.0.1"]}`
	public := `{"Type":"ClassicWhiteList","IPList":["203.0.113.1"]}`
	policy := func(statements ...string) string {
		return `{"Status":"Active","Statements":[` + strings.Join(statements, ",") + `]}`
	}
	repeat := func(s string, n int) []string {
		return strings.Split(strings.Repeat(s+"\n", n-1)+s, "\n")
	}
	entries := func(n int) string {
		return `{"Type":"ClassicWhiteList","IPList":[` + strings.Join(repeat(`"203.0.113.1"`, n), ",") + `]}`
	}
	require.NoError(t, validate(t, compiler, "access-key-policy.json", policy(repeat(statement, 8)...)))
	require.NoError(t, validate(t, compiler, "access-key-policy.json", policy(append(repeat(statement, 7), public)...)))
	require.NoError(t, validate(t, compiler, "access-key-policy.json", policy(entries(50))))

	for name, bad := range map[string]struct{ schema, document string }{
		"nine statements":                    {"access-key-policy.json", policy(repeat(statement, 9)...)},
		"two public statements":              {"access-key-policy.json", policy(public, public)},
		"fifty-one entries":                  {"access-key-policy.json", policy(entries(51))},
		"no entry":                           {"access-key-policy.json", policy(`{"Type":"ClassicWhiteList","IPList":[]}`)},
		"an empty entry":                     {"access-key-policy.json", policy(`{"Type":"ClassicWhiteList","IPList":[""]}`)},
		"only separators":                    {"access-key-policy.json", policy(`{"Type":"ClassicWhiteList","IPList":" ,;"}`)},
		"a host name":                        {"access-key-policy.json", policy(`{"Type":"ClassicWhiteList","IPList":["localhost"]}`)},
		"a Value on a public statement":      {"access-key-policy.json", policy(`{"Type":"ClassicWhiteList","Value":"vpc-a","IPList":["1.1.1.1"]}`)},
		"no Value on a VPC statement":        {"access-key-policy.json", policy(`{"Type":"VPCWhiteList","IPList":["1.1.1.1"]}`)},
		"a VPC id in upper case":             {"access-key-policy.json", policy(`{"Type":"VPCWhiteList","Value":"vpc-A","IPList":["1.1.1.1"]}`)},
		"a policy without Status":            {"access-key-policy.json", `{"Statements":[]}`},
		"a policy without Statements":        {"access-key-policy.json", `{"Status":"Active"}`},
		"null Statements":                    {"access-key-policy.json", `{"Status":"Active","Statements":null}`},
		"another version":                    {"access-key-policy.json", `{"Version":2,"Status":"Active","Statements":[]}`},
		"a status in lower case":             {"access-key-policy.json", `{"Status":"active","Statements":[]}`},
		"an unknown field in a policy":       {"access-key-policy.json", `{"Status":"Active","Statements":[],"status":1}`},
		"a policy set without Accounts":      {"policy-set.json", `{"Version":1}`},
		"an account without id":              {"policy-set.json", `{"Accounts":[{}]}`},
		"an account id with a space":         {"policy-set.json", `{"Accounts":[{"AccountId":"1 2"}]}`},
		"a key without id":                   {"policy-set.json", `{"Accounts":[{"AccountId":"1","AccessKeys":[{}]}]}`},
		"a broken policy deep in a set":      {"policy-set.json", `{"Accounts":[{"AccountId":"1","AccessKeys":[{"AccessKeyId":"k","AccessKeyPolicy":{}}]}]}`},
		"an exemption without service":       {"policy-set.json", `{"Accounts":[],"ExemptServices":[{"Action":"x"}]}`},
		"null exemptions":                    {"policy-set.json", `{"Accounts":[],"ExemptServices":null}`},
		"a request without key":              {"request.json", `{"SourceIp":"203.0.113.1"}`},
		"a request without address":          {"request.json", `{"AccessKeyId":"k"}`},
		"a source address with a zone":       {"request.json", `{"AccessKeyId":"k","SourceIp":"fe80::1%eth0"}`},
		"a source address with a length":     {"request.json", `{"AccessKeyId":"k","SourceIp":"10.0.0.1/32"}`},
		"a numeric account in a request":     {"request.json", `{"AccessKeyId":"k","SourceIp":"10.0.0.1","AccountId":1}`},
		"an HTTP request without target":     {"http-request.json", `{"SourceIp":"10.0.0.1"}`},
		"a header without value":             {"http-request.json", `{"Target":"/","SourceIp":"10.0.0.1","Headers":[{"Name":"a"}]}`},
		"a denial without code":              {"decision.json", `{"Effect":"Deny","Reason":"NoPublicPolicy","Level":"Account","Network":"Public"}`},
		"an allowed call with a denial code": {"decision.json", `{"Effect":"Allow","Reason":"NoActivePolicy","Level":"None","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}`},
		"a match without entry":              {"decision.json", `{"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public"}`},
		"a match that denies":                {"decision.json", `{"Effect":"Deny","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"10.0.0.0/8","Code":"InvalidAccessKeyId.AccessPolicyDenied"}`},
		"a valid report with errors":         {"report.json", `{"Valid":true,"Errors":[{"Code":"Syntax","Pointer":"","Message":"m"}],"Warnings":[]}`},
		"an invalid report without errors":   {"report.json", `{"Valid":false,"Errors":[],"Warnings":[]}`},
		"an error told as a warning":         {"report.json", `{"Valid":true,"Errors":[],"Warnings":[{"Code":"Syntax","Pointer":"","Message":"m"}]}`},
		"a finding with an unknown field":    {"report.json", `{"Valid":false,"Errors":[{"Code":"Syntax","Pointer":"","Message":"m","Line":1}],"Warnings":[]}`},
		"a pointer that is none":             {"report.json", `{"Valid":false,"Errors":[{"Code":"Syntax","Pointer":"Accounts","Message":"m"}],"Warnings":[]}`},
		"a trace without steps":              {"trace.json", `{"Request":{"AccessKeyId":"k","SourceIp":"10.0.0.1"},"Decision":{"Effect":"Allow","Reason":"NoActivePolicy","Level":"None","Network":"Public"},"Revision":"` + strings.Repeat("0", 64) + `","Steps":[]}`},
		"a configuration without policies":   {"plugin-config.json", `{"mode":"enforce"}`},
		"a configuration with two policies":  {"plugin-config.json", `{"policy_set":{"Accounts":[]},"policy_image":"AAAA"}`},
		"a header without trusted peers":     {"plugin-config.json", `{"policy_set":{"Accounts":[]},"vpc_id":{"from":"header","name":"x-vpc-id"}}`},
		"nobody trusted to set the header":   {"plugin-config.json", `{"policy_set":{"Accounts":[]},"vpc_id":{"from":"header","name":"x-vpc-id","trusted_peers":[]}}`},
		"an unknown mode":                    {"plugin-config.json", `{"policy_set":{"Accounts":[]},"mode":"off"}`},
		"a denial that says success":         {"plugin-config.json", `{"policy_set":{"Accounts":[]},"denial":{"status":200}}`},
	} {
		t.Run(name, func(t *testing.T) {
			require.Error(t, validate(t, compiler, bad.schema, bad.document))
		})
	}
}

// A fact stands in one place, package abi; the schemas repeat it and must agree.
func TestSchemasAgreeWithPackageABI(t *testing.T) {
	errorCodes, warningCodes := findingCodes(t)
	for pointer, want := range map[string]any{
		"decision.json#/properties/Effect/enum":                 texts(abi.Effects()),
		"decision.json#/properties/Reason/enum":                 texts(abi.Reasons()),
		"decision.json#/properties/Level/enum":                  texts(abi.Levels()),
		"decision.json#/properties/Network/enum":                texts(abi.Networks()),
		"decision.json#/properties/Code/const":                  abi.DenialCode,
		"decision.json#/properties/Statement/maximum":           number(abi.MaxStatements - 1),
		"trace.json#/$defs/step/properties/Step/enum":           kinds(abi.Steps()),
		"trace.json#/properties/Steps/maxItems":                 number(len(abi.Steps())),
		"trace.json#/$defs/step/properties/Statements/maxItems": number(abi.MaxStatements),
		"trace.json#/$defs/statement/properties/Verdict/enum": kinds([]abi.Verdict{
			abi.VerdictOtherNetwork, abi.VerdictOtherVPC, abi.VerdictApplies, abi.VerdictNotListed, abi.VerdictMatched}),
		"report.json#/$defs/errorCode/enum":                                            errorCodes,
		"report.json#/$defs/warningCode/enum":                                          warningCodes,
		"report.json#/properties/Errors/maxItems":                                      number(abi.MaxFindings),
		"report.json#/properties/Warnings/maxItems":                                    number(abi.MaxFindings),
		"access-key-policy.json#/properties/Status/enum":                               kinds([]string{abi.StatusActive, abi.StatusInactive}),
		"access-key-policy.json#/properties/Statements/maxItems":                       number(abi.MaxStatements),
		"access-key-policy.json#/properties/Statements/contains/properties/Type/const": abi.TypeClassic,
		"access-key-policy.json#/$defs/statement/properties/Type/enum":                 kinds([]string{abi.TypeClassic, abi.TypeVPC}),
		"access-key-policy.json#/$defs/statement/if/properties/Type/const":             abi.TypeVPC,
		"access-key-policy.json#/$defs/statement/properties/IPList/anyOf/0/maxItems":   number(abi.MaxEntries),
		"access-key-policy.json#/$defs/statement/properties/Value/pattern":             "^(vpc-[0-9a-z]{1,64}|" + abi.AllowAllVPC + ")$",
		"policy-set.json#/$defs/id/maxLength":                                          number(abi.MaxAccessKeyID),
		"policy-set.json#/$defs/name/maxLength":                                        number(abi.MaxField),
		"request.json#/properties/AccessKeyId/maxLength":                               number(abi.MaxAccessKeyID),
		"request.json#/$defs/field/maxLength":                                          number(abi.MaxField),
		"plugin-config.json#/properties/service/maxLength":                             number(abi.MaxField),
		"plugin-config.json#/properties/account_id/maxLength":                          number(abi.MaxAccessKeyID),
	} {
		t.Run(pointer, func(t *testing.T) {
			name, path, _ := strings.Cut(pointer, "#")
			v := read(t, name)
			for _, key := range strings.Split(path, "/")[1:] {
				switch container := v.(type) {
				case map[string]any:
					v = container[key]
				case []any:
					i, err := strconv.Atoi(key)
					require.NoError(t, err)
					v = container[i]
				}
			}
			require.EqualValues(t, want, v)
		})
	}
}

func TestTheIDPatternIsWhatValidIDAccepts(t *testing.T) {
	compiler := newCompiler(t)
	for c := rune(0); c < 256; c++ {
		request := map[string]any{"AccessKeyId": "a" + string(c) + "z", "SourceIp": "203.0.113.1"}
		err := compile(t, compiler, "request.json").Validate(request)
		require.Equal(t, abi.ValidID("a"+string(c)+"z"), err == nil, "%q", c)
	}
}

// findingCodes reads the codes from the source of package abi: the first
// group of constants of that type are errors, the second warnings, and
// MoreFindings, which stands alone, may end either list.
func findingCodes(t *testing.T) (errors, warnings []any) {
	file, err := parser.ParseFile(token.NewFileSet(), "../finding.go", nil, 0)
	require.NoError(t, err)
	var groups [][]any
	for _, declaration := range file.Decls {
		constants, ok := declaration.(*ast.GenDecl)
		if !ok || constants.Tok != token.CONST {
			continue
		}
		var group []any
		for _, spec := range constants.Specs {
			value := spec.(*ast.ValueSpec)
			if kind, ok := value.Type.(*ast.Ident); ok && kind.Name == "FindingCode" {
				code, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				group = append(group, code)
			}
		}
		if group != nil {
			groups = append(groups, group)
		}
	}
	require.Len(t, groups, 3)
	require.Equal(t, []any{string(abi.CodeMoreFindings)}, groups[2])
	return append(groups[0], groups[2]...), append(groups[1], groups[2]...)
}

func texts[T interface{ String() string }](values []T) (all []any) {
	for _, v := range values {
		all = append(all, v.String())
	}
	return all
}

func kinds[T ~string](values []T) (all []any) {
	for _, v := range values {
		all = append(all, string(v))
	}
	return all
}

func number(n int) any {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(strconv.Itoa(n)))
	if err != nil {
		panic(err)
	}
	return v
}

func newCompiler(t *testing.T) *jsonschema.Compiler {
	compiler := jsonschema.NewCompiler()
	for _, name := range names {
		require.NoError(t, compiler.AddResource(base+name, read(t, name)))
	}
	return compiler
}

func compile(t *testing.T, compiler *jsonschema.Compiler, name string) *jsonschema.Schema {
	compiled, err := compiler.Compile(base + name)
	require.NoError(t, err)
	return compiled
}

func validate(t *testing.T, compiler *jsonschema.Compiler, name, document string) error {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	require.NoError(t, err)
	return compile(t, compiler, name).Validate(v)
}

func read(t *testing.T, name string) any {
	b, err := schema.FS.ReadFile(name)
	require.NoError(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	require.NoError(t, err)
	return v
}

// walk calls visit for every object below v, v included, except the examples.
func walk(v any, at string, visit func(at string, object map[string]any)) {
	switch v := v.(type) {
	case map[string]any:
		visit(at, v)
		for key, child := range v {
			if key != "examples" {
				walk(child, at+"/"+key, visit)
			}
		}
	case []any:
		for i, child := range v {
			walk(child, at+"/"+strconv.Itoa(i), visit)
		}
	}
}
