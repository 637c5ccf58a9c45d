package policy

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// Documents for tests, from the inside out.

func statementOf(kind, rest string) string { return `{"Type":"` + kind + `",` + rest + `}` }
func classicOf(entries string) string {
	return statementOf("ClassicWhiteList", `"IPList":[`+entries+`]`)
}
func vpcOf(vpc, entries string) string {
	return statementOf("VPCWhiteList", `"Value":"`+vpc+`","IPList":[`+entries+`]`)
}
func active(statements ...string) string {
	return `{"Status":"Active","Statements":[` + strings.Join(statements, ",") + `]}`
}
func withAccounts(accounts ...string) string {
	return `{"Accounts":[` + strings.Join(accounts, ",") + `]}`
}
func withKeys(keys ...string) string {
	return withAccounts(`{"AccountId":"1","AccessKeys":[` + strings.Join(keys, ",") + `]}`)
}
func withExemption(fields string) string {
	return `{"Accounts":[],"ExemptServices":[{` + fields + `}]}`
}

// entries are n different ones, quoted and separated by commas.
func entries(n int) string {
	var all []string
	for i := range n {
		all = append(all, `"203.0.113.`+strconv.Itoa(i)+`"`)
	}
	return strings.Join(all, ",")
}

func times(n int, s string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = s
	}
	return all
}

