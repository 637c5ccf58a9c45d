package policy

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// smallSet uses every part of the format: both families, a list of one leaf
// and one of several, both kinds of VPC statement, both levels, all states,
// exemptions with and without conditions, ids of all kinds of length.
const smallSet = `{
  "Version": 1,
  "Accounts": [
    {"AccountId": "1000000000000001",
     "AccessKeyPolicy": {"Status": "Active", "Statements": [
       {"Type": "ClassicWhiteList", "IPList": ["203.0.113.1", "2001:db8::/32"]},
       {"Type": "VPCWhiteList", "Value": "vpc-a", "IPList": ["10.0.0.0/8"]}]},
     "AccessKeys": [
       {"AccessKeyId": "LTAI5tExample0000000001",
        "AccessKeyPolicy": {"Status": "Active", "Statements": [
          {"Type": "VPCWhiteList", "Value": "AllowAllVPC", "IPList": ["10.0.0.0/16", "::1"]},
          {"Type": "ClassicWhiteList", "IPList": "10.0.0.1 10.0.0.3 10.0.0.5 10.0.0.7 10.0.0.9 10.0.0.11 10.0.0.13"},
          {"Type": "VPCWhiteList", "Value": "vpc-bp1234567890abcdef", "IPList": ["10.0.0.0/8"]}]}},
       {"AccessKeyId": "short", "AccessKeyPolicy": {"Status": "Inactive", "Statements": []}},
       {"AccessKeyId": "LTAI5tExample0000000002LTAI5tExample0000000002"}]},
    {"AccountId": "a"}],
  "ExemptServices": [{"Service": "EventBridge"}, {"Service": "Cms", "Action": "PutCustomEvent", "Protocol": "HTTP"}]
}`

// damagedSets are those whose images the tests damage: besides smallSet the
// smallest ones, in which little lies between a record and the end of the
// image, one with a single account, and one with full policies.
var damagedSets = map[string]string{
	"small":       smallSet,
	"one policy":  `{"Status":"Active","Statements":[` + vpcOf("vpc-a", `"10.0.0.0/8"`) + `]}`,
	"one account": `{"Accounts":[{"AccountId":"a","AccessKeyPolicy":` + active(classicOf(`"10.0.0.0/8"`), vpcOf("vpc-a", `"10.0.0.0/8"`)) + `}],"ExemptServices":[]}`,
	"one exempt":  `{"Accounts":[],"ExemptServices":[{"Service":"EventBridge"}]}`,
	"nothing":     `{"Accounts":[],"ExemptServices":[]}`,
	"full policies": withKeys(
		`{"AccessKeyId":"short","AccessKeyPolicy":`+active(times(8, vpcOf("vpc-a", `"10.0.0.0/8"`))...)+`}`,
		`{"AccessKeyId":"k1","AccessKeyPolicy":`+active(times(8, vpcOf("vpc-bp1234567890abcdef", `"10.0.0.0/8"`))...)+`}`,
		`{"AccessKeyId":"k2","AccessKeyPolicy":`+active(times(8, vpcOf("vpc-c", `"10.0.0.0/8"`))...)+`}`),
}

// smallRequests take every way through smallSet, and reach every bucket.
func smallRequests() (all []abi.Request) {
	for _, key := range []string{"LTAI5tExample0000000001", "short", "LTAI5tExample0000000002LTAI5tExample0000000002", "LTAI5tExample0000000003", "STS.x"} {
		for _, source := range []string{"10.0.0.5", "255.255.255.255", "0.0.0.0", "2001:db8::1", "ffff::", "::"} {
			for _, vpc := range []string{"", "vpc-a", "vpc-bp1234567890abcdef", "vpc-c"} {
				all = append(all, abi.Request{AccessKeyID: key, SourceIP: netip.MustParseAddr(source), VPCID: vpc, AccountID: "1000000000000001"})
			}
		}
	}
	for i, account := range []string{"", "a", "b", "\x00"} {
		all[i].AccountID = account
	}
	for i, service := range []string{"eventbridge", "Cms", "Oss"} {
		all[i+4].Service, all[i+4].Action, all[i+4].Protocol = service, "PutCustomEvent", "HTTP"
	}
	return append(all, bucketRequests()...)
}

