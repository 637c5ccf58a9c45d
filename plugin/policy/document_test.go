package policy

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

func requireSyntaxError(t *testing.T, document []byte, message string) {
	t.Helper()
	report := Validate(document)
	require.NotEmpty(t, report.Errors)
	last := report.Errors[len(report.Errors)-1]
	require.Equal(t, abi.CodeSyntax, last.Code, "nothing can be said of what follows a fault of syntax")
	require.Contains(t, last.Message, message)
	requireRefused(t, document, report)
}

func TestATruncatedDocumentIsRefusedWhereverItEnds(t *testing.T) {
	for _, document := range []string{smallSet, active(classicOf(entries(3))),
		withAccounts(`{"AccountId":"1","AccessKeyPolicy":"{}"}`), `{"x":[{"y":1}]}`} {
		for n := range document {
			requireSyntaxError(t, []byte(document[:n]), "at byte")
		}
	}
}

func TestADocumentThatIsNotUTF8IsRefused(t *testing.T) {
	const document = `{"Accounts":[]}`
	units := utf16.Encode([]rune(document))
	utf16le, utf16be, utf32le := make([]byte, 2*len(units)), make([]byte, 2*len(units)), make([]byte, 4*len(units))
	for i, u := range units {
		binary.LittleEndian.PutUint16(utf16le[2*i:], u)
		binary.BigEndian.PutUint16(utf16be[2*i:], u)
		binary.LittleEndian.PutUint32(utf32le[4*i:], uint32(u))
	}
	for name, c := range map[string]struct {
		document []byte
		message  string
	}{
		"UTF-16, little-endian, with a mark":    {append([]byte{0xff, 0xfe}, utf16le...), "UTF-16"},
		"UTF-16, big-endian, with a mark":       {append([]byte{0xfe, 0xff}, utf16be...), "UTF-16"},
		"UTF-16, little-endian, without a mark": {utf16le, "UTF-16"},
		"UTF-16, big-endian, without a mark":    {utf16be, "UTF-16"},
		"UTF-32":                                {utf32le, "UTF-32"},
		"UTF-8 with a byte order mark":          {append([]byte{0xef, 0xbb, 0xbf}, document...), "byte order mark"},
		"an invalid byte in a string":           {[]byte(withAccounts("{\"AccountId\":\"\xff\"}")), "UTF-8"},
		"half a surrogate pair in a string":     {[]byte("{\"Accounts\":[],\"\xed\xa0\x80\":1}"), "UTF-8"},
		"half a surrogate pair as an escape":    {[]byte(withAccounts(`{"AccountId":"\ud800"}`)), "surrogate"},
		"a zero byte in a string":               {[]byte(withAccounts("{\"AccountId\":\"a\x00\"}")), "invalid character"},
		"a zero byte between values":            {[]byte("{\"Accounts\":[\x00]}"), "invalid character"},
		"a zero byte at the end":                {[]byte(document + "\x00"), "something follows"},
	} {
		t.Run(name, func(t *testing.T) { requireSyntaxError(t, c.document, c.message) })
	}
}

func TestADocumentNestedDeepIsRefused(t *testing.T) {
	const deep = 1_000_000
	arrays := strings.Repeat("[", deep)
	objects := strings.Repeat(`{"a":`, deep)
	for name, document := range map[string]string{
		"at the top":              arrays,
		"objects at the top":      objects,
		"in an unknown field":     `{"x":` + arrays,
		"in front of what tells":  `{"Version":` + objects,
		"in place of the array":   `{"Accounts":` + arrays,
		"in place of an account":  `{"Accounts":[` + objects,
		"in place of the version": `{"Accounts":[],"Version":` + arrays + strings.Repeat("]", deep) + "}",
		"in an IPList":            active(`{"Type":"ClassicWhiteList","IPList":` + arrays),
		"in an exemption":         `{"Accounts":[],"ExemptServices":[{"Service":` + objects,
	} {
		t.Run(name, func(t *testing.T) { requireSyntaxError(t, []byte(document), "nested deeper than 64 levels") })
	}
}

