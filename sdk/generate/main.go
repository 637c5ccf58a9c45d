// Command generate writes what the SDKs share with the guest in each SDK's own
// language: names and numbers of statuses, effects, reasons, levels and
// networks, codes of findings, limits, layout and the release. Package abi is
// where they are defined. Run it from the root of the repository, as
// "make generate" does; its test fails while a file is not what it would write.
package main

import (
	"bytes"
	"embed"
	"fmt"
	"log"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"unicode"

	"github.com/keymoat/keymoat/abi"
)

//go:embed *.tmpl
var templates embed.FS

// generated maps each file, by its path from the root, to its template.
var generated = map[string]string{
	"sdk/python/src/keymoat/_abi.py": "python.tmpl",
	"sdk/typescript/src/abi.ts":      "typescript.tmpl",
}

// versioned maps each manifest of a package, by its path from the root, to the
// place in it that states the release.
var versioned = map[string]*regexp.Regexp{
	"sdk/python/pyproject.toml":   regexp.MustCompile(`(?m)^(version = ")[^"]*(")$`),
	"sdk/typescript/package.json": regexp.MustCompile(`(?m)^(  "version": ")[^"]*(",)$`),
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("generate: ")
	for path := range generated {
		content, err := render(path)
		if err == nil {
			err = os.WriteFile(path, content, 0o644)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
	for path := range versioned {
		content, err := release(".", path)
		if err == nil {
			err = os.WriteFile(path, content, 0o644)
		}
		if err != nil {
			log.Fatal(err)
		}
	}
}

// render returns what a generated file has to hold.
func render(path string) ([]byte, error) {
	t, err := template.New(generated[path]).Funcs(template.FuncMap{"upper": upper, "quote": quote, "padded": padded}).ParseFS(templates, generated[path])
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := t.Execute(&out, facts()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// release returns a manifest with this release in its place.
func release(root, path string) ([]byte, error) {
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		return nil, err
	}
	place := versioned[path]
	if found := place.FindAll(content, -1); len(found) != 1 {
		return nil, fmt.Errorf("%s states its version %d times, not once", path, len(found))
	}
	return place.ReplaceAll(content, []byte("${1}"+abi.Release+"${2}")), nil
}

// value is a member of an enumeration.
type value struct {
	Name    string // as JSON spells it
	Number  int    // as the decision word carries it
	Meaning string
}

type enumeration struct {
	Name, Meaning string
	Values        []value
}

// facts is what the templates see.
func facts() any {
	return struct {
		Release                            string
		ABIMajor, ABIMinor                 int
		DenialCode                         string
		Enumerations                       []enumeration
		Statuses                           []value
		Errors, Warnings                   []abi.FindingCode
		MoreFindings                       abi.FindingCode
		Steps                              []abi.StepName
		Verdicts                           []abi.Verdict
		IDPattern, VPCIDPattern            string
		Functions                          []function
		MaxAccessKeyID, MaxField           int
		HeaderSize, MaxRequest, BufferSize int
		SourceNone, SourceText, SourceIPv4 int
		FlagDenyMissing, FlagDenyForm      int
		MaxHTTPRequest                     int
		ImageMagic                         []byte
	}{
		Release: abi.Release, ABIMajor: abi.VersionMajor, ABIMinor: abi.VersionMinor,
		DenialCode: abi.DenialCode,
		Enumerations: []enumeration{
			{"Effect", "What is to be done with the call.", values(abi.Effects())},
			{"Reason", "The rule that decided.", values(abi.Reasons())},
			{"Level", "The policy that decided: none, the account's or the key's own.", values(abi.Levels())},
			{"Network", "The class of the call: from a VPC if it carries a VPC id, else public.", values(abi.Networks())},
		},
		Statuses: statuses(), Errors: abi.ErrorCodes(), Warnings: abi.WarningCodes(), MoreFindings: abi.CodeMoreFindings,
		Steps: abi.Steps(), Verdicts: abi.Verdicts(), IDPattern: abi.IDPattern, VPCIDPattern: abi.VPCIDPattern,
		Functions:      functions(),
		MaxAccessKeyID: abi.MaxAccessKeyID, MaxField: abi.MaxField,
		HeaderSize: abi.RequestHeaderSize, MaxRequest: abi.MaxRequestSize, BufferSize: abi.RequestBufferSize,
		SourceNone: abi.SourceNone, SourceText: abi.SourceText, SourceIPv4: abi.SourceIPv4, FlagDenyMissing: abi.HTTPFlagDenyMissing,
		FlagDenyForm: abi.HTTPFlagDenyFormBody, MaxHTTPRequest: abi.MaxHTTPRequestSize,
		ImageMagic: []byte(abi.ImageMagic),
	}
}

func values[T interface {
	~uint8
	String() string
}](all []T) []value {
	out := make([]value, len(all))
	for i, v := range all {
		out[i] = value{Name: v.String(), Number: int(v)}
	}
	return out
}

func statuses() []value {
	out := values(abi.Statuses())
	for i, s := range abi.Statuses() {
		out[i].Meaning = s.Error()
	}
	return out
}

// function is a function of the guest.
type function struct {
	Name string
	abi.Signature
}

// functions returns the guest's functions, sorted by name.
func functions() []function {
	var out []function
	signatures := abi.Exports()
	for _, name := range slices.Sorted(maps.Keys(signatures)) {
		out = append(out, function{name, signatures[name]})
	}
	return out
}

// upper spells a name as a constant: "SourceIPNotListed" is SOURCE_IP_NOT_LISTED.
func upper(name any) string {
	var out strings.Builder
	letters := []rune(fmt.Sprint(name))
	for i, c := range letters {
		if i > 0 && unicode.IsUpper(c) && (unicode.IsLower(letters[i-1]) || i+1 < len(letters) && unicode.IsLower(letters[i+1])) {
			out.WriteByte('_')
		}
		out.WriteRune(unicode.ToUpper(c))
	}
	return out.String()
}

func quote(v any) string { return fmt.Sprintf("%q", fmt.Sprint(v)) }

// padded returns the names of values at the index of their number, "" between.
func padded(values []value) []string {
	names := make([]string, values[len(values)-1].Number+1)
	for _, v := range values {
		names[v.Number] = v.Name
	}
	return names
}
