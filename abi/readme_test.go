package abi_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// contract is README.md, taken apart.
type contract struct {
	text   string
	tables map[string][][]string // rows of cells, by the first cell of the header
	blocks map[string]string     // fenced blocks, by "language name"
}

func readContract(t *testing.T) contract {
	t.Helper()
	b, err := os.ReadFile("README.md")
	require.NoError(t, err)
	c := contract{string(b), map[string][][]string{}, map[string]string{}}
	fence, table := "", ""
	for line := range strings.Lines(c.text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case fence != "" && line == "```":
			fence = ""
		case fence != "":
			c.blocks[fence] += line + "\n"
		case strings.HasPrefix(line, "```"):
			fence = line[3:]
			require.NotContains(t, c.blocks, fence, "two blocks of one name")
		case !strings.HasPrefix(line, "|"):
			table = ""
		default:
			cells := strings.Split(strings.Trim(line, "|"), "|")
			for i := range cells {
				cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
			}
			if table == "" {
				table = cells[0]
			} else if !strings.HasPrefix(cells[0], "--") {
				c.tables[table] = append(c.tables[table], cells)
			}
		}
	}
	return c
}

// bytesOf reads a block of bytes: two hexadecimal digits each, one space
// between them, and behind two spaces a remark.
func (c contract) bytesOf(t *testing.T, name string) (all []byte) {
	t.Helper()
	block, ok := c.blocks["hex "+name]
	require.True(t, ok, name)
	for line := range strings.Lines(block) {
		digits, _, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		b, err := hex.DecodeString(strings.ReplaceAll(digits, " ", ""))
		require.NoError(t, err, "%s: %s", name, line)
		all = append(all, b...)
	}
	return all
}

func (c contract) jsonOf(t *testing.T, name string, v any) {
	t.Helper()
	block, ok := c.blocks["json "+name]
	require.True(t, ok, name)
	require.NoError(t, json.Unmarshal([]byte(block), v), name)
}

func TestTheREADMEListsEveryExportWithItsSignature(t *testing.T) {
	documented := map[string]abi.Signature{}
	types := regexp.MustCompile(`\bi(?:32|64)\b`)
	for _, row := range readContract(t).tables["export"] {
		require.Len(t, row, 4, row[0])
		params, results, ok := strings.Cut(row[1], " → ")
		require.True(t, ok, row[1])
		var s abi.Signature
		for _, p := range types.FindAllString(params, -1) {
			s.Params = append(s.Params, abi.ValueType(p))
		}
		for _, r := range types.FindAllString(results, -1) {
			s.Results = append(s.Results, abi.ValueType(r))
		}
		documented[row[0]] = s
		require.Equal(t, "1.0", row[2], "since when %s is there", row[0])
		require.NotEmpty(t, row[3])
	}
	require.Equal(t, abi.Exports(), documented)
}

func TestTheREADMEListsEveryNumber(t *testing.T) {
	c := readContract(t)
	numbers := func(table string) map[int]string {
		all := map[int]string{}
		for _, row := range c.tables[table] {
			n, err := strconv.Atoi(row[0])
			require.NoError(t, err)
			all[n] = row[1]
		}
		return all
	}
	require.Equal(t, namesOf(abi.Statuses()), numbers("number"))
	require.Equal(t, namesOf(abi.Effects()), numbers("effect"))
	require.Equal(t, namesOf(abi.Reasons()), numbers("reason"))
	require.Equal(t, namesOf(abi.Levels()), numbers("level"))
	require.Equal(t, namesOf(abi.Networks()), numbers("network"))
}

func namesOf[T interface {
	~uint8
	fmt.Stringer
}](all []T) map[int]string {
	names := map[int]string{}
	for _, v := range all {
		names[int(v)] = v.String()
	}
	return names
}

func TestTheREADMEBuildsTheGuestAsTheMakefileDoes(t *testing.T) {
	b, err := os.ReadFile("../Makefile")
	require.NoError(t, err)
	value := func(name string) string {
		_, rest, ok := strings.Cut(string(b), "\n"+name+" := ")
		require.True(t, ok, name)
		value, _, _ := strings.Cut(rest, "\n")
		return value
	}
	command := strings.ReplaceAll(value("WASM_BUILD"), "$(GO_VERSION)", value("GO_VERSION"))
	require.Equal(t, command+" -o keymoat.wasm ./plugin/core\n", readContract(t).blocks["sh"])
}