func TestTheDepthOfADocumentIsLimitedTo64(t *testing.T) {
	require.Equal(t, 64, abi.MaxDepth)  // messages and pages say so
	nested := func(levels int) []byte { // the object is one of them
		return []byte(`{"x":` + strings.Repeat("[", levels-1) + `"]\\\"[[[[[[[["` + strings.Repeat("]", levels-1) + `,"Accounts":[]}`)
	}
	report := Validate(nested(64))
	require.Len(t, report.Errors, 1)
	require.Equal(t, abi.CodeUnknownField, report.Errors[0].Code)
	requireSyntaxError(t, nested(65), "nested deeper than 64 levels (at byte 68)")

	// Of two faults of syntax the first counts.
	requireSyntaxError(t, append([]byte(`{"x":?`), nested(65)...), "invalid character")
	// And what follows the document is not read.
	requireSyntaxError(t, append([]byte(`{} `), nested(65)...), "something follows the document (at byte 3)")
}

// values yields the pointer of every value of a JSON value, and how to put
// another in its place for as long as the loop's body runs.
func values(v any, pointer string, put func(any), yield func(pointer string, v any, put func(any))) {
	yield(pointer, v, put)
	switch v := v.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			values(v[name], pointer+"/"+name, func(other any) { v[name] = other }, yield)
		}
	case []any:
		for i := range v {
			values(v[i], pointer+"/"+strconv.Itoa(i), func(other any) { v[i] = other }, yield)
		}
	}
}

func TestAValueOfAnotherTypeIsReportedWhereverItStands(t *testing.T) {
	var set any
	require.NoError(t, json.Unmarshal([]byte(smallSet), &set))
	root := []any{set}
	n := 0
	values(set, "", func(other any) { root[0] = other }, func(pointer string, v any, put func(any)) {
		for _, other := range []any{nil, 7, true, "x", []any{}, map[string]any{}} {
			_, isList := v.([]any)
			switch other.(type) {
			case int:
				if _, number := v.(float64); number {
					continue
				}
			case string:
				if _, text := v.(string); text || isList && strings.HasSuffix(pointer, "/IPList") {
					continue
				}
			case []any:
				if _, text := v.(string); isList || text && strings.HasSuffix(pointer, "/IPList") {
					continue
				}
			case map[string]any:
				if _, object := v.(map[string]any); object {
					continue
				}
			}
			put(other)
			document, err := json.Marshal(root[0])
			require.NoError(t, err)
			put(v)
			report := Validate(document)
			require.Contains(t, codesAt(report.Errors), string(abi.CodeWrongType)+" "+pointer, "%s", document)
			n++
		}
	})
	require.Greater(t, n, 200)
}

func codesAt(findings []abi.Finding) (all []string) {
	for _, f := range findings {
		all = append(all, string(f.Code)+" "+f.Pointer)
	}
	return all
}

