package policy

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// scrambler writes a JSON value in other words: members and white space as they
// come, letters as escapes, and, where the order does not matter, elements too.
type scrambler struct{ *rand.Rand }

func (s scrambler) space(b *bytes.Buffer) {
	for range s.IntN(3) {
		b.WriteByte(" \n\t\r"[s.IntN(4)])
	}
}

func (s scrambler) value(b *bytes.Buffer, v any) {
	s.space(b)
	switch v := v.(type) {
	case map[string]any:
		names := slices.Sorted(maps.Keys(v))
		s.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		b.WriteByte('{')
		for i, name := range names {
			if i > 0 {
				b.WriteByte(',')
			}
			s.value(b, name)
			b.WriteByte(':')
			if list, ok := v[name].([]any); ok && name != "Statements" { // Accounts, AccessKeys, IPList, ExemptServices
				list = slices.Clone(list)
				s.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
				s.value(b, list)
				continue
			}
			s.value(b, v[name])
		}
		s.space(b)
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i := range v {
			if i > 0 {
				b.WriteByte(',')
			}
			s.value(b, v[i])
		}
		s.space(b)
		b.WriteByte(']')
	case string:
		b.WriteByte('"')
		for _, c := range []byte(v) {
			if s.IntN(8) == 0 {
				b.WriteString(`\u00` + strconv.FormatInt(int64(c)+0x100, 16)[1:])
			} else {
				b.WriteByte(c)
			}
		}
		b.WriteByte('"')
	default:
		text, _ := json.Marshal(v)
		b.Write(text)
	}
	s.space(b)
}

func TestTheSameSetCompilesToTheSameBytesHoweverItIsWritten(t *testing.T) {
	for seed := range uint64(200) {
		g := newGenerator(seed, 1)
		document := g.set()
		if seed == 0 {
			document = smallSet
		}
		want := compile(t, document)
		var set any
		require.NoError(t, json.Unmarshal([]byte(document), &set))
		for range 5 {
			var b bytes.Buffer
			scrambler{g.Rand}.value(&b, set)
			require.Equal(t, want, compile(t, b.String()), "%s\nand\n%s", document, b.String())
		}
	}
}

func TestWhatMeansTheSameCompilesToTheSameBytes(t *testing.T) {
	for name, pair := range map[string][2]string{
		"a list and one string":         {active(classicOf(`"1.1.1.1","1.1.1.2"`)), active(statementOf("ClassicWhiteList", `"IPList":"1.1.1.2;1.1.1.1"`))},
		"host bits":                     {active(classicOf(`"1.1.1.0/24"`)), active(classicOf(`"1.1.1.77/24"`))},
		"an address and its block":      {active(classicOf(`"1.1.1.1","2001:db8::1"`)), active(classicOf(`"1.1.1.1/32","2001:DB8:0::1/128"`))},
		"a mapped address":              {active(classicOf(`"1.1.1.1","10.0.0.0/8"`)), active(classicOf(`"::ffff:1.1.1.1","::ffff:10.0.0.0/104"`))},
		"an entry twice":                {active(classicOf(`"1.1.1.1"`)), active(classicOf(`"1.1.1.1","1.1.1.1"`))},
		"an inactive policy's content":  {`{"Status":"Inactive","Statements":[]}`, `{"Status":"Inactive","Statements":[` + classicOf(`"1.1.1.1"`) + `]}`},
		"the version":                   {`{"Accounts":[]}`, `{"Version":1,"Accounts":[]}`},
		"a name that nobody asks for":   {withKeys(`{"AccessKeyId":"k"}`), withKeys(`{"AccessKeyId":"k","UserPrincipalName":"alice@example.com"}`)},
		"no keys":                       {withAccounts(`{"AccountId":"1"}`), withKeys()},
		"the case of exempt services":   {withExemption(`"Service":"Oss"`), withExemption(`"Service":"OSS"`)},
		"an exemption twice":            {withExemption(`"Service":"Oss"`), withExemption(`"Service":"Oss"},{"Service":"oss"`)},
		"the built-in exempt services":  {`{"Accounts":[]}`, `{"Accounts":[],"ExemptServices":` + builtin() + `}`},
		"adjacent blocks, in any order": {active(classicOf(`"1.0.0.0/9","1.128.0.0/9"`)), active(classicOf(`"1.128.0.0/9","1.0.0.0/9"`))},
	} {
		require.Equal(t, compile(t, pair[0]), compile(t, pair[1]), name)
	}
}

