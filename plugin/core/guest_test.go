package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

const (
	key      = "LTAI5tExample0000000001"
	ruled    = `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["203.0.113.0/24"]}]}`
	reversed = `{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["198.51.100.0/24"]}]}`
)

func loaded(t testing.TB) *guest {
	t.Helper()
	g := &guest{}
	require.Equal(t, abi.StatusOK, g.call((*guest).load, []byte(ruled)))
	return g
}

func request(source string) abi.Request {
	return abi.Request{AccessKeyID: key, SourceIP: netip.MustParseAddr(source)}
}

func encoded(t testing.TB, r abi.Request) []byte {
	t.Helper()
	b, status := abi.AppendRequest(nil, &r)
	require.Equal(t, abi.StatusOK, status)
	return b
}

// evaluateBytes judges a request as a host does: one write, one call.
func (g *guest) evaluateBytes(b []byte) abi.Word {
	copy(g.request[:], b)
	return abi.Word(g.evaluate(uint32(len(b))))
}

// batch judges requests as the export does.
func (g *guest) batch(b []byte, count uint32) abi.Status {
	return g.call(func(g *guest, b []byte) abi.Status { return g.evaluateBatch(b, count) }, b)
}

var (
	allowed = abi.NewWord(abi.EffectAllow, abi.ReasonMatched, abi.LevelAccount, abi.NetworkPublic).WithEntry(0, 24)
	denied  = abi.NewWord(abi.EffectDeny, abi.ReasonSourceIPNotListed, abi.LevelAccount, abi.NetworkPublic)
)

// requireError checks that the result is the JSON of an error with that status.
func requireError(t *testing.T, g *guest, want, status abi.Status) {
	t.Helper()
	require.Equal(t, want, status)
	var answer struct {
		Error struct {
			Code, Message string
			Report        *abi.Report
		}
	}
	d := json.NewDecoder(bytes.NewReader(g.result))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(&answer), "%s", g.result)
	require.Equal(t, want.String(), answer.Error.Code)
	require.NotEmpty(t, answer.Error.Message)
	require.Equal(t, want == abi.StatusInvalidDocument, answer.Error.Report != nil)
}

func TestWithNothingLoadedEveryQuestionIsAnError(t *testing.T) {
	g := &guest{}
	b := encoded(t, request("203.0.113.1"))
	require.Equal(t, abi.ErrorWord(abi.StatusNotLoaded), g.evaluateBytes(b))
	asText := append([]byte{abi.SourceText, 9, 1}, make([]byte, 21)...)
	require.Equal(t, abi.ErrorWord(abi.StatusNotLoaded), g.evaluateBytes(append(asText, "k203.0.113.1"[:10]...)))
	requireError(t, g, abi.StatusNotLoaded, g.batch(b, 1))
	requireError(t, g, abi.StatusNotLoaded, g.batch(nil, 0))
	document := []byte(`{"AccessKeyId":"k","SourceIp":"203.0.113.1"}`)
	requireError(t, g, abi.StatusNotLoaded, g.call((*guest).evaluateJSON, document))
	requireError(t, g, abi.StatusNotLoaded, g.call((*guest).explain, document))
	requireError(t, g, abi.StatusNotLoaded, g.call((*guest).revision, nil))
	for _, target := range []string{"/", "/?AccessKeyId=k"} {
		b, _ := abi.AppendHTTPRequest(nil, &abi.HTTPRequest{Target: target, SourceIP: netip.MustParseAddr("203.0.113.1")})
		require.Equal(t, abi.ErrorWord(abi.StatusNotLoaded), abi.Word(g.authorize(b)))
	}
	require.Equal(t, abi.StatusOK, g.call((*guest).info, nil))
	require.Contains(t, string(g.result), `"Loaded":false`)
}