func TestEveryFaultIsReportedInTheOrderOfTheDocument(t *testing.T) {
	report := Validate([]byte(`{"Version": 3, "x": 1, "Accounts": [
	  {"AccountId": "a b", "AccessKeyPolicy": {"Status": "on", "Statements": [
	    {"Type": "ClassicWhiteList", "Value": "vpc-a", "IPList": ["1.1.1.1/24", "nowhere"]},
	    {"Type": "VPCWhiteList", "IPList": []},
	    {"Type": "Other", "IPList": "10.0.0.1"}]}},
	  {"AccountId": "a", "AccountId": "b", "AccessKeys": [{"AccessKeyId": "k"}, {"AccessKeyId": "k"}, 5, {}]},
	  {"AccountId": "a"}]}`))
	require.Equal(t, []string{
		"InvalidVersion /Version",
		"UnknownField /x",
		"InvalidAccountId /Accounts/0/AccountId",
		"InvalidStatus /Accounts/0/AccessKeyPolicy/Status",
		"InvalidEntry /Accounts/0/AccessKeyPolicy/Statements/0/IPList/1",
		"ValueForbidden /Accounts/0/AccessKeyPolicy/Statements/0/Value",
		"EmptyIPList /Accounts/0/AccessKeyPolicy/Statements/1/IPList",
		"ValueRequired /Accounts/0/AccessKeyPolicy/Statements/1",
		"InvalidType /Accounts/0/AccessKeyPolicy/Statements/2/Type",
		"DuplicateField /Accounts/1/AccountId",
		"DuplicateAccessKey /Accounts/1/AccessKeys/1/AccessKeyId",
		"WrongType /Accounts/1/AccessKeys/2",
		"MissingField /Accounts/1/AccessKeys/3",
		"DuplicateAccount /Accounts/2/AccountId",
	}, codesAt(report.Errors))
	require.Equal(t, []string{"HostBits /Accounts/0/AccessKeyPolicy/Statements/0/IPList/0"}, codesAt(report.Warnings))
}

func TestAReportIsBounded(t *testing.T) {
	unknown := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `,"%d":0`, i)
		}
		return `{"Accounts":[]` + b.String() + `}`
	}
	badLists := func(n int) string { // of 40 bad entries each
		return active(times(n, vpcOf("vpc-a", strings.Repeat(`"x",`, 39)+`"x"`))...)
	}
	doubtfulLists := func(n int) string { // of 40 duplicates each, in 8 statements a key
		keys := make([]string, n/8)
		for i := range keys {
			keys[i] = fmt.Sprintf(`{"AccessKeyId":"%d","AccessKeyPolicy":%s}`, i, active(times(8, vpcOf("vpc-a", strings.Repeat(`"10.0.0.1",`, 40)+`"10.0.0.1"`))...))
		}
		return withKeys(keys...)
	}
	privateLists := func(n int) string {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf(`{"AccessKeyId":"%d","AccessKeyPolicy":%s}`, i, active(classicOf(`"10.0.0.1","10.0.0.2"`)))
		}
		return withKeys(keys...)
	}
	for name, c := range map[string]struct {
		document string
		findings int // that there are
		warnings bool
	}{
		"as many errors as are listed":    {unknown(abi.MaxFindings), abi.MaxFindings, false},
		"one error more":                  {unknown(abi.MaxFindings + 1), abi.MaxFindings + 1, false},
		"many errors":                     {unknown(3 * abi.MaxFindings), 3 * abi.MaxFindings, false},
		"as many in lists":                {badLists(249), 249*40 + 1, false}, // and too many statements
		"more in lists":                   {badLists(300), 300*40 + 1, false},
		"many in one list":                {active(classicOf(`"` + strings.Repeat("x ", 2*abi.MaxFindings) + `"`)), 2*abi.MaxFindings + 1, false},
		"many in one list, twice":         {active(times(2, vpcOf("vpc-a", `"`+strings.Repeat("x ", 2*abi.MaxFindings)+`"`))...), 2 * (2*abi.MaxFindings + 1), false},
		"as many warnings as are listed":  {doubtfulLists(248), 248 * 40, true},
		"more warnings":                   {doubtfulLists(400), 400 * 40, true},
		"many warnings of private blocks": {privateLists(6000), 12000, true},
	} {
		t.Run(name, func(t *testing.T) {
			report := Validate([]byte(c.document))
			require.Equal(t, c.warnings, report.Valid)
			found := report.Errors
			if c.warnings {
				found = report.Warnings
			}
			require.Len(t, found, min(c.findings, abi.MaxFindings))
			last := found[len(found)-1]
			if c.findings <= abi.MaxFindings {
				require.NotEqual(t, abi.CodeMoreFindings, last.Code)
				return
			}
			require.Equal(t, abi.Finding{Code: abi.CodeMoreFindings,
				Message: fmt.Sprintf("and %d more that are not listed", c.findings-abi.MaxFindings+1)}, last)
			for _, f := range found[:len(found)-1] {
				require.NotEqual(t, abi.CodeMoreFindings, f.Code)
				require.NotEmpty(t, f.Pointer)
			}
		})
	}
}