// builtin are the services that are exempt if a set names none.
func builtin() string {
	var all []string
	for _, e := range builtinExemptions {
		text := `{"Service":"` + e[0] + `"`
		if e[1] != "" {
			text += `,"Action":"` + e[1] + `","Protocol":"` + e[2] + `"`
		}
		all = append(all, text+"}")
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestWhatMeansSomethingElseCompilesToOtherBytes(t *testing.T) {
	for name, pair := range map[string][2]string{
		"the order of statements":        {active(classicOf(`"1.1.1.1"`), vpcOf("vpc-a", `"10.0.0.1"`)), active(vpcOf("vpc-a", `"10.0.0.1"`), classicOf(`"1.1.1.1"`))},
		"the order of VPC statements":    {active(vpcOf("vpc-a", `"10.0.0.1"`), vpcOf("vpc-b", `"10.0.0.1"`)), active(vpcOf("vpc-b", `"10.0.0.1"`), vpcOf("vpc-a", `"10.0.0.1"`))},
		"a block and its halves":         {active(classicOf(`"1.0.0.0/8"`)), active(classicOf(`"1.0.0.0/9","1.128.0.0/9"`))},
		"a policy and none":              {withAccounts(`{"AccountId":"1"}`), withAccounts(`{"AccountId":"1","AccessKeyPolicy":{"Status":"Inactive","Statements":[]}}`)},
		"any VPC and one":                {active(vpcOf("AllowAllVPC", `"10.0.0.1"`)), active(vpcOf("vpc-a", `"10.0.0.1"`))},
		"a covered entry":                {active(classicOf(`"1.0.0.0/8"`)), active(classicOf(`"1.0.0.0/8","1.1.1.1"`))},
		"the case of a key id":           {withKeys(`{"AccessKeyId":"k"}`), withKeys(`{"AccessKeyId":"K"}`)},
		"the owner of a key":             {withAccounts(`{"AccountId":"1","AccessKeys":[{"AccessKeyId":"k"}]}`, `{"AccountId":"2"}`), withAccounts(`{"AccountId":"1"}`, `{"AccountId":"2","AccessKeys":[{"AccessKeyId":"k"}]}`)},
		"exempt for one action":          {withExemption(`"Service":"Oss"`), withExemption(`"Service":"Oss","Action":"PutObject"`)},
		"no exempt services":             {`{"Accounts":[]}`, `{"Accounts":[],"ExemptServices":[]}`},
		"a policy of the only account":   {active(classicOf(`"1.1.1.1"`)), withAccounts(`{"AccountId":"1","AccessKeyPolicy":` + active(classicOf(`"1.1.1.1"`)) + `}`)},
		"all of IPv4 and all of IPv6":    {active(classicOf(`"0.0.0.0/0"`)), active(classicOf(`"::/0"`))},
		"an IPv4 address and its number": {active(classicOf(`"0.0.0.1"`)), active(classicOf(`"::1"`))},
	} {
		require.NotEqual(t, compile(t, pair[0]), compile(t, pair[1]), name)
	}
}

// A million keys that share their lists must not make a million copies.
func TestWhatIsEqualIsStoredOnce(t *testing.T) {
	list := entries(50)
	key := func(i int, policy string) string {
		return `{"AccessKeyId":"LTAI5tExample` + strconv.Itoa(1_000_000_000+i) + `","AccessKeyPolicy":` + policy + `}`
	}
	keys := func(n int, policy func(i int) string) string {
		all := make([]string, n)
		for i := range all {
			all[i] = key(i, policy(i))
		}
		return withKeys(all...)
	}
	same := func(int) string { return active(classicOf(list)) }
	one, many := compile(t, keys(1, same)), compile(t, keys(1000, same))
	// A record of 32 bytes a key, and at most 8 of the index.
	require.Less(t, len(many)-len(one), 40*1000)

	// Other policies, the same lists in other words.
	words := compile(t, keys(1000, func(i int) string {
		return active(vpcOf("vpc-"+strconv.Itoa(i%10), list+strings.Repeat(" ", i%7)))
	}))
	require.Less(t, len(words)-len(many), 4096)
}

func TestASetThatIsTooLargeIsRefused(t *testing.T) {
	// So many accounts that their index passes its limit, all of whose ids lie
	// in one text. The set never was a document, which would have 300 MB.
	const n = maxAccounts/(idText+abi.MaxAccessKeyID) + 1
	random := rand.New(rand.NewPCG(1, 1))
	text := make([]byte, n+abi.MaxAccessKeyID)
	for i := range text {
		text[i] = 'a' + byte(random.IntN(26))
	}
	ids := string(text)
	s := &set{accounts: make([]holder, n)}
	for i := range s.accounts {
		s.accounts[i].id = ids[i : i+abi.MaxAccessKeyID]
	}
	image, what := build(s)
	require.Nil(t, image)
	require.Contains(t, what, "too many accounts")
	require.Contains(t, what, strconv.Itoa(maxAccounts))

	s.accounts = s.accounts[:1000]
	image, what = build(s)
	require.Empty(t, what)
	e, err := Open(image)
	require.NoError(t, err)
	require.Equal(t, 1000, e.Accounts())
}

func TestTheSummaryNamesTheFirstErrorAndCountsTheRest(t *testing.T) {
	_, _, err := Compile([]byte(`{"Version":2,"x":1}`))
	require.EqualError(t, err, `keymoat: the policy set is not valid: /Version: the version must be 1, or absent; this release reads no other (InvalidVersion), and 2 more`)
	_, err = Load([]byte(`{}`))
	require.EqualError(t, err, `keymoat: the policy set is not valid: the field "Accounts" is missing (MissingField)`)
}