func TestLoadTakesADocumentOrAnImageAndLeavesNoResult(t *testing.T) {
	g := loaded(t)
	require.Empty(t, g.result)
	require.Equal(t, allowed, g.evaluateBytes(encoded(t, request("203.0.113.1"))))

	image, _, err := policy.Compile([]byte(reversed))
	require.NoError(t, err)
	require.Equal(t, abi.StatusOK, g.call((*guest).load, image))
	require.Empty(t, g.result)
	require.Equal(t, denied, g.evaluateBytes(encoded(t, request("203.0.113.1"))))
	require.Same(t, &image[0], &g.evaluator.Image()[0], "the image is not copied")
}

func TestALoadThatFailsKeepsTheFormerRules(t *testing.T) {
	g := loaded(t)
	image, _, err := policy.Compile([]byte(reversed))
	require.NoError(t, err)
	image[len(image)-1] ^= 1
	for _, c := range []struct {
		policySet []byte
		status    abi.Status
	}{
		{nil, abi.StatusInvalidDocument},
		{[]byte("{"), abi.StatusInvalidDocument},
		{[]byte(`{"Accounts":null}`), abi.StatusInvalidDocument},
		{image, abi.StatusInvalidImage},
		{image[:8], abi.StatusInvalidImage},
	} {
		requireError(t, g, c.status, g.call((*guest).load, c.policySet))
		require.Equal(t, allowed, g.evaluateBytes(encoded(t, request("203.0.113.1"))))
	}
}

func TestCompileAnswersWithTheImageAndLoadsNothing(t *testing.T) {
	g := loaded(t)
	want, _, err := policy.Compile([]byte(reversed))
	require.NoError(t, err)
	require.Equal(t, abi.StatusOK, g.call((*guest).compile, []byte(reversed)))
	require.Equal(t, want, g.result)
	require.Equal(t, allowed, g.evaluateBytes(encoded(t, request("203.0.113.1"))))
	requireError(t, g, abi.StatusInvalidDocument, g.call((*guest).compile, []byte("{}")))
	requireError(t, g, abi.StatusInvalidDocument, g.call((*guest).compile, want)) // an image is no document
}

func TestValidateAnswersWithTheReport(t *testing.T) {
	g := &guest{}
	for document, want := range map[string]abi.Status{
		ruled: abi.StatusOK, `{"Accounts":[]}`: abi.StatusOK, `{}`: abi.StatusInvalidDocument, ``: abi.StatusInvalidDocument,
		`{"Status":"Active","Statements":[]}`: abi.StatusOK,
	} {
		require.Equal(t, want, g.call((*guest).validate, []byte(document)))
		var got abi.Report
		require.NoError(t, json.Unmarshal(g.result, &got))
		require.Equal(t, policy.Validate([]byte(document)), got)
		require.Equal(t, want == abi.StatusOK, got.Valid)
	}
	require.Nil(t, g.evaluator)
}

func TestEvaluateReadsTheRequestBuffer(t *testing.T) {
	g := loaded(t)
	for source, want := range map[string]abi.Word{"203.0.113.1": allowed, "203.0.114.1": denied, "::ffff:203.0.113.1": allowed, "2001:db8::1": denied} {
		require.Equal(t, want, g.evaluateBytes(encoded(t, request(source))), source)
		text := make([]byte, abi.RequestHeaderSize)
		text[0], text[1], text[2] = abi.SourceText, byte(len(source)), byte(len(key))
		require.Equal(t, want, g.evaluateBytes(append(append(text, key...), source...)), source)
	}
}

func TestTheLengthOfARequestMustBeRight(t *testing.T) {
	g := loaded(t)
	b := encoded(t, request("203.0.113.1"))
	for n := range uint32(abi.RequestBufferSize + 2) {
		copy(g.request[:], b)
		want := abi.ErrorWord(abi.StatusInvalidRequest)
		switch {
		case n == uint32(len(b)):
			want = allowed
		case n > abi.RequestBufferSize:
			want = abi.ErrorWord(abi.StatusInvalidArgument)
		}
		require.Equal(t, want, abi.Word(g.evaluate(n)), "length %d", n)
	}
	require.Equal(t, abi.ErrorWord(abi.StatusInvalidArgument), abi.Word(g.evaluate(1<<31)))
	require.Equal(t, abi.ErrorWord(abi.StatusInvalidArgument), abi.Word(g.evaluate(^uint32(0))))
}

