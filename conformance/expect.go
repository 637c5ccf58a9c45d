package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

// expectation is the answer that a request must get.
type expectation interface {
	// check returns what is wrong with an answer, nil if it is right. The
	// revision is that of the rules in force.
	check(answer []byte, revision string) error
	// String returns the answer that is expected, for people.
	String() string
}

var (
	errOtherAnswer   = errors.New("another answer is expected")
	errOtherRevision = errors.New("the revision is not that of the compiled image")
)

// decided expects exactly one decision.
type decided struct{ decision json.RawMessage }

func (x decided) String() string { return string(x.decision) }

func (x decided) check(answer []byte, _ string) error {
	if !sameJSON(answer, x.decision) {
		return errOtherAnswer
	}
	return nil
}

// failed expects an error by its code.
type failed struct{ code string }

func (x failed) String() string { return `{"Error":{"Code":"` + x.code + `"}}` }

func (x failed) check(answer []byte, _ string) error {
	_, err := errorAnswer(answer, x.code)
	return err
}

// errorAnswer reads an answer that must be an error of that code.
func errorAnswer(answer []byte, code string) (report json.RawMessage, err error) {
	var got struct {
		Error *struct {
			Code    string
			Message string
			Report  json.RawMessage
		}
	}
	switch err := strictly(answer, &got); {
	case err != nil || got.Error == nil || got.Error.Code != code:
		return nil, errOtherAnswer
	case got.Error.Message == "":
		return nil, errors.New("the error has no message")
	}
	return got.Error.Report, nil
}

// loadedAs expects the revision of a document or image.
type loadedAs struct{ source []byte }

func (x loadedAs) String() string {
	if revision := revisionOf(x.source); revision != "" {
		return `{"Revision":"` + revision + `"}`
	}
	return `{"Revision":…}`
}

func (x loadedAs) check(answer []byte, _ string) error {
	var got struct{ Revision *string }
	if err := strictly(answer, &got); err != nil || got.Revision == nil {
		return errOtherAnswer
	}
	if sum, err := hex.DecodeString(*got.Revision); err != nil || len(sum) != sha256.Size || strings.ToLower(*got.Revision) != *got.Revision {
		return errors.New("a revision is a SHA-256 in lower-case hexadecimal")
	}
	if want := revisionOf(x.source); want != "" && *got.Revision != want {
		return errOtherRevision
	}
	return nil
}

var revisions sync.Map // of documents, since some are loaded many times

// revisionOf returns the SHA-256 of the image that the source is or compiles
// to, and "" if it does not compile. No document says what an image looks
// like, so this one expectation comes from the code.
func revisionOf(source []byte) string {
	if policy.IsImage(source) {
		return hexSum(source)
	}
	if known, ok := revisions.Load(string(source)); ok {
		return known.(string)
	}
	revision := ""
	if image, _, err := policy.Compile(source); err == nil {
		revision = hexSum(image)
	}
	revisions.Store(string(source), revision)
	return revision
}