// bucketRequests are few, and reach every bucket and every record of small indices.
func bucketRequests() (all []abi.Request) {
	for i := range 24 {
		id := "k" + strconv.Itoa(i)
		for _, account := range []string{"", id, "1", "a"} {
			vpc := []string{"", "vpc-a", "vpc-bp1234567890abcdef", "vpc-c"}[i%4]
			all = append(all, abi.Request{AccessKeyID: id, SourceIP: netip.MustParseAddr("10.0.0.1"), AccountID: account, VPCID: vpc})
		}
	}
	return all
}

func compile(t testing.TB, document string) []byte {
	t.Helper()
	image, _, err := Compile([]byte(document))
	require.NoError(t, err)
	return image
}

// judge puts requests to an image if it can be opened. It panics if the
// evaluator reads outside the image: natively all reads are checked, so that
// what holds here holds for the unchecked reads of the guest too.
func judge(image []byte, requests []abi.Request, explain bool) (opened bool) {
	e, err := Open(image)
	if err != nil {
		return false
	}
	for i := range requests {
		e.Evaluate(&requests[i])
		if explain {
			trace, err := e.Explain(requests[i])
			if err == nil {
				AppendTrace(nil, &trace)
			}
		}
	}
	AppendInfo(nil, e)
	return true
}

// fixChecksum makes a damaged image look whole.
func fixChecksum(image []byte) {
	copy(image, abi.ImageMagic)
	put32(image[atVersion:], imageVersion)
	put32(image[atLength:], uint32(len(image)))
	put64(image[atChecksum:], checksum(image))
}

func requireInvalidImage(t *testing.T, image []byte, message string) {
	t.Helper()
	_, err := Open(image)
	require.ErrorIs(t, err, abi.StatusInvalidImage)
	require.ErrorContains(t, err, message)
}