func TestAMessageDoesNotCiteWithoutEnd(t *testing.T) {
	long := strings.Repeat("é", 1<<20)
	for _, document := range []string{`{"` + long + `":1}`, withAccounts(`{"AccountId":"` + long + `"}`), active(classicOf(`"` + long + `"`))} {
		report := Validate([]byte(document))
		require.NotEmpty(t, report.Errors)
		for _, f := range report.Errors {
			require.Less(t, len(f.Message), 400)
		}
		_, err := Load([]byte(document))
		require.Error(t, err)
		require.True(t, json.Valid(appendedError(nil, err)))
	}
}

// Whatever fills a large document, reading it takes memory in proportion.
func TestALargeDocumentTakesMemoryInProportion(t *testing.T) {
	if testing.Short() {
		t.Skip("builds documents of 100 MB")
	}
	const size, most = 100 << 20, 24 // times its size; a set with a list for each key takes most
	filled := func(head string, part func(i int) string, tail string) []byte {
		b := make([]byte, 0, size+1<<20)
		b = append(b, head...)
		for i := 0; len(b) < size; i++ {
			b = append(b, part(i)...)
		}
		return append(b, tail...)
	}
	always := func(part string) func(int) string { return func(int) string { return part } }
	keys := func(policy func(i int) string) []byte {
		return filled(`{"Accounts":[{"AccountId":"1","AccessKeys":[{"AccessKeyId":"first"}`, func(i int) string {
			return `,{"AccessKeyId":"` + strconv.Itoa(i) + `","AccessKeyPolicy":` + policy(i) + `}`
		}, `]}]}`)
	}
	doubtful := strings.Repeat("::,", 49)
	lists := []string{classicOf(entries(50)), classicOf(entries(40)), classicOf(entries(30))}
	for _, c := range []struct {
		name     string
		document func() []byte
		valid    bool
	}{
		{"keys that share a few lists", func() []byte {
			return keys(func(i int) string { return active(lists[i%len(lists)]) })
		}, true},
		{"white space", func() []byte { return filled(`{"Accounts":[`, always("\n\t  "), `]}`) }, true},
		{"zero bytes", func() []byte { return filled("", always("\x00\x00\x00\x00"), "") }, false},
		{"a string in an unknown field", func() []byte { return filled(`{"Accounts":[],"x":"`, always("xxxx"), `"}`) }, false},
		{"a name", func() []byte { return filled(`{"Accounts":[],"`, always("xxxx"), `":1}`) }, false},
		{"an id", func() []byte { return filled(`{"Accounts":[{"AccountId":"`, always("xxxx"), `"}]}`) }, false},
		{"unknown fields", func() []byte {
			return filled(`{"Accounts":[]`, func(i int) string { return `,"` + strconv.Itoa(i) + `":0` }, `}`)
		}, false},
		{"empty accounts", func() []byte { return filled(`{"Accounts":[{}`, always(",{}"), `]}`) }, false},
		{"one list without a good entry", func() []byte {
			return filled(`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":"`, always("nowhere,"), `"}]}`)
		}, false},
		{"lists without a good entry", func() []byte {
			bad := strings.Repeat("nowhere,", 20_000)
			return filled(`{"Status":"Active","Statements":[{}`, func(i int) string {
				return `,{"Type":"ClassicWhiteList","IPList":"` + bad + strconv.Itoa(i) + `"}`
			}, `]}`)
		}, false},
		{"keys with a list each, full of doubts", func() []byte {
			return keys(func(i int) string {
				return active(statementOf("VPCWhiteList", fmt.Sprintf(`"Value":"vpc-a","IPList":"%s%x:%x::"`, doubtful, i>>16, i&0xffff)))
			})
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			document := c.document()
			runtime.GC()
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			report := Validate(document)
			runtime.ReadMemStats(&after)
			require.Equal(t, c.valid, report.Valid)
			// HeapSys is the most that the heap ever was, so what takes most stands last.
			grown := int64(after.HeapSys) - int64(before.HeapSys)
			require.LessOrEqual(t, grown, int64(most*size), "%d MiB", grown>>20)
			t.Logf("%d MiB more, %d MiB in all", grown>>20, (after.TotalAlloc-before.TotalAlloc)>>20)
		})
	}
}

