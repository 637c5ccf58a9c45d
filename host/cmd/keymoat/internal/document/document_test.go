package document

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

func TestYAMLSaysWhatItsAuthorMeant(t *testing.T) {
	for name, test := range map[string]struct{ yaml, json string }{
		"an address is a string":                              {`[203.0.113.1, "::1", ::1, 2001:db8::/32, 10.0.0.0/8]`, `["203.0.113.1","::1","::1","2001:db8::/32","10.0.0.0/8"]`},
		"the version is an integer":                           {`Version: 1`, `{"Version":1}`},
		"an unquoted account id is a number":                  {`AccountId: 1000000000000001`, `{"AccountId":1000000000000001}`},
		"a quoted account id is a string":                     {`AccountId: "1000000000000001"`, `{"AccountId":"1000000000000001"}`},
		"a string tag makes a string":                         {`AccountId: !!str 1000000000000001`, `{"AccountId":"1000000000000001"}`},
		"a date stays as written":                             {`d: 2024-01-02`, `{"d":"2024-01-02"}`},
		"a number that JSON cannot write stays as written":    {`[0x10, 0123, 1_000, .inf, +1, .5]`, `["0x10","0123","1_000",".inf","+1",".5"]`},
		"numbers that JSON can write are kept digit by digit": {`[10.0, -0, 1e5, 123456789012345678901234567890]`, `[10.0,-0,1e5,123456789012345678901234567890]`},
		"yes and on are strings":                              {`[yes, on, no, off]`, `["yes","on","no","off"]`},
		"null and booleans":                                   {`[~, null, , True, FALSE]`, ``},
		"null and booleans without a gap":                     {`[~, null, True, FALSE]`, `[null,null,true,false]`},
		"duplicate names are kept":                            {"a: 1\na: 2\n", `{"a":1,"a":2}`},
		"an alias repeats a value":                            {"a: &x [10.0.0.1]\nb: *x\n", `{"a":["10.0.0.1"],"b":["10.0.0.1"]}`},
		"block scalars":                                       {"a: |\n  x\n  y\n", `{"a":"x\ny\n"}`},
		"characters that JSON escapes":                        {`a: "\"\\\x01é😀"`, `{"a":"\"\\\u0001é😀"}`},
		"JSON is YAML":                                        {`{"a": ["b", {"c": null}]}`, `{"a":["b",{"c":null}]}`},
		"a byte order mark is passed over":                    {"\ufeffa: 1\n", `{"a":1}`},
		"one document between markers":                        {"%YAML 1.1\n---\na: 1\n...\n", `{"a":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := Parse("policies.yaml", []byte(test.yaml))
			if test.json == "" {
				require.Error(t, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, test.json, string(d.JSON))
		})
	}
}

func TestYAMLOnlyThingsAreRefusedAndNamed(t *testing.T) {
	deep := strings.Repeat("[", 100) + strings.Repeat("]", 100)
	bomb := "a: &a [xxxxxxxxxxxxxxxx,xxxxxxxxxxxxxxxx]\n"
	for c := 'b'; c <= 'z'; c++ {
		bomb += string(c) + ": &" + string(c) + " [" + strings.TrimSuffix(strings.Repeat("*"+string(c-1)+" ,", 9), ",") + "]\n"
	}
	for name, test := range map[string]struct{ yaml, err string }{
		"a number as a name":        {"a: 1\n5: x\n", "2:1: a field's name must be a string, and YAML does not take 5 for one"},
		"null as a name":            {"null: x\n", "1:1: a field's name must be a string, and YAML does not take null for one"},
		"a list as a name":          {"? [a]\n: b\n", "1:3: a field's name must be a plain string"},
		"an alias as a name":        {"a: &x b\n*x : c\n", "2:1: a field's name must be a plain string"},
		"a merge key":               {"a: &x {b: 1}\nc:\n  <<: *x\n", "3:3: the merge key << is not supported"},
		"two documents":             {"a: 1\n---\nb: 2\n", "2:1: a second YAML document begins here"},
		"no document":               {"# nothing\n", "the file holds no document"},
		"only a document marker":    {"---\n", "the file holds no document"},
		"a tag of one's own":        {"a: !secret x\n", "1:4: the tag !secret means nothing"},
		"a binary tag":              {"a: !!binary aGk=\n", "1:4: the tag !!binary means nothing"},
		"an integer tag":            {"a: !!int \"5\"\n", "1:4: the tag !!int means nothing"},
		"a set":                     {"a: !!set {b}\n", "1:4: the tag !!set means nothing"},
		"an ordered map":            {"a: !!omap [b: c]\n", "1:4: the tag !!omap means nothing"},
		"an alias inside of itself": {"a: &x [*x]\n", "1:8: the alias *x stands inside of what it repeats"},
		"an unknown alias":          {"a: *x\n", "1:4: unknown anchor 'x' referenced"},
		"aliases that multiply":     {bomb, "aliases repeat more than 64 MiB"},
		"deep nesting":              {deep, "1:65: nested deeper than 64 levels"},
		"a list that does not end":  {"a: [1,\n b", "3:1: did not find expected ',' or ']' while parsing a flow sequence that begins at 1:4"},
		"a tab as indentation":      {"a:\n\t- b\n", "2:1: found character that cannot start any token"},
		"a NUL byte":                {"a: b\n é\x00\n", "2:3: control character U+0000 is not allowed in YAML"},
		"a byte that is not UTF-8":  {"a: é\xff\n", "1:5: byte 0xff is not UTF-8"},
		"UTF-16":                    {"\xff\xfea\x00:\x00 \x001\x00", "1:1: byte 0xff is not UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse("policies.yml", []byte(test.yaml))
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.Contains(t, err.Error(), test.err)
		})
	}
}

func TestTheFormIsToldByNameElseByTheFirstCharacter(t *testing.T) {
	for _, test := range []struct {
		name, source string
		yaml         bool
	}{
		{"a.yaml", `{"a":1}`, true},
		{"a.YML", `{"a":1}`, true},
		{"a.json", `a: 1`, false},
		{"-", ` {"a":1}`, false},
		{"-", "\n[1]", false},
		{"-", "a: 1", true},
		{"-", "# comment\n{a: 1}", true},
		{"policies", "--- {}", true},
		{"-", "\ufeff{}", false},
		{"-", "\xff\xfe{\x00", false},
		{"-", "\x00{", false},
		{"-", "", false},
	} {
		require.Equal(t, test.yaml, isYAML(test.name, []byte(test.source)), "%s %q", test.name, test.source)
	}
}

const jsonSource = `{
  "Version": 1,
  "Accounts": [
    {"AccountId": "é", "Accoun~t/Id": 2, "AccountId": "b", "AccountId": {}},
    [ 1 , true ]
  ]
}
`

const yamlSource = `Version: 1
Accounts:
  - AccountId: "é"
    "Accoun~t/Id": 2
    AccountId: b
    AccountId: {}
  - &list [1, true]
Again: *list
`

func TestFindingsAreShownWhereTheyStand(t *testing.T) {
	duplicate := abi.Finding{Code: abi.CodeDuplicateField, Pointer: "/Accounts/0/AccountId"}
	tests := []struct {
		title      string
		finding    abi.Finding
		json, yaml Place
	}{
		{"the document", abi.Finding{Code: abi.CodeWrongType}, Place{1, 1}, Place{1, 1}},
		{"a value", abi.Finding{Code: abi.CodeInvalidVersion, Pointer: "/Version"}, Place{2, 14}, Place{1, 10}},
		{"the name of an unknown field", abi.Finding{Code: abi.CodeUnknownField, Pointer: "/Accounts/0/Accoun~0t~1Id"}, Place{4, 24}, Place{4, 5}},
		{"the first of several", abi.Finding{Code: abi.CodeInvalidAccountID, Pointer: "/Accounts/0/AccountId"}, Place{4, 19}, Place{3, 16}},
		{"the second of several", duplicate, Place{4, 42}, Place{5, 5}},
		{"the third of several", duplicate, Place{4, 60}, Place{6, 5}},
		{"an array element", abi.Finding{Code: abi.CodeWrongType, Pointer: "/Accounts/1/1"}, Place{5, 11}, Place{7, 15}},
		{"an absent field, by what lacks it", abi.Finding{Code: abi.CodeMissingField, Pointer: "/Accounts/1/Nothing"}, Place{5, 5}, Place{7, 5}},
		{"an element past the end", abi.Finding{Code: abi.CodeWrongType, Pointer: "/Accounts/7"}, Place{3, 15}, Place{3, 3}},
	}
	findings := make([]abi.Finding, len(tests))
	for i := range tests {
		findings[i] = tests[i].finding
	}
	j, err := Parse("a.json", []byte(jsonSource))
	require.NoError(t, err)
	y, err := Parse("a.yaml", []byte(yamlSource))
	require.NoError(t, err)
	inJSON, inYAML := j.Places(findings), y.Places(findings)
	for i, test := range tests {
		require.Equal(t, test.json, inJSON[i], "%s, JSON", test.title)
		require.Equal(t, test.yaml, inYAML[i], "%s, YAML", test.title)
	}
	require.Equal(t, []Place{{7, 12}}, y.Places([]abi.Finding{{Code: abi.CodeWrongType, Pointer: "/Again/0"}}), "behind an alias, where the value stands")
	require.Empty(t, j.Places(nil))

	for source, want := range map[string]Place{"? a": {1, 3}, "a:\n\n\nb: 1\n": {1, 1}, "x: 1\na:\n": {2, 1}} {
		d, err := Parse("a.yaml", []byte(source))
		require.NoError(t, err)
		require.Equal(t, []Place{want}, d.Places([]abi.Finding{{Code: abi.CodeWrongType, Pointer: "/a"}}), "a value that is not there, at its name: %q", source)
	}
}

func TestAFaultOfJSONSyntaxIsShownWhereItStands(t *testing.T) {
	tooDeep := "{\n\"a\":" + strings.Repeat("[", 20_000)
	for source, want := range map[string]Place{
		"{\n  \"a\": 1,\n}":     {3, 1},
		"{\"a\": tru}":          {1, 10},
		"{\n\"a\": [1, 2":       {2, 11},
		"{\"a\": 1}\n  {}":      {2, 3},
		"{\"a\": 1}\n xyz":      {2, 2},
		"{\"é\": \"\xff\"}":     {1, 8},
		"{\"a\": 01}":           {1, 8},
		"\ufeff{}":              {1, 1},
		tooDeep:                 {2, 68},
		"{\"a\": \"b\u0000c\"}": {1, 9},
		"{\"a\": [[[[{\"b\":]}": {1, 16},
	} {
		d, err := Parse("a.json", []byte(source))
		require.NoError(t, err)
		errors := policy.Validate(d.JSON).Errors
		places := d.Places(errors)
		require.Equal(t, want, places[len(places)-1], "%q: %v", source, errors)
	}
}

func TestYAMLAndTheEvaluatorTakeDocumentsOfTheSameDepth(t *testing.T) {
	for levels, deep := range map[int]bool{abi.MaxDepth: false, abi.MaxDepth + 1: true} {
		source := []byte(strings.Repeat("[", levels) + "x" + strings.Repeat("]", levels))
		d, err := Parse("a.yaml", source)
		if deep {
			require.ErrorContains(t, err, "1:65: nested deeper than 64 levels")
			require.Contains(t, policy.Validate(source).Errors[0].Message, "nested deeper than 64 levels (at byte 64)")
			continue
		}
		require.NoError(t, err)
		require.NotContains(t, policy.Validate(d.JSON).Errors[0].Message, "deeper")
	}
}

func TestYAMLIsReadUpToALimit(t *testing.T) {
	source := []byte("Status: Active\n" + strings.Repeat("#", maxYAML))
	_, err := Parse("a.yaml", source[:maxYAML])
	require.NoError(t, err)
	_, err = Parse("a.yaml", source[:maxYAML+1])
	require.EqualError(t, err, "YAML is read up to 262144 bytes, and this has 262145; write so large a document as JSON")
	d, err := Parse("a.json", source)
	require.NoError(t, err)
	require.Len(t, d.JSON, len(source), "JSON has no such limit")
}

func TestAHintTellsWhatToQuote(t *testing.T) {
	source := "Version: x\nAccounts:\n- AccountId: 1000000000000001\n  AccessKeys: 5\n  AccessKeyPolicy:\n    Statements:\n    - IPList:\n      - 2001:db8::\n      - 10.0\n      - {a: b}\n      - ~\n      - \"ok\"\n"
	d, err := Parse("a.yaml", []byte(source))
	require.NoError(t, err)
	const list = "/Accounts/0/AccessKeyPolicy/Statements/0/IPList"
	for pointer, want := range map[string]string{
		"/Accounts/0/AccountId":  `in YAML, quote it: "1000000000000001"`,
		list + "/0":              `in YAML, quote it: "2001:db8::"`,
		list + "/1":              `in YAML, quote it: "10.0"`,
		list + "/2":              "",
		list + "/3":              "",
		"/Accounts/0/AccessKeys": "",
		"/Version":               "",
		"/Nowhere/AccountId":     "",
		"":                       "",
	} {
		f := abi.Finding{Code: abi.CodeWrongType, Pointer: pointer}
		require.Equal(t, want, d.Hint(&f), pointer)
	}
	f := abi.Finding{Code: abi.CodeInvalidAccountID, Pointer: "/Accounts/0/AccountId"}
	require.Empty(t, d.Hint(&f), "the value is of the right type")
	plain, err := Parse("a.json", []byte(`{"AccountId": 1}`))
	require.NoError(t, err)
	require.Empty(t, plain.Hint(&abi.Finding{Code: abi.CodeWrongType, Pointer: "/AccountId"}), "JSON needs no hint")
}

// FuzzYAML feeds the reader anything. What it accepts must be one JSON value,
// and every place it names must lie in the source.
func FuzzYAML(f *testing.F) {
	seeds, err := os.ReadDir("../cli/testdata")
	require.NoError(f, err)
	for _, seed := range seeds {
		if strings.HasSuffix(seed.Name(), ".yaml") {
			source, err := os.ReadFile("../cli/testdata/" + seed.Name())
			require.NoError(f, err)
			f.Add(source)
		}
	}
	for _, source := range []string{yamlSource, jsonSource, "a: &a [*a]", "? [a]\n: b", "- !!str 1\n- 0x1\n- ~", "a: |+\n x\n\n", "\ufeffa: 1", "a: \"\\ud800\"", "---", "? a"} {
		f.Add([]byte(source))
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		d, err := Parse("fuzz.yaml", source)
		if err != nil {
			var syntax *SyntaxError
			require.ErrorAs(t, err, &syntax)
			require.NotEmpty(t, syntax.Message)
			return
		}
		require.True(t, jsontext.Value(d.JSON).IsValid(jsontext.AllowDuplicateNames(true)), "%q", d.JSON)
		lines := strings.Count(string(source), "\n") + strings.Count(string(source), "\r") + 1
		for _, place := range d.Places([]abi.Finding{{Code: abi.CodeWrongType}, {Code: abi.CodeWrongType, Pointer: "/a/0"}, {Code: abi.CodeDuplicateField, Pointer: "/a"}}) {
			require.GreaterOrEqual(t, place.Line, 1)
			require.LessOrEqual(t, place.Line, lines+strings.Count(string(source), "\u0085")+strings.Count(string(source), "\u2028")+strings.Count(string(source), "\u2029"))
			require.GreaterOrEqual(t, place.Column, 1)
		}
	})
}

// FuzzJSONPlaces checks the line counting of a JSON source against counting
// anew from the front.
func FuzzJSONPlaces(f *testing.F) {
	f.Add([]byte(jsonSource), "/Accounts/1/1", uint(0))
	f.Add([]byte("{\"a\":\n\n[1,2"), "/a/1", uint(7))
	f.Add([]byte("\xff"), "", uint(1<<63))
	f.Fuzz(func(t *testing.T, source []byte, pointer string, offset uint) {
		d := &Document{JSON: source}
		for _, code := range []abi.FindingCode{abi.CodeWrongType, abi.CodeSyntax, abi.CodeDuplicateField} {
			place := d.Places([]abi.Finding{{Code: code, Pointer: pointer, Message: fmt.Sprintf("odd (at byte %d)", offset)}})[0]
			if place == (Place{}) {
				continue
			}
			lines := strings.Split(string(source), "\n")
			require.LessOrEqual(t, place.Line, len(lines))
			require.LessOrEqual(t, place.Column, utf8.RuneCountInString(lines[place.Line-1])+1)
		}
	})
}
