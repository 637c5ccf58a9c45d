package conformance

import (
	"bytes"
	"embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"

	"github.com/keymoat/keymoat/plugin/policy"
)

//go:embed cases/*.json
var files embed.FS

// Case is one thing that every host must get right.
type Case struct {
	ID      string // unique, and stable from release to release
	Title   string // what must hold
	Covers  string // the sentence or rule that says so
	Group   string // the name of its file, without .json
	Subject string // what the cases of that file are about

	policySet json.RawMessage // loaded before the requests; null: nothing may be; nil: it does not matter
	requests  []request
}

// request is one line of the protocol and what must come back.
type request struct {
	verb    string // of the protocol
	payload []byte // a JSON value
	bytes   []byte // what a testee makes of the payload: the document, image or request
	answer  expectation
}

// Cases returns all cases, file by file. An error is a fault of the files.
func Cases() ([]Case, error) {
	names, err := fs.Glob(files, "cases/*.json")
	if err != nil {
		return nil, err
	}
	var all []Case
	for _, name := range names {
		content, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		cases, err := readCases(content)
		if err != nil {
			return nil, fmt.Errorf("conformance: %s: %w", name, err)
		}
		group := strings.TrimSuffix(strings.TrimPrefix(name, "cases/"), ".json")
		for i := range cases {
			cases[i].Group = group
		}
		all = append(all, cases...)
	}
	return all, nil
}

// caseFile is a file of cases as cases.schema.json describes it.
type caseFile struct {
	Schema     string `json:"$schema"`
	Subject    string
	PolicySets map[string]json.RawMessage
	Cases      []struct {
		ID        string `json:"Id"`
		Title     string
		Covers    string
		PolicySet json.RawMessage
		Requests  []map[string]json.RawMessage
	}
}

func readCases(content []byte) ([]Case, error) {
	var file caseFile
	if err := strictly(content, &file); err != nil {
		return nil, err
	}
	var cases []Case
	for _, c := range file.Cases {
		one := Case{ID: c.ID, Title: c.Title, Covers: c.Covers, Subject: file.Subject}
		var err error
		if one.policySet, err = file.policySet(c.PolicySet); err != nil {
			return nil, fmt.Errorf("%s: %w", c.ID, err)
		}
		for i, r := range c.Requests {
			asked, err := file.requests(r)
			if err != nil {
				return nil, fmt.Errorf("%s: request %d: %w", c.ID, i, err)
			}
			one.requests = append(one.requests, asked...)
		}
		cases = append(cases, one)
	}
	return cases, nil
}

// policySet returns the set itself where its name stands, without white space.
func (f *caseFile) policySet(v json.RawMessage) (json.RawMessage, error) {
	if len(v) > 0 && v[0] == '"' {
		var name string
		if err := json.Unmarshal(v, &name); err != nil {
			return nil, err
		}
		named, ok := f.PolicySets[name]
		if !ok {
			return nil, fmt.Errorf("no policy set is named %q", name)
		}
		v = named
	}
	if v == nil {
		return nil, nil
	}
	return compact(v)
}

// requests returns the lines that a request of a case stands for: one, or two
// where a document is validated, since it must load exactly if it is valid.
func (f *caseFile) requests(r map[string]json.RawMessage) ([]request, error) {
	expect, ok := r["Expect"]
	if !ok || len(r) != 2 {
		return nil, fmt.Errorf("a request has one verb and Expect")
	}
	var asked request
	for verb, v := range r {
		if verb == "Expect" {
			continue
		}
		var err error
		switch verb {
		case "Load", "Validate":
			v, err = f.policySet(v)
		case "LoadImage":
			v, err = f.image(v)
			verb = "LoadRaw"
		default:
			if strings.HasSuffix(verb, "Raw") {
				v, err = pieces(v)
			} else {
				v, err = compact(v)
			}
		}
		if err != nil {
			return nil, err
		}
		asked.verb, asked.bytes = verb, v
	}
	asked.payload = asked.bytes
	if strings.HasSuffix(asked.verb, "Raw") {
		asked.payload, _ = json.Marshal(asked.bytes) // base64
	}

	var err error
	switch strings.TrimSuffix(asked.verb, "Raw") {
	case "Evaluate", "Authorize":
		asked.answer, err = expectDecision(expect)
	case "Explain":
		asked.answer, err = expectTrace(expect, asked.payload)
	case "Load":
		asked.answer, err = expectLoad(expect, asked.bytes)
	case "Validate":
		return validated(asked, expect)
	default:
		err = fmt.Errorf("unknown verb %s", asked.verb)
	}
	return []request{asked}, err
}

func validated(asked request, expect json.RawMessage) ([]request, error) {
	want, err := expectReport(expect)
	if err != nil {
		return nil, err
	}
	loaded := asked
	loaded.verb = "Load" + strings.TrimPrefix(asked.verb, "Validate")
	asked.answer, loaded.answer = want, refusedWith{want}
	if want.valid() {
		loaded.answer = loadedAs{asked.bytes}
	}
	return []request{asked, loaded}, nil
}

// image compiles a policy set and damages the image as it is told.
func (f *caseFile) image(v json.RawMessage) ([]byte, error) {
	var of struct {
		PolicySet json.RawMessage
		Damage    string
	}
	if err := strictly(v, &of); err != nil {
		return nil, err
	}
	set, err := f.policySet(of.PolicySet)
	if err != nil {
		return nil, err
	}
	image, _, err := policy.Compile(set)
	if err != nil {
		return nil, err
	}
	middle := len(image) / 2
	switch of.Damage {
	case "":
	case "Truncated":
		image = image[:middle]
	case "BitFlipped":
		image[middle] ^= 1
	case "Extended":
		image = append(image, 0)
	case "Zeroed":
		clear(image[middle:])
	case "OtherVersion":
		image[8]++ // IMAGE.md: the version's lowest byte, which no checksum covers
	default:
		return nil, fmt.Errorf("unknown damage %q", of.Damage)
	}
	return image, nil
}

// pieces puts bytes together that a case spells as texts and base64.
func pieces(v json.RawMessage) ([]byte, error) {
	var all []struct {
		Text   *string
		Base64 string
		Times  int
	}
	if err := strictly(v, &all); err != nil {
		return nil, err
	}
	whole := []byte{}
	for _, p := range all {
		piece, err := base64.StdEncoding.DecodeString(p.Base64)
		if err != nil {
			return nil, err
		}
		if p.Text != nil {
			piece = []byte(*p.Text)
		}
		whole = append(whole, bytes.Repeat(piece, max(p.Times, 1))...)
	}
	return whole, nil
}

func compact(v json.RawMessage) (json.RawMessage, error) {
	var b bytes.Buffer
	err := json.Compact(&b, v)
	return b.Bytes(), err
}

// strictly reads one JSON value without fields that v does not have.
func strictly(b []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if d.More() {
		return fmt.Errorf("something follows the value")
	}
	return nil
}