func TestEvaluateLeavesTheResultAsItIs(t *testing.T) {
	g := loaded(t)
	require.Equal(t, abi.StatusOK, g.call((*guest).revision, nil))
	before := string(g.result)
	require.Len(t, before, 64)
	g.evaluateBytes(encoded(t, request("203.0.113.1")))
	g.evaluateBytes([]byte{abi.SourceText})
	require.Equal(t, before, string(g.result))
}

func TestABatchGetsAWordForEachRequest(t *testing.T) {
	g := loaded(t)
	unreadable := encoded(t, request("203.0.113.1"))
	unreadable[0] = abi.SourceNone
	unknownKind := encoded(t, request("203.0.113.1"))
	unknownKind[0] = 5
	noKey := append([]byte{abi.SourceIPv4}, make([]byte, abi.RequestHeaderSize-1)...)
	all := []struct {
		request []byte
		want    abi.Word
	}{
		{encoded(t, request("203.0.113.1")), allowed},
		{unreadable, abi.ErrorWord(abi.StatusInvalidSourceIP)},
		{encoded(t, request("198.51.100.1")), denied},
		{unknownKind, abi.ErrorWord(abi.StatusInvalidRequest)},
		{noKey, abi.ErrorWord(abi.StatusInvalidAccessKeyID)},
		{encoded(t, request("203.0.113.255")), allowed},
	}
	var b []byte
	for _, one := range all {
		b = append(b, one.request...)
	}
	require.Equal(t, abi.StatusOK, g.batch(b, uint32(len(all))))
	require.Len(t, g.result, 8*len(all))
	for i, one := range all {
		require.Equal(t, one.want, abi.Word(binary.LittleEndian.Uint64(g.result[8*i:])), "request %d", i)
	}

	require.Equal(t, abi.StatusOK, g.batch(nil, 0))
	require.Empty(t, g.result)
	for count, b := range map[uint32][]byte{
		0:               b,                    // bytes are left over
		5:               b,                    // so they are here
		6:               b[:len(b)-1],         // the last is cut off
		7:               append(b, b[:23]...), // there is no seventh
		^uint32(0):      b,                    // nor are there so many
		uint32(1 << 29): bytes.Repeat(b, 3),   // whose size is a multiple of 2^32
	} {
		requireError(t, g, abi.StatusInvalidRequest, g.batch(b, count))
	}
}

func TestJSONIsAnsweredWithJSON(t *testing.T) {
	g := loaded(t)
	require.Equal(t, abi.StatusOK, g.call((*guest).evaluateJSON, []byte(`{"AccessKeyId":"k","SourceIp":"203.0.113.1"}`)))
	require.Equal(t, `{"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"203.0.113.0/24"}`, string(g.result))
	require.Equal(t, abi.StatusOK, g.call((*guest).evaluateJSON, []byte(`{"AccessKeyId":"k","SourceIp":"203.0.114.1"}`)))
	require.Equal(t, `{"Effect":"Deny","Reason":"SourceIPNotListed","Level":"Account","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}`, string(g.result))

	require.Equal(t, abi.StatusOK, g.call((*guest).explain, []byte(`{"AccessKeyId":"k","SourceIp":"203.0.113.1"}`)))
	var trace abi.Trace
	require.NoError(t, json.Unmarshal(g.result, &trace))
	want, err := g.evaluator.Explain(abi.Request{AccessKeyID: "k", SourceIP: netip.MustParseAddr("203.0.113.1")})
	require.NoError(t, err)
	require.Equal(t, want, trace)

	for document, status := range map[string]abi.Status{
		``: abi.StatusInvalidRequest, `{"AccessKeyId":"k","SourceIp":"203.0.113.1","x":1}`: abi.StatusInvalidRequest,
		`{"SourceIp":"203.0.113.1"}`: abi.StatusInvalidAccessKeyID, `{"AccessKeyId":"k","SourceIp":"x"}`: abi.StatusInvalidSourceIP,
	} {
		requireError(t, g, status, g.call((*guest).evaluateJSON, []byte(document)))
		requireError(t, g, status, g.call((*guest).explain, []byte(document)))
	}
}