// rules has for every code a document that breaks the rule, or raises the
// doubt, at a place, and as its neighbour one that does not.
var rules = []struct {
	code          abi.FindingCode
	broken, where string
	sound         string
}{
	{abi.CodeSyntax, `{"Accounts":[]`, "", `{"Accounts":[]}`},
	{abi.CodeSyntax, `{"Accounts":[]}{}`, "", "{\"Accounts\":[]} \n"},
	{abi.CodeSyntax, `{"Accounts":[{"AccountId":"1"},]}`, "/Accounts", `{"Accounts":[{"AccountId":"1"}]}`},
	{abi.CodeWrongType, `[]`, "", `{"Accounts":[]}`},
	{abi.CodeWrongType, `{"Accounts":{}}`, "/Accounts", `{"Accounts":[]}`},
	{abi.CodeWrongType, `{"Version":"1","Accounts":[]}`, "/Version", `{"Version":1,"Accounts":[]}`},
	{abi.CodeWrongType, withAccounts(`{"AccountId":1}`), "/Accounts/0/AccountId", withAccounts(`{"AccountId":"1"}`)},
	{abi.CodeWrongType, withAccounts(`{"AccountId":"1","AccessKeyPolicy":"{}"}`), "/Accounts/0/AccessKeyPolicy", withAccounts(`{"AccountId":"1"}`)},
	{abi.CodeWrongType, active(classicOf(`1`)), "/Statements/0/IPList/0", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeWrongType, withKeys(`{"AccessKeyId":"k","UserPrincipalName":1}`), "/Accounts/0/AccessKeys/0/UserPrincipalName", withKeys(`{"AccessKeyId":"k","UserPrincipalName":""}`)},
	{abi.CodeUnknownField, `{"Accounts":[],"accounts":[]}`, "/accounts", `{"Accounts":[]}`},
	{abi.CodeUnknownField, `{"Accounts":[],"Statements":[]}`, "/Statements", `{"Status":"Active","Statements":[` + classicOf(`"1.1.1.1"`) + `]}`},
	{abi.CodeUnknownField, active(statementOf("ClassicWhiteList", `"IPList":["1.1.1.1"],"a/b~c":1`)), "/Statements/0/a~1b~0c", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeDuplicateField, `{"Accounts":[],"Accounts":[]}`, "/Accounts", `{"Accounts":[]}`},
	{abi.CodeDuplicateField, `{"Accounts":[],"\u0041ccounts":[]}`, "/Accounts", `{"\u0041ccounts":[]}`},
	{abi.CodeMissingField, `{}`, "", `{"Accounts":[]}`},
	{abi.CodeMissingField, withAccounts(`{}`), "/Accounts/0", withAccounts(`{"AccountId":"1"}`)},
	{abi.CodeMissingField, withKeys(`{}`), "/Accounts/0/AccessKeys/0", withKeys(`{"AccessKeyId":"k"}`)},
	{abi.CodeMissingField, `{"Status":"Active"}`, "", `{"Status":"Inactive","Statements":[]}`},
	{abi.CodeMissingField, `{"Statements":[]}`, "", `{"Status":"Inactive","Statements":[]}`},
	{abi.CodeMissingField, active(`{"Type":"ClassicWhiteList"}`), "/Statements/0", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeMissingField, active(`{"IPList":["1.1.1.1"]}`), "/Statements/0", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeMissingField, withExemption(`"Action":"a"`), "/ExemptServices/0", withExemption(`"Service":"s","Action":"a"`)},
	{abi.CodeInvalidVersion, `{"Version":2,"Accounts":[]}`, "/Version", `{"Version":1,"Accounts":[]}`},
	{abi.CodeInvalidVersion, `{"Version":1.0,"Accounts":[]}`, "/Version", `{"Version":1,"Accounts":[]}`},
	{abi.CodeInvalidVersion, `{"Version":-1,"Accounts":[]}`, "/Version", `{"Accounts":[]}`},
	{abi.CodeInvalidVersion, `{"Version":0,"Status":"Inactive","Statements":[]}`, "/Version", `{"Version":1,"Status":"Inactive","Statements":[]}`},
	{abi.CodeInvalidStatus, `{"Status":"active","Statements":[]}`, "/Status", `{"Status":"Inactive","Statements":[]}`},
	{abi.CodeInvalidStatus, `{"Status":"","Statements":[]}`, "/Status", `{"Status":"Inactive","Statements":[]}`},
	{abi.CodeInvalidType, active(statementOf("classicWhiteList", `"IPList":["1.1.1.1"]`)), "/Statements/0/Type", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeTooManyStatements, active(times(9, vpcOf("vpc-a", `"10.0.0.1"`))...), "/Statements", active(times(8, vpcOf("vpc-a", `"10.0.0.1"`))...)},
	{abi.CodeTooManyPublicStatements, active(classicOf(`"1.1.1.1"`), classicOf(`"1.1.1.2"`)), "/Statements/1", active(classicOf(`"1.1.1.1"`), vpcOf("vpc-a", `"10.0.0.1"`))},
	{abi.CodeTooManyEntries, active(classicOf(entries(51))), "/Statements/0/IPList", active(classicOf(entries(50)))},
	{abi.CodeTooManyEntries, active(classicOf(`"` + strings.ReplaceAll(entries(51), `"`, "") + `"`)), "/Statements/0/IPList", active(classicOf(`"` + strings.ReplaceAll(entries(50), `"`, "") + `"`))},
	{abi.CodeEmptyIPList, active(classicOf("")), "/Statements/0/IPList", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeEmptyIPList, active(classicOf(`"1.1.1.1"," ;,"`)), "/Statements/0/IPList/1", active(classicOf(`" 1.1.1.1;,"`))},
	{abi.CodeEmptyIPList, active(statementOf("ClassicWhiteList", `"IPList":""`)), "/Statements/0/IPList", active(statementOf("ClassicWhiteList", `"IPList":"1.1.1.1"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"1.1.1.1","1.1.1.256"`)), "/Statements/0/IPList/1", active(classicOf(`"1.1.1.1","1.1.1.255"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"1.1.1.1/33"`)), "/Statements/0/IPList/0", active(classicOf(`"1.1.1.1/32"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"2001:db8::1/129"`)), "/Statements/0/IPList/0", active(classicOf(`"2001:db8::1/128"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"::ffff:1.1.1.0/95"`)), "/Statements/0/IPList/0", active(classicOf(`"::ffff:0.0.0.0/96"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"01.1.1.1"`)), "/Statements/0/IPList/0", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"fe80::1%eth0"`)), "/Statements/0/IPList/0", active(classicOf(`"2001:db8::1"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"1.1.1.1:80"`)), "/Statements/0/IPList/0", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeInvalidEntry, active(classicOf(`"localhost"`)), "/Statements/0/IPList/0", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeInvalidEntry, active(classicOf("\"1.1.1.1\\t1.1.1.2\"")), "/Statements/0/IPList/0", active(classicOf(`"1.1.1.1 1.1.1.2"`))},
	{abi.CodeValueForbidden, active(statementOf("ClassicWhiteList", `"Value":"","IPList":["1.1.1.1"]`)), "/Statements/0/Value", active(classicOf(`"1.1.1.1"`))},
	{abi.CodeValueRequired, active(statementOf("VPCWhiteList", `"IPList":["10.0.0.1"]`)), "/Statements/0", active(vpcOf("vpc-a", `"10.0.0.1"`))},
	{abi.CodeInvalidValue, active(vpcOf("vpc-", `"10.0.0.1"`)), "/Statements/0/Value", active(vpcOf("vpc-0", `"10.0.0.1"`))},
	{abi.CodeInvalidValue, active(vpcOf("vpc-"+strings.Repeat("a", 65), `"10.0.0.1"`)), "/Statements/0/Value", active(vpcOf("vpc-"+strings.Repeat("z", 64), `"10.0.0.1"`))},
	{abi.CodeInvalidValue, active(vpcOf("vpc-A", `"10.0.0.1"`)), "/Statements/0/Value", active(vpcOf("vpc-a", `"10.0.0.1"`))},
	{abi.CodeInvalidValue, active(vpcOf("allowallvpc", `"10.0.0.1"`)), "/Statements/0/Value", active(vpcOf("AllowAllVPC", `"10.0.0.1"`))},
	{abi.CodeInvalidAccountID, withAccounts(`{"AccountId":""}`), "/Accounts/0/AccountId", withAccounts(`{"AccountId":"a"}`)},
	{abi.CodeInvalidAccountID, withAccounts(`{"AccountId":"` + strings.Repeat("1", 129) + `"}`), "/Accounts/0/AccountId", withAccounts(`{"AccountId":"` + strings.Repeat("1", 128) + `"}`)},
	{abi.CodeInvalidAccountID, withAccounts(`{"AccountId":"\u0000"}`), "/Accounts/0/AccountId", withAccounts(`{"AccountId":"0"}`)},
	{abi.CodeInvalidAccessKeyID, withKeys(`{"AccessKeyId":"a b"}`), "/Accounts/0/AccessKeys/0/AccessKeyId", withKeys(`{"AccessKeyId":"a_b"}`)},
	{abi.CodeInvalidAccessKeyID, withKeys(`{"AccessKeyId":""}`), "/Accounts/0/AccessKeys/0/AccessKeyId", withKeys(`{"AccessKeyId":"a"}`)},
	{abi.CodeDuplicateAccount, withAccounts(`{"AccountId":"a"}`, `{"AccountId":"a"}`), "/Accounts/1/AccountId", withAccounts(`{"AccountId":"a"}`, `{"AccountId":"A"}`)},
	{abi.CodeDuplicateAccessKey, withKeys(`{"AccessKeyId":"k"}`, `{"AccessKeyId":"\u006b"}`), "/Accounts/0/AccessKeys/1/AccessKeyId", withKeys(`{"AccessKeyId":"k"}`, `{"AccessKeyId":"K"}`)},
	{abi.CodeInvalidExemption, withExemption(`"Service":""`), "/ExemptServices/0/Service", withExemption(`"Service":"s"`)},
	{abi.CodeInvalidExemption, withExemption(`"Service":"s","Action":""`), "/ExemptServices/0/Action", withExemption(`"Service":"s","Action":"a"`)},
	{abi.CodeInvalidExemption, withExemption(`"Service":"s","Protocol":"` + strings.Repeat("p", 256) + `"`), "/ExemptServices/0/Protocol", withExemption(`"Service":"s","Protocol":"` + strings.Repeat("p", 255) + `"`)},

	{abi.CodeHostBits, active(classicOf(`"1.1.1.1/24"`)), "/Statements/0/IPList/0", active(classicOf(`"1.1.1.0/24"`))},
	{abi.CodeHostBits, active(statementOf("ClassicWhiteList", `"IPList":"1.1.1.1/24"`)), "/Statements/0/IPList", active(statementOf("ClassicWhiteList", `"IPList":"1.1.1.0/24"`))},
	{abi.CodeDuplicateEntry, active(classicOf(`"1.1.1.1","1.1.1.1/32"`)), "/Statements/0/IPList/1", active(classicOf(`"1.1.1.1","1.1.1.2"`))},
	{abi.CodeDuplicateEntry, active(classicOf(`"1.1.1.1","::ffff:1.1.1.1"`)), "/Statements/0/IPList/1", active(classicOf(`"1.1.1.1","2001:db8::1"`))},
	{abi.CodeCoveredEntry, active(classicOf(`"1.1.1.1","1.1.0.0/16"`)), "/Statements/0/IPList/0", active(classicOf(`"1.2.1.1","1.1.0.0/16"`))},
	{abi.CodeCoveredEntry, active(classicOf(`"::/0","2001:db8::/32"`)), "/Statements/0/IPList/1", active(classicOf(`"::/0","0.0.0.0/0"`))},
	{abi.CodeNoStatements, active(), "/Statements", `{"Status":"Inactive","Statements":[]}`},
	{abi.CodePrivateAddress, active(classicOf(`"10.0.0.0/8"`)), "/Statements/0/IPList/0", active(vpcOf("vpc-a", `"10.0.0.0/8"`))},
	{abi.CodePrivateAddress, active(classicOf(`"1.1.1.1","fd00::1"`)), "/Statements/0/IPList/1", active(classicOf(`"1.1.1.1","2001:db8::1"`))},
	{abi.CodePrivateAddress, active(classicOf(`"172.31.255.255"`)), "/Statements/0/IPList/0", active(classicOf(`"172.32.0.0"`))},
	{abi.CodePrivateAddress, active(`{"IPList":"192.168.0.1","Type":"ClassicWhiteList"}`), "/Statements/0/IPList", active(`{"IPList":"192.167.255.255","Type":"ClassicWhiteList"}`)},
	{abi.CodeNeedlessVPC, active(vpcOf("AllowAllVPC", `"10.0.0.0/8"`), vpcOf("vpc-a", `"10.1.0.0/16"`)), "/Statements/1", active(vpcOf("AllowAllVPC", `"10.0.0.0/16"`), vpcOf("vpc-a", `"10.1.0.0/16"`))},
	{abi.CodeTemporaryAccessKey, withKeys(`{"AccessKeyId":"STS.k"}`), "/Accounts/0/AccessKeys/0/AccessKeyId", withKeys(`{"AccessKeyId":"STSk"}`)},
	{abi.CodeTemporaryAccessKey, withKeys(`{"AccessKeyId":"ASIAEXAMPLE000000001"}`), "/Accounts/0/AccessKeys/0/AccessKeyId", withKeys(`{"AccessKeyId":"AKIAEXAMPLE000000001"}`)},
}

var doubts = map[abi.FindingCode]bool{abi.CodeHostBits: true, abi.CodeDuplicateEntry: true, abi.CodeCoveredEntry: true, abi.CodeNoStatements: true,
	abi.CodePrivateAddress: true, abi.CodeNeedlessVPC: true, abi.CodeTemporaryAccessKey: true}

func TestEveryRuleHasTwoSides(t *testing.T) {
	for _, rule := range rules {
		name := string(rule.code) + " " + rule.where
		sound := Validate([]byte(rule.sound))
		require.Empty(t, sound.Errors, "%s: %s", name, rule.sound)
		require.True(t, sound.Valid)
		image, report, err := Compile([]byte(rule.sound))
		require.NoError(t, err)
		require.Equal(t, sound, report)
		require.True(t, IsImage(image))

		broken := Validate([]byte(rule.broken))
		found, others := broken.Errors, broken.Warnings
		if doubts[rule.code] {
			found, others = broken.Warnings, broken.Errors
			require.Empty(t, sound.Warnings, "%s: %s", name, rule.sound)
			_, err := Load([]byte(rule.broken))
			require.NoError(t, err, "a doubt keeps nothing from being loaded")
		}
		require.Equal(t, doubts[rule.code], broken.Valid)
		require.Empty(t, others, "%s: %s", name, rule.broken)
		require.Len(t, found, 1, "%s: %s", name, rule.broken)
		require.Equal(t, rule.code, found[0].Code, rule.broken)
		require.Equal(t, rule.where, found[0].Pointer, rule.broken)
		require.NotEmpty(t, found[0].Message)
		if !doubts[rule.code] {
			requireRefused(t, []byte(rule.broken), broken)
		}
	}
}

// requireRefused checks that a document with that report can be neither
// compiled nor loaded.
func requireRefused(t *testing.T, document []byte, want abi.Report) {
	t.Helper()
	image, report, err := Compile(document)
	require.Nil(t, image)
	require.Equal(t, want, report)
	require.ErrorIs(t, err, abi.StatusInvalidDocument)
	var e *abi.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, &want, e.Report)
	require.ErrorContains(t, err, want.Errors[0].Message, "the message tells the first error")
	require.ErrorContains(t, err, want.Errors[0].Pointer)
	evaluator, err := Load(document)
	require.Nil(t, evaluator)
	require.ErrorIs(t, err, abi.StatusInvalidDocument)
}

func TestEveryCodeIsTested(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../../abi/finding.go", nil, 0)
	require.NoError(t, err)
	tested := map[string]bool{
		"TooLarge":     true, // TestASetThatIsTooLargeIsRefused
		"MoreFindings": true, // TestAReportIsBounded
	}
	for _, rule := range rules {
		tested[string(rule.code)] = true
	}
	n := 0
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok || len(spec.Values) == 0 || !strings.HasPrefix(spec.Names[0].Name, "Code") {
			return true
		}
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		require.NoError(t, err)
		require.True(t, tested[code], "%s is in no test", code)
		n++
		return true
	})
	require.Len(t, tested, n)
}