// lookUp returns the value that a pointer (RFC 6901) leads to.
func lookUp(v any, pointer string) (any, bool) {
	if pointer == "" {
		return v, true
	}
	unescape := strings.NewReplacer("~1", "/", "~0", "~")
	for _, name := range strings.Split(pointer[1:], "/") {
		switch parent := v.(type) {
		case map[string]any:
			child, ok := parent[unescape.Replace(name)]
			if !ok {
				return nil, false
			}
			v = child
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(parent) || strconv.Itoa(i) != name {
				return nil, false
			}
			v = parent[i]
		default:
			return nil, false
		}
	}
	return v, true
}

// requireSound checks what holds for the report on any document.
func requireSound(t *testing.T, document []byte) {
	t.Helper()
	original := bytes.Clone(document)
	report := Validate(document)
	require.Equal(t, len(report.Errors) == 0, report.Valid)
	require.NotNil(t, report.Errors)
	require.NotNil(t, report.Warnings)
	require.Equal(t, report, Validate(document))

	var v any
	decodes := json.Unmarshal(document, &v) == nil
	unique := true // else a pointer may lead to one value or to another
	for n, list := range [][]abi.Finding{report.Errors, report.Warnings} {
		require.LessOrEqual(t, len(list), abi.MaxFindings)
		for i, f := range list {
			require.NotEmpty(t, f.Message)
			switch f.Code {
			case abi.CodeSyntax:
				require.Equal(t, len(list)-1, i)
				decodes = false
			case abi.CodeMoreFindings:
				require.Equal(t, abi.MaxFindings-1, i)
				continue
			case abi.CodeDuplicateField:
				unique = false
			}
			require.Equal(t, n == 1, doubts[f.Code])
		}
	}
	if decodes && unique {
		for _, f := range slices.Concat(report.Errors, report.Warnings) {
			_, ok := lookUp(v, f.Pointer)
			require.True(t, ok, "nothing is at %q", f.Pointer)
		}
	}

	image, again, err := Compile(document)
	require.Equal(t, original, document, "reading changes nothing")
	if !report.Valid {
		requireRefused(t, document, report)
		return
	}
	require.NoError(t, err)
	require.Equal(t, report, again)
	same, _, err := Compile(document)
	require.NoError(t, err)
	require.Equal(t, image, same)
	e, err := Open(image)
	require.NoError(t, err)
	loaded, err := Load(document)
	require.NoError(t, err)
	require.Equal(t, e.Revision(), loaded.Revision())
}

func TestTheReportOnEveryConformanceDocumentIsSound(t *testing.T) {
	for _, document := range readCorpus(t).documents {
		requireSound(t, document)
	}
}

func FuzzDocument(f *testing.F) {
	for _, document := range readCorpus(f).documents {
		if len(document) < 1<<11 {
			f.Add(document)
		}
	}
	for _, rule := range rules {
		f.Add([]byte(rule.broken))
	}
	f.Add([]byte(smallSet))
	f.Fuzz(func(t *testing.T, document []byte) { requireSound(t, document) })
}