func TestTheSpecificationsExampleIsWhatCompileWrites(t *testing.T) {
	b, err := os.ReadFile("IMAGE.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(b), "## Example")
	_, rest, ok := strings.Cut(rest, "```json\n")
	require.True(t, ok)
	document, rest, _ := strings.Cut(rest, "```")
	_, rest, ok = strings.Cut(rest, "```\n")
	require.True(t, ok)
	dump, _, _ := strings.Cut(rest, "```")

	image := compile(t, document)
	for line := range strings.Lines(dump) {
		offset, rest, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		digits, remark, _ := strings.Cut(rest, "  ")
		at, err := strconv.ParseUint(offset, 16, 32)
		require.NoError(t, err, line)
		want, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		require.NoError(t, err, line)
		require.GreaterOrEqual(t, len(image), int(at)+8, line)
		require.Equal(t, want, image[at:at+8], line)
		if name, quoted := strings.CutPrefix(remark, `"`); quoted { // cites the text that begins here
			name, _, _ = strings.Cut(name, `"`)
			require.Equal(t, name, string(image[at:int(at)+len(name)]), line)
		}
	}
	require.Len(t, image, 8*strings.Count(dump, "\n"), "every byte is explained")
	require.Contains(t, string(b), "compiles to "+strconv.Itoa(len(image))+" bytes")
}

func TestTheSpecificationStatesTheLimits(t *testing.T) {
	b, err := os.ReadFile("IMAGE.md")
	require.NoError(t, err)
	for _, sentence := range []string{
		"This is version " + strconv.Itoa(imageVersion) + " of the format.",
		"| header | " + strconv.Itoa(headerSize) + " bytes |",
		fmt.Sprintf("`K` = %#x", uint64(hashOdd)),
		strconv.Itoa(abi.MaxEntries) + " entries make at most " + strconv.Itoa(maxSegments) + " segments",
		fmt.Sprintf("at most %d leaves and %d IPv6 segments", maxLeaves, maxSegments),
		"A text has at most " + strconv.Itoa(abi.MaxField) + " bytes",
		"at most " + strconv.Itoa(abi.MaxStatements) + " VPC statements",
		"nodes of " + strconv.Itoa(nodeSize) + " bytes",
		fmt.Sprintf("%d inactive, %d active, %d there is no policy", stateInactive, stateActive, stateNone),
	} {
		require.True(t, strings.Contains(string(b), sentence), sentence)
	}
	require.Equal(t, 1<<31, maxImage)
	require.Equal(t, 1<<28, maxAccounts, "25 bits for a record, in units of 8 bytes")
}

func TestAnImageIsTakenAsItIs(t *testing.T) {
	image := compile(t, smallSet)
	e, err := Load(image)
	require.NoError(t, err)
	require.Same(t, &image[0], &e.Image()[0])
	require.Equal(t, fmt.Sprintf("%x", sha256.Sum256(image)), e.Revision())
	require.Equal(t, 2, e.Accounts())
	require.Equal(t, 3, e.AccessKeys())
}

func TestEveryFlippedBitIsFound(t *testing.T) {
	for _, set := range damagedSets {
		image := compile(t, set)
		for bit := range 8 * len(image) {
			image[bit/8] ^= 1 << (bit % 8)
			_, err := Open(image)
			require.ErrorIs(t, err, abi.StatusInvalidImage, "bit %d of byte %d", bit%8, bit/8)
			image[bit/8] ^= 1 << (bit % 8)
		}
		_, err := Open(image)
		require.NoError(t, err)
	}
}

func TestEveryTruncatedOrExtendedImageIsRefused(t *testing.T) {
	for _, set := range damagedSets {
		image := compile(t, set)
		for n := range image {
			requireInvalidImage(t, image[:n:n], "")
			if n >= headerSize { // and with a header that says so
				cut := bytes.Clone(image[:n])
				fixChecksum(cut)
				requireInvalidImage(t, cut, "")
			}
		}
		for n := 1; n <= 16; n++ {
			longer := append(bytes.Clone(image), make([]byte, n)...)
			requireInvalidImage(t, longer, "length")
			fixChecksum(longer)
			requireInvalidImage(t, longer, "")
		}
	}
}

func TestAnImageThatIsNoneIsRefusedWithAReason(t *testing.T) {
	change := func(at int, v uint32, fix bool) []byte {
		image := compile(t, smallSet)
		put32(image[at:], v)
		if fix {
			put64(image[atChecksum:], checksum(image))
		}
		return image
	}
	requireInvalidImage(t, nil, "does not begin as one")
	requireInvalidImage(t, []byte(smallSet), "does not begin as one")
	requireInvalidImage(t, []byte(abi.ImageMagic), "cut off")
	requireInvalidImage(t, change(atVersion, imageVersion+1, true), "compile the policy set again")
	requireInvalidImage(t, change(atLength, headerSize, true), "cut off")
	requireInvalidImage(t, change(headerSize, 0, false), "damaged")
	requireInvalidImage(t, change(atLists, 1<<30, true), "sections")
	requireInvalidImage(t, change(atExemptCount, 7, true), "exemptions")
	requireInvalidImage(t, change(headerSize, 0xff, true), "list")
	requireInvalidImage(t, change(atAccountShift, 64, true), "index of accounts")
	requireInvalidImage(t, change(atAccountCount, 9, true), "count of accounts")
	requireInvalidImage(t, change(atSoleAccount, headerSize, true), "count of accounts")
	requireInvalidImage(t, change(atKeyShift, 35, true), "index of keys")
	requireInvalidImage(t, change(atKeyCount, 9, true), "count of keys")
}

func TestEveryFlippedBitIsHarmlessWithARightChecksum(t *testing.T) {
	requests := smallRequests()
	for name, set := range damagedSets {
		image := compile(t, set)
		opened := 0
		for bit := range 8 * len(image) {
			image[bit/8] ^= 1 << (bit % 8)
			put64(image[atChecksum:], checksum(image))
			require.NotPanics(t, func() {
				if judge(image, requests, bit%8 == 0) {
					opened++
				}
			}, "%s: bit %d of byte %d", name, bit%8, bit/8)
			image[bit/8] ^= 1 << (bit % 8)
		}
		require.Positive(t, opened) // bits without a meaning, and those of addresses
		require.Less(t, opened, 8*len(image))
	}
}

// Each number is replaced by each number that could lead somewhere.
func TestEveryWrongNumberIsHarmlessWithARightChecksum(t *testing.T) {
	var requests []abi.Request
	for i, r := range smallRequests() {
		if i < 8 || i%7 == 0 {
			requests = append(requests, r)
		}
	}
	for name, set := range damagedSets {
		image := compile(t, set)
		numbers := []uint32{1, 2, 3, 7, 9, 0x7f, 0x80, 0xff, 0x100, 0xffff, 1 << 16, 1 << 30, 1<<31 - 8, 1 << 31, 0xfffffff8, 0xffffffff,
			0x01010101, 0x00ff00ff, 0x0801, 0x0901, 0x1001} // the last: numbers of statements
		for at := range len(image)/8 + 2 {
			numbers = append(numbers, uint32(8*at), uint32(8*at)|7)
		}
		changed := make([]byte, len(image))
		for at := atLists; at < len(image); at += 4 {
			for _, n := range numbers {
				copy(changed, image)
				put32(changed[at:], n)
				put64(changed[atChecksum:], checksum(changed))
				require.NotPanics(t, func() { judge(changed, requests, n%64 == 7 || n%8 == 1) }, "%s: %#x at %#x", name, n, at)
			}
		}
	}
}

// What no single change leads to, made by hand: an index of keys with one
// bucket, which a shift of 64 would ask for, and which has none to the left of it.
func TestAnIndexOfOneBucketIsRefused(t *testing.T) {
	image := compile(t, damagedSets["nothing"])
	keys := load32(image, atKeyIndex)
	image = image[:keys+8]
	put32(image[keys:], uint32(len(image)))
	put32(image[keys+4:], uint32(len(image)))
	for _, shift := range []uint32{64, 0, 128, 255, 1 << 31} {
		put32(image[atKeyShift:], shift)
		fixChecksum(image)
		requireInvalidImage(t, image, "index of keys")
	}
}

// And a policy that swallows the next one, to which nothing refers any more:
// behind its eight statements there would be ten that nobody looked at.
func TestAPolicyOfMoreThanEightStatementsIsRefused(t *testing.T) {
	image := compile(t, damagedSets["full policies"])
	const size = policyStatement + abi.MaxStatements*vpcSize
	first := load32(image, atTexts) + policyStatement // behind that of the account, which has none
	require.EqualValues(t, abi.MaxStatements, image[first+policyVPCs])
	for at := load32(image, atKeyIndex); at < uint64(len(image)); at += 8 {
		if load32(image, at+idPolicy) == first+size {
			put32(image[at+idPolicy:], uint32(first))
		}
	}
	fixChecksum(image)
	_, err := Open(image)
	require.NoError(t, err, "a policy may be of no use")
	image[first+policyVPCs] += size / vpcSize
	fixChecksum(image)
	requireInvalidImage(t, image, "policy")
}

// A damaged image may still be opened. What it then answers is a decision or a
// status that there is.
func FuzzImage(f *testing.F) {
	requests := smallRequests()[:60]
	requests = append(requests, bucketRequests()[:24]...)
	small := compile(f, smallSet)
	f.Add(small, uint16(0), uint32(0))
	for at := headerSize; at < len(small); at += 64 {
		f.Add(small, uint16(at), uint32(at))
	}
	c := readCorpus(f)
	for i, image := range c.images() {
		if len(image) < 1200 {
			f.Add(image, uint16(i), uint32(i))
		}
	}
	for _, set := range damagedSets {
		image := compile(f, set)
		f.Add(image, uint16(len(image)-4), uint32(len(image)))
	}
	requests = append(requests, c.parsed()[:20]...)
	f.Fuzz(func(t *testing.T, image []byte, at uint16, number uint32) {
		if len(image) < headerSize {
			requireInvalidImage(t, image, "")
			return
		}
		image = bytes.Clone(image)
		put32(image[int(at)%(len(image)-3):], number)
		fixChecksum(image)
		e, err := Open(image)
		if err != nil {
			require.ErrorIs(t, err, abi.StatusInvalidImage)
			return
		}
		for i := range requests {
			d, status := e.Evaluate(&requests[i]).Decision(requests[i].SourceIP)
			if int(status) >= len(abi.Statuses()) || (status == abi.StatusOK) != (d.Reason != abi.ReasonNone) {
				t.Fatalf("%+v: %s, %+v", requests[i], status, d)
			}
			if i%8 != int(number%8) {
				continue
			}
			if trace, err := e.Explain(requests[i]); status == abi.StatusOK {
				require.NoError(t, err)
				require.Equal(t, d, trace.Decision)
				require.True(t, json.Valid(AppendTrace(nil, &trace)))
			} else {
				require.ErrorIs(t, err, status)
			}
		}
		require.True(t, json.Valid(AppendInfo(nil, e)))
	})
}
