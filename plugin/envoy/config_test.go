package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v4"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/schema"
	"github.com/keymoat/keymoat/plugin/denial"
	"github.com/keymoat/keymoat/plugin/policy"
)

const emptySet = `{"Accounts":[]}`

// with is a configuration with an empty policy set and further fields.
func with(fields string) string { return `{"policy_set":` + emptySet + `,` + fields + `}` }

func image(t testing.TB) string {
	b, _, err := policy.Compile([]byte(policySet))
	require.NoError(t, err)
	return base64.StdEncoding.EncodeToString(b)
}

func TestConfigurationsThatAreAccepted(t *testing.T) {
	for _, document := range []string{
		`{"policy_set":` + policySet + `}`,
		`{"policy_image":"` + image(t) + `"}`,
		with(`"mode":"enforce"`),
		with(`"mode":"report_only"`),
		with(`"candidate_policy_set":` + policySet),
		with(`"vpc_id":{"from":"proxy_protocol_tlv","key":"vpc_id"}`),
		with(`"vpc_id":{"key":"vpc_id","from":"proxy_protocol_tlv"}`),
		with(`"vpc_id":{"from":"static","value":"vpc-a"}`),
		with(`"vpc_id":{"from":"header","name":"X-Vpc-Id","trusted_peers":["10.0.0.0/8","2001:db8::1"]}`),
		with(`"service":"Oss"`),
		with(`"service":"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\\\"["`),
		with(`"account_id":"1000000000000001"`),
		with(`"on_missing_access_key":"allow"`),
		with(`"on_missing_access_key":"deny"`),
		with(`"on_form_body":"allow"`),
		with(`"on_form_body":"deny"`),
		with(`"denial":{}`),
		with(`"denial":{"format":"oss_xml","status":599}`),
		with(`"denial":{"status":400}`),
	} {
		_, errors, _ := parseConfig([]byte(document))
		require.Empty(t, errors, document)
		require.NoError(t, validate(t, document), document)
	}
}

// Istio hands pluginConfig to the filter as JSON.
func TestTheConfigurationOfTheIstioManifestIsAccepted(t *testing.T) {
	b, err := os.ReadFile("../../examples/envoy/wasmplugin.yaml")
	require.NoError(t, err)
	var manifest struct {
		Kind string
		Spec struct {
			PluginConfig map[string]any `yaml:"pluginConfig"`
		}
	}
	require.NoError(t, yaml.NewDecoder(bytes.NewReader(b)).Decode(&manifest)) // the first document of the file
	require.Equal(t, "WasmPlugin", manifest.Kind)
	document, err := json.Marshal(manifest.Spec.PluginConfig)
	require.NoError(t, err)
	c, errors, warnings := parseConfig(document)
	require.Empty(t, errors)
	require.Empty(t, warnings)
	require.NoError(t, validate(t, string(document)))
	require.Equal(t, vpcTLV, c.vpc.from)
	require.True(t, c.denyMissing)
	require.True(t, c.denyForms)
}