func hexSum(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// reported expects a report with these findings, in any order.
type reported struct{ Errors, Warnings findingList }

func (x reported) valid() bool { return x.Errors.count() == 0 }

func (x reported) String() string {
	return fmt.Sprintf(`{"Valid":%t,"Errors":%s,"Warnings":%s}`, x.valid(), x.Errors, x.Warnings)
}

func (x reported) check(answer []byte, _ string) error {
	var got struct {
		Valid            *bool
		Errors, Warnings *[]abi.Finding
	}
	if err := strictly(answer, &got); err != nil || got.Valid == nil || got.Errors == nil || got.Warnings == nil {
		return errOtherAnswer
	}
	if *got.Valid != x.valid() {
		return errOtherAnswer
	}
	if err := x.Errors.check(*got.Errors); err != nil {
		return fmt.Errorf("errors: %w", err)
	}
	if err := x.Warnings.check(*got.Warnings); err != nil {
		return fmt.Errorf("warnings: %w", err)
	}
	return nil
}

// refusedWith expects a load that fails with that report.
type refusedWith struct{ reported }

func (x refusedWith) String() string {
	return `{"Error":{"Code":"InvalidDocument","Report":` + x.reported.String() + `}}`
}

func (x refusedWith) check(answer []byte, revision string) error {
	report, err := errorAnswer(answer, abi.StatusInvalidDocument.String())
	switch {
	case err != nil:
		return err
	case report == nil:
		return errors.New("the error has no report")
	}
	return x.reported.check(report, revision)
}

// findingList is what a report must list: all of it, or how many and the last.
type findingList struct {
	All   []finding
	Count int
	Last  *finding
}

type finding struct {
	Code    string
	Pointer *string `json:",omitempty"` // nil: not compared
}

func (l *findingList) UnmarshalJSON(b []byte) error {
	if b[0] == '[' {
		return strictly(b, &l.All)
	}
	type plain findingList
	return strictly(b, (*plain)(l))
}

func (l findingList) count() int {
	if l.Last != nil {
		return l.Count
	}
	return len(l.All)
}

func (l findingList) String() string {
	if l.Last != nil {
		b, _ := json.Marshal(l.Last)
		return fmt.Sprintf("[… %d in all, the last %s]", l.Count, b)
	}
	b, _ := json.Marshal(append([]finding{}, l.All...))
	return string(b)
}

func (l findingList) check(got []abi.Finding) error {
	for _, f := range got {
		if f.Message == "" {
			return fmt.Errorf("%s at %q has no message", f.Code, f.Pointer)
		}
	}
	if len(got) != l.count() {
		return fmt.Errorf("%d are expected, %d are told", l.count(), len(got))
	}
	if l.Last != nil {
		if !l.Last.is(got[len(got)-1]) {
			return errors.New("another last one is expected")
		}
		return nil
	}
	rest := slices.Clone(got)
	for _, want := range l.All {
		at := slices.IndexFunc(rest, want.is)
		if at < 0 {
			return fmt.Errorf("%s is missing", want)
		}
		rest = slices.Delete(rest, at, at+1)
	}
	return nil
}

func (f finding) is(got abi.Finding) bool {
	return f.Code == string(got.Code) && (f.Pointer == nil || *f.Pointer == got.Pointer)
}

func (f finding) String() string {
	if f.Pointer == nil {
		return f.Code
	}
	return fmt.Sprintf("%s at %q", f.Code, *f.Pointer)
}

// traced expects a decision and the steps that led to it.
type traced struct {
	Decision json.RawMessage
	Steps    json.RawMessage
	request  json.RawMessage
}

func (x traced) String() string {
	return fmt.Sprintf(`{"Request":%s,"Decision":%s,"Revision":…,"Steps":%s}`, x.request, x.Decision, x.Steps)
}

func (x traced) check(answer []byte, revision string) error {
	var got struct {
		Request, Decision json.RawMessage
		Revision          string
		Steps             []map[string]json.RawMessage
	}
	if err := strictly(answer, &got); err != nil {
		return errOtherAnswer
	}
	for _, step := range got.Steps {
		var sentence string
		if json.Unmarshal(step["Answer"], &sentence) != nil || sentence == "" {
			return fmt.Errorf("the step %s has no answer", step["Step"])
		}
		delete(step, "Answer")
	}
	steps, _ := json.Marshal(got.Steps)
	switch {
	case !sameJSON(got.Decision, x.Decision):
		return errors.New("another decision is expected")
	case !sameJSON(steps, x.Steps):
		return errors.New("other steps are expected")
	case !sameJSON(got.Request, x.request):
		return errors.New("the trace is of another request")
	case revision != "" && got.Revision != revision:
		return errors.New("the revision is not that of the rules in force")
	}
	return nil
}

func expectDecision(v json.RawMessage) (expectation, error) {
	if code := errorCode(v); code != "" {
		return failed{code}, nil
	}
	decision, err := compact(v)
	return decided{decision}, err
}

func expectTrace(v, request json.RawMessage) (expectation, error) {
	if code := errorCode(v); code != "" {
		return failed{code}, nil
	}
	want := traced{request: request}
	if err := strictly(v, &want); err != nil {
		return nil, err
	}
	var err error
	if want.Decision, err = compact(want.Decision); err != nil {
		return nil, err
	}
	want.Steps, err = compact(want.Steps)
	return want, err
}

func expectLoad(v json.RawMessage, source []byte) (expectation, error) {
	if code := errorCode(v); code != "" {
		return failed{code}, nil
	}
	var want struct{ Loaded bool }
	if err := strictly(v, &want); err != nil || !want.Loaded {
		return nil, fmt.Errorf("a load expects an Error or Loaded, not %s", v)
	}
	return loadedAs{source}, nil
}

func expectReport(v json.RawMessage) (reported, error) {
	var want reported
	return want, strictly(v, &want)
}

// errorCode returns the code of an expected error, "" if none is expected.
func errorCode(v json.RawMessage) string {
	var want struct{ Error string }
	if strictly(v, &want) != nil {
		return ""
	}
	return want.Error
}

// sameJSON compares two values whatever their white space and order of names.
// A value with a name twice equals nothing.
func sameJSON(a, b []byte) bool {
	x, y := jsontext.Value(bytes.Clone(a)), jsontext.Value(bytes.Clone(b))
	return x.Canonicalize() == nil && y.Canonicalize() == nil && bytes.Equal(x, y)
}