func TestTheREADMEStatesTheLimits(t *testing.T) {
	text := readContract(t).text
	for _, sentence := range []string{
		fmt.Sprintf("# The keymoat ABI, version %d.%d\n", abi.VersionMajor, abi.VersionMinor),
		fmt.Sprintf("This is version **%d.%d**.", abi.VersionMajor, abi.VersionMinor),
		fmt.Sprintf("functions of `%s` and nothing else", abi.ImportModule),
		fmt.Sprintf("exports its memory as `%s`", abi.ExportMemory),
		fmt.Sprintf("A header of %d bytes", abi.RequestHeaderSize),
		fmt.Sprintf("A request has %d bytes at most", abi.MaxRequestSize),
		fmt.Sprintf("An AccessKeyId has 1 to %d of the letters", abi.MaxAccessKeyID),
		fmt.Sprintf("| %d bytes for `%s`", abi.RequestBufferSize, abi.ExportEvaluate),
		fmt.Sprintf("%d not at all, %d as text, %d as an IPv4 and %d as an IPv6 address", abi.SourceNone, abi.SourceText, abi.SourceIPv4, abi.SourceIPv6),
		fmt.Sprintf("%d,000 errors", abi.MaxFindings/1000),
		fmt.Sprintf("at most %d objects and arrays in one another", abi.MaxDepth),
		`"Code":"` + abi.DenialCode + `"`,
	} {
		require.True(t, strings.Contains(text, sentence), sentence)
	}
	require.Equal(t, 1, abi.HTTPFlagDenyMissing, "bit 0 of the flags")
	require.Equal(t, 2, abi.HTTPFlagDenyFormBody, "bit 1 of the flags")
	require.Contains(t, text, fmt.Sprintf("A request has %d MiB at most", abi.MaxHTTPRequestSize>>20))
	require.Equal(t, uint32(1)<<16, abi.Version)
}

// Every block of bytes has a test; a new one needs a new line here.
func TestTheREADMEHasNoUntestedBytes(t *testing.T) {
	var names []string
	for name := range readContract(t).blocks {
		if name, ok := strings.CutPrefix(name, "hex"); ok {
			names = append(names, strings.TrimSpace(name))
		}
	}
	slices.Sort(names)
	require.Equal(t, []string{"all-fields", "as-text", "batch", "batch-result", "http", "smallest"}, names)
}

func TestTheREADMEsRequestsAreWhatTheCodecsMakeOfThem(t *testing.T) {
	c := readContract(t)
	for _, name := range []string{"smallest", "all-fields", "as-text"} {
		var want abi.Request
		c.jsonOf(t, name, &want)
		b := c.bytesOf(t, name)
		got, n, status := abi.DecodeRequest(b)
		require.Equal(t, abi.StatusOK, status, name)
		require.Equal(t, len(b), n, name)
		require.Equal(t, want, got, name)
		if b[0] != abi.SourceText { // which this host has no need to write
			encoded, status := abi.AppendRequest(nil, &want)
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, b, encoded, name)
		}
	}
}

func TestTheREADMEsHTTPRequestIsWhatTheCodecsMakeOfIt(t *testing.T) {
	c := readContract(t)
	var want abi.HTTPRequest
	c.jsonOf(t, "http", &want)
	b := c.bytesOf(t, "http")
	got, status := abi.DecodeHTTPRequest(b, nil)
	require.Equal(t, abi.StatusOK, status)
	require.Equal(t, want, got)
	encoded, status := abi.AppendHTTPRequest(nil, &want)
	require.Equal(t, abi.StatusOK, status)
	require.Equal(t, b, encoded)
}

func TestTheREADMEsBatchIsItsRequests(t *testing.T) {
	c := readContract(t)
	var requests []abi.Request
	c.jsonOf(t, "batch", &requests)
	var encoded []byte
	for i := range requests {
		var status abi.Status
		encoded, status = abi.AppendRequest(encoded, &requests[i])
		require.Equal(t, abi.StatusOK, status)
	}
	require.Equal(t, encoded, c.bytesOf(t, "batch"))
	require.Contains(t, c.text, fmt.Sprintf("`%s(pointer, %d, %d)` returns 0", abi.ExportEvaluateBatch, len(encoded), len(requests)))
	require.Len(t, c.bytesOf(t, "batch-result"), 8*len(requests))
}

func TestTheREADMEsWordsAreWhatTheCodecMakesOfThem(t *testing.T) {
	rows := readContract(t).tables["word"]
	require.NotEmpty(t, rows)
	for _, row := range rows {
		bits, err := strconv.ParseUint(row[0], 16, 64)
		require.NoError(t, err)
		require.Len(t, row[0], 16)
		d, status := abi.Word(bits).Decision(netip.MustParseAddr(row[1]))
		switch {
		case strings.HasPrefix(row[2], "{"):
			require.Equal(t, abi.StatusOK, status, row[0])
			require.Equal(t, row[2], string(d.AppendJSON(nil)), row[0])
			packed := abi.NewWord(d.Effect, d.Reason, d.Level, d.Network)
			if d.Entry.IsValid() {
				packed = packed.WithEntry(uint8(d.Statement), uint8(d.Entry.Bits()))
			}
			require.Equal(t, bits, uint64(packed))
		case strings.HasPrefix(row[2], "an error: "):
			require.Equal(t, abi.StatusInternal, status, row[0])
		default:
			require.Equal(t, row[2], status.String(), row[0])
		}
	}
}