func TestAuthorizeAnswersWithTheKeyID(t *testing.T) {
	g := loaded(t)
	authorize := func(r abi.HTTPRequest) abi.Word {
		r.SourceIP = netip.MustParseAddr("203.0.113.1")
		b, status := abi.AppendHTTPRequest(nil, &r)
		require.Equal(t, abi.StatusOK, status)
		return abi.Word(g.authorize(b))
	}
	require.Equal(t, allowed, authorize(abi.HTTPRequest{Target: "/?AccessKeyId=" + key}))
	require.Equal(t, key, string(g.result))
	require.Equal(t, allowed, authorize(abi.HTTPRequest{Target: "/", Headers: []abi.HTTPHeader{{Name: "Authorization", Value: "OSS k:s"}}}))
	require.Equal(t, "k", string(g.result))
	require.Equal(t, abi.ReasonAmbiguousAccessKey, authorize(abi.HTTPRequest{Target: "/?AccessKeyId=k&OSSAccessKeyId=l"}).Reason())
	require.Empty(t, g.result, "nothing is left of an earlier call")
	require.Equal(t, abi.ReasonNoAccessKey, authorize(abi.HTTPRequest{Target: "/"}).Reason())
	require.Empty(t, g.result)
	require.Equal(t, abi.ErrorWord(abi.StatusInvalidRequest), abi.Word(g.authorize([]byte("short"))))
	require.Empty(t, g.result)
	require.Equal(t, allowed, authorize(abi.HTTPRequest{Target: "/?AccessKeyId=k"}), "an error does no harm to what follows")
}

func TestRevisionAndInfoTellWhatIsLoaded(t *testing.T) {
	g := loaded(t)
	require.Equal(t, abi.StatusOK, g.call((*guest).revision, nil))
	require.Equal(t, g.evaluator.Revision(), string(g.result))
	require.Equal(t, abi.StatusOK, g.call((*guest).info, nil))
	require.Equal(t, policy.AppendInfo(nil, g.evaluator), g.result)
}

// readme returns a fenced block of the contract.
func readme(t *testing.T, fence string) string {
	t.Helper()
	b, err := os.ReadFile("../../abi/README.md")
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(b), "\n```"+fence+"\n")
	require.True(t, ok, fence)
	block, _, _ := strings.Cut(rest, "\n```\n")
	return block
}

func readmeBytes(t *testing.T, name string) (all []byte) {
	t.Helper()
	for line := range strings.Lines(readme(t, "hex "+name)) {
		digits, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		require.NoError(t, err)
		all = append(all, b...)
	}
	return all
}

func TestTheContractShowsWhatTheGuestAnswers(t *testing.T) {
	g := &guest{}
	require.Equal(t, abi.StatusOK, g.call((*guest).info, nil))
	require.Equal(t, readme(t, "json info-empty"), string(g.result))

	require.Equal(t, abi.StatusOK, g.call((*guest).load, []byte(readme(t, "json policy"))))
	require.Equal(t, abi.StatusOK, g.batch(readmeBytes(t, "batch"), 2))
	require.Equal(t, readmeBytes(t, "batch-result"), g.result)
	for _, name := range []string{"smallest", "as-text"} {
		require.Equal(t, allowed, g.evaluateBytes(readmeBytes(t, name)), name)
	}
	require.Equal(t, abi.ReasonExemptService, g.evaluateBytes(readmeBytes(t, "all-fields")).Reason())

	want := abi.NewWord(abi.EffectDeny, abi.ReasonNoVPCPolicy, abi.LevelAccount, abi.NetworkVPC)
	require.Equal(t, want, abi.Word(g.authorize(readmeBytes(t, "http"))))
	require.Equal(t, key, string(g.result))

	require.Equal(t, abi.StatusOK, g.call((*guest).info, nil))
	require.Equal(t, readme(t, "json info"), string(g.result))
	require.Equal(t, abi.StatusInvalidDocument, g.call((*guest).compile, []byte("{}")))
	require.Equal(t, readme(t, "json error"), string(g.result))
}