func TestEveryErrorOfAConfigurationNamesItsPlace(t *testing.T) {
	tests := []struct {
		document, pointer string
		code              abi.FindingCode
		// beyondSchema: the schema cannot say this.
		beyondSchema bool
	}{
		{``, "", abi.CodeSyntax, true},
		{`{`, "", abi.CodeSyntax, true},
		{with(`"mode":"enforce"`) + `{}`, "", abi.CodeSyntax, true},
		{`{"policy_set":` + emptySet + `,"mode":"` + "\xff" + `"}`, "/mode", abi.CodeSyntax, true},
		{strings.Repeat(`[`, 20_000), strings.Repeat("/0", deepest-1), abi.CodeSyntax, true},
		{`{"policy_set":` + strings.Repeat(`[`, deepest) + strings.Repeat(`]`, deepest) + `}`, "/policy_set" + strings.Repeat("/0", deepest-2), abi.CodeSyntax, true},
		{`{"policy_set":` + strings.Repeat(`[`, deepest-1) + strings.Repeat(`]`, deepest-1) + `}`, "/policy_set", abi.CodeWrongType, false},
		{`{"policy_set":` + strings.Repeat(`{"Accounts":`, 20_000), "/policy_set" + strings.Repeat("/Accounts", deepest-1), abi.CodeSyntax, true},
		{`[]`, "", abi.CodeWrongType, false},
		{`null`, "", abi.CodeWrongType, false},
		{`{}`, "", abi.CodeMissingField, false},
		{`{"policy_set":` + emptySet + `,"policy_image":"` + image(t) + `"}`, "", abi.CodeInvalidValue, false},
		{with(`"policies":{}`), "/policies", abi.CodeUnknownField, false},
		{with(`"Mode":"enforce"`), "/Mode", abi.CodeUnknownField, false},
		{with(`"mode":"enforce","mode":"enforce"`), "/mode", abi.CodeDuplicateField, true},
		{`{"policy_set":[]}`, "/policy_set", abi.CodeWrongType, false},
		{`{"policy_set":{"Accounts":[{"AccountId":"1","AccessKeyPolicy":{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["1.2.3.4","x"]}]}}]}}`,
			"/policy_set/Accounts/0/AccessKeyPolicy/Statements/0/IPList/1", abi.CodeInvalidEntry, false},
		{with(`"candidate_policy_set":{"Accounts":[{}]}`), "/candidate_policy_set/Accounts/0", abi.CodeMissingField, false},
		{`{"policy_image":5}`, "/policy_image", abi.CodeWrongType, false},
		{`{"policy_image":""}`, "/policy_image", abi.CodeInvalidValue, false},
		{`{"policy_image":"!"}`, "/policy_image", abi.CodeInvalidValue, true},
		{`{"policy_image":"AAAA"}`, "/policy_image", abi.CodeInvalidValue, true},
		{`{"policy_image":"` + image(t)[4:] + `"}`, "/policy_image", abi.CodeInvalidValue, true},
		{with(`"mode":"report-only"`), "/mode", abi.CodeInvalidValue, false},
		{with(`"mode":null`), "/mode", abi.CodeWrongType, false},
		{with(`"service":""`), "/service", abi.CodeInvalidValue, false},
		{with(`"service":"` + strings.Repeat("s", 256) + `"`), "/service", abi.CodeInvalidValue, false},
		{with(`"account_id":"a b"`), "/account_id", abi.CodeInvalidValue, false},
		{with(`"account_id":7`), "/account_id", abi.CodeWrongType, false},
		{with(`"on_missing_access_key":"refuse"`), "/on_missing_access_key", abi.CodeInvalidValue, false},
		{with(`"on_form_body":"refuse"`), "/on_form_body", abi.CodeInvalidValue, false},
		{with(`"on_form_body":true`), "/on_form_body", abi.CodeWrongType, false},
		{with(`"denial":"json"`), "/denial", abi.CodeWrongType, false},
		{with(`"denial":{"format":"xml"}`), "/denial/format", abi.CodeInvalidValue, false},
		{with(`"denial":{"status":200}`), "/denial/status", abi.CodeInvalidValue, false},
		{with(`"denial":{"status":600}`), "/denial/status", abi.CodeInvalidValue, false},
		{with(`"denial":{"status":403.5}`), "/denial/status", abi.CodeInvalidValue, false},
		{with(`"denial":{"status":"403"}`), "/denial/status", abi.CodeInvalidValue, false},
		{with(`"denial":{"body":"no"}`), "/denial/body", abi.CodeUnknownField, false},
		{with(`"vpc_id":"vpc-a"`), "/vpc_id", abi.CodeWrongType, false},
		{with(`"vpc_id":{}`), "/vpc_id", abi.CodeMissingField, false},
		{with(`"vpc_id":{"from":"tlv","key":"k"}`), "/vpc_id/from", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"static"}`), "/vpc_id", abi.CodeMissingField, false},
		{with(`"vpc_id":{"from":"static","value":"AllowAllVPC"}`), "/vpc_id/value", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"static","value":"vpc-A"}`), "/vpc_id/value", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"static","value":"vpc-a","key":"k"}`), "/vpc_id", abi.CodeUnknownField, false},
		{with(`"vpc_id":{"from":"proxy_protocol_tlv"}`), "/vpc_id", abi.CodeMissingField, false},
		{with(`"vpc_id":{"from":"proxy_protocol_tlv","key":""}`), "/vpc_id/key", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"proxy_protocol_tlv","key":"a\u0000b"}`), "/vpc_id/key", abi.CodeInvalidValue, true},
		{with(`"vpc_id":{"from":"header","name":"x-vpc-id"}`), "/vpc_id", abi.CodeMissingField, false},
		{with(`"vpc_id":{"from":"header","trusted_peers":["10.0.0.1"]}`), "/vpc_id", abi.CodeMissingField, false},
		{with(`"vpc_id":{"from":"header","name":"","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"header","name":7,"trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeWrongType, false},
		{with(`"vpc_id":{"from":"header","name":"X.Ots+AccessKeyId","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, true},
		{with(`"vpc_id":{"from":"header","name":"x vpc","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"header","name":":path","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"header","name":"Host","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, true},
		{with(`"vpc_id":{"from":"header","name":"authorization","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, true},
		{with(`"vpc_id":{"from":"header","name":"X_Ots-AccessKeyId","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, true},
		{with(`"vpc_id":{"from":"header","name":"Content-Type","trusted_peers":["10.0.0.1"]}`), "/vpc_id/name", abi.CodeInvalidValue, true},
		{with(`"vpc_id":{"from":"header","name":"x-vpc-id","trusted_peers":[]}`), "/vpc_id/trusted_peers", abi.CodeInvalidValue, false},
		{with(`"vpc_id":{"from":"header","name":"x-vpc-id","trusted_peers":"10.0.0.1"}`), "/vpc_id/trusted_peers", abi.CodeWrongType, false},
		{with(`"vpc_id":{"from":"header","name":"x-vpc-id","trusted_peers":["10.0.0.1","proxy"]}`), "/vpc_id/trusted_peers/1", abi.CodeInvalidEntry, false},
		{with(`"vpc_id":{"from":"header","name":"x-vpc-id","trusted_peers":["::ffff:10.0.0.0/95"]}`), "/vpc_id/trusted_peers/0", abi.CodeInvalidEntry, true},
	}
	for _, test := range tests {
		_, errors, _ := parseConfig([]byte(test.document))
		require.NotEmpty(t, errors, test.document)
		require.Equal(t, test.pointer, errors[0].Pointer, test.document)
		require.Equal(t, test.code, errors[0].Code, test.document)
		require.NotEmpty(t, errors[0].Message)
		if !test.beyondSchema {
			require.Error(t, validate(t, test.document), "the schema accepts %s", test.document)
		}
	}
}

func TestEveryErrorOfAConfigurationIsReported(t *testing.T) {
	_, errors, _ := parseConfig([]byte(`{"mode":"off","denial":{"status":1},"x":1,"policy_set":{"Accounts":[{"AccountId":"!"}]}}`))
	var pointers []string
	for _, e := range errors {
		pointers = append(pointers, e.Pointer)
	}
	require.Equal(t, []string{"/mode", "/denial/status", "/x", "/policy_set/Accounts/0/AccountId"}, pointers)
}

func TestOfManyErrorsTheFirstAreLogged(t *testing.T) {
	h := &fakeHost{config: `{"policy_set":{"Accounts":[` + strings.Repeat(`{},`, 99) + `{}]}}`}
	f := &filter{host: h}
	f.createContext(1, 0)
	require.False(t, f.configure(1, 0))
	require.Len(t, h.lines, mostLogged+1)
	require.Equal(t, "configuration rejected: and 80 more", h.lines[mostLogged])
}

func TestWhatAConfigurationLeavesOut(t *testing.T) {
	c, errors, _ := parseConfig([]byte(with(`"denial":{"format":"openapi"}`)))
	require.Empty(t, errors)
	require.Equal(t, denial.OpenAPI, c.format)
	require.Equal(t, 400, c.status)
	require.False(t, c.reportOnly)
	require.False(t, c.denyMissing)
	require.False(t, c.denyForms)
	require.Nil(t, c.candidate)
	require.Equal(t, vpcNone, c.vpc.from)

	c, errors, _ = parseConfig([]byte(with(`"denial":{"status":451}`)))
	require.Empty(t, errors)
	require.Equal(t, denial.JSON, c.format)
	require.Equal(t, 451, c.status)
}

func TestAnImageIsWhatThePolicySetCompilesTo(t *testing.T) {
	document, _, _ := parseConfig([]byte(`{"policy_set":` + policySet + `}`))
	compiled, _, _ := parseConfig([]byte(`{"policy_image":"` + image(t) + `"}`))
	require.Equal(t, document.evaluator.Revision(), compiled.evaluator.Revision())
}

// The buffer that Envoy hands over is used again for the next answer.
func TestAConfigurationDoesNotAliasItsDocument(t *testing.T) {
	document := []byte(`{"policy_set":` + policySet + `,"service":"Ecs","account_id":"1000000000000001",
		"vpc_id":{"from":"header","name":"X-Vpc-Id","trusted_peers":["10.0.0.1/8"]}}`)
	c, errors, warnings := parseConfig(document)
	require.Empty(t, errors)
	require.Equal(t, []abi.Finding{{Code: abi.CodeHostBits, Pointer: "/vpc_id/trusted_peers/0", Message: "host bits are set; read as 10.0.0.0/8"}}, warnings)
	revision := c.evaluator.Revision()
	for i := range document {
		document[i] = 'X'
	}
	require.Equal(t, "Ecs", c.service)
	require.Equal(t, "1000000000000001", c.accountID)
	require.Equal(t, "x-vpc-id", c.vpc.header)
	require.Len(t, c.vpc.trusted, 1)
	require.Equal(t, "10.0.0.0/8", c.vpc.trusted[0].String())
	again, err := policy.Open(bytes.Clone(c.evaluator.Image()))
	require.NoError(t, err)
	require.Equal(t, revision, again.Revision())
}

func TestWarningsAreLoggedWithTheirPlace(t *testing.T) {
	h := &fakeHost{config: `{"candidate_policy_set":{"Accounts":[{"AccountId":"1","AccessKeyPolicy":{"Status":"Active","Statements":[]}}]},"policy_set":` + emptySet + `}`}
	newFilter(t, h)
	require.Contains(t, h.lines[0], "configuration accepted: revision ")
	require.Contains(t, h.lines[0], "; 1 warnings, first: /candidate_policy_set/Accounts/0/AccessKeyPolicy/Statements: ")
}

func FuzzConfiguration(f *testing.F) {
	for _, seed := range []string{``, `{}`, with(`"mode":"enforce"`), with(`"vpc_id":{"from":"static","value":"vpc-a"}`), `{"policy_image":"` + image(f) + `"}`,
		with(`"vpc_id":{"from":"header"}`),
		with(`"vpc_id":{"from":"header","name":"X-Vpc-Id","trusted_peers":["10.0.0.0/8"]},"denial":{"format":"plain","status":400}`)} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		c, errors, _ := parseConfig(document)
		for _, e := range errors {
			require.NotEmpty(t, e.Code)
			require.NotEmpty(t, e.Message)
		}
		if len(errors) > 0 {
			return
		}
		require.NotNil(t, c.evaluator)
		require.GreaterOrEqual(t, c.status, 400)
		require.Less(t, c.status, 600)
	})
}

func validate(t testing.TB, document string) error {
	v, err := jsonschema.UnmarshalJSON(strings.NewReader(document))
	require.NoError(t, err)
	compiler := jsonschema.NewCompiler()
	const base = "https://github.com/keymoat/keymoat/abi/schema/"
	names, err := fs.Glob(schema.FS, "*.json")
	require.NoError(t, err)
	for _, name := range names {
		b, err := fs.ReadFile(schema.FS, name)
		require.NoError(t, err)
		s, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
		require.NoError(t, err)
		require.NoError(t, compiler.AddResource(base+name, s))
	}
	compiled, err := compiler.Compile(base + "plugin-config.json")
	require.NoError(t, err)
	return compiled.Validate(v)
}