// FuzzABIBuffer gives every export that takes a buffer any bytes in it.
func FuzzABIBuffer(f *testing.F) {
	r, h := request("203.0.113.1"), abi.HTTPRequest{Target: "/?AccessKeyId=k", SourceIP: netip.MustParseAddr("2001:db8::1"),
		Headers: []abi.HTTPHeader{{Name: "Authorization", Value: "OSS k:s"}}}
	r.VPCID, r.Service = "vpc-a", "Ecs"
	plain, _ := abi.AppendRequest(nil, &r)
	asText := append([]byte{abi.SourceText, 11, 1}, make([]byte, 21)...)
	asText = append(asText, "k203.0.113.1"...)
	http, _ := abi.AppendHTTPRequest(nil, &h)
	image, _, err := policy.Compile([]byte(ruled))
	require.NoError(f, err)
	for _, b := range [][]byte{nil, plain, append(plain, plain...), asText, http, image, []byte(ruled), []byte(`{"AccessKeyId":"k","SourceIp":"203.0.113.1"}`),
		[]byte(`{"Accounts":[{"AccountId":"1","AccessKeys":[{"AccessKeyId":"k"}]}],"ExemptServices":[]}`), bytes.Repeat([]byte{0xff}, 64)} {
		for _, count := range []uint32{0, 1, 2, 1 << 31} {
			f.Add(b, uint32(len(b)), count)
		}
	}
	f.Fuzz(func(t *testing.T, b []byte, length, count uint32) {
		known := func(s abi.Status) {
			require.Less(t, int(s), len(abi.Statuses()))
			require.NotEqual(t, abi.StatusInternal, s)
		}
		knownWord := func(w uint64) {
			s := abi.Word(w).Status()
			known(s)
			require.GreaterOrEqual(t, int64(w), int64(0))
			if s != abi.StatusOK {
				require.Equal(t, abi.ErrorWord(s), abi.Word(w))
			} else {
				require.NotEqual(t, abi.ReasonNone, abi.Word(w).Reason())
			}
		}
		// json answers with JSON, whatever the status.
		knownJSON := func(g *guest, s abi.Status) {
			known(s)
			require.True(t, json.Valid(g.result), "%s", g.result)
		}
		original := bytes.Clone(b)
		for _, g := range []*guest{{}, loaded(t)} {
			copy(g.request[:], b)
			knownWord(g.evaluate(length))
			knownWord(g.evaluate(uint32(len(b))))
			if s := g.batch(b, count); s == abi.StatusOK {
				require.Len(t, g.result, int(8*count))
				for i := range count {
					knownWord(binary.LittleEndian.Uint64(g.result[8*i:]))
				}
			} else {
				knownJSON(g, s)
			}
			knownJSON(g, g.call((*guest).evaluateJSON, b))
			knownJSON(g, g.call((*guest).explain, b))
			knownJSON(g, g.call((*guest).validate, b))
			if s := g.call((*guest).compile, b); s == abi.StatusOK {
				require.True(t, policy.IsImage(g.result))
			} else {
				knownJSON(g, s)
			}
			knownWord(g.authorize(b))
			require.Equal(t, original, b)

			before := g.evaluator
			if s := g.call((*guest).load, b); s == abi.StatusOK {
				require.Empty(t, g.result)
				require.NotNil(t, g.evaluator)
				knownWord(uint64(g.evaluateBytes(plain)))
			} else {
				knownJSON(g, s)
				require.Same(t, before, g.evaluator)
			}
			knownJSON(g, g.call((*guest).info, nil))
		}
	})
}
