package testee_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/keymoat/keymoat/conformance/testee"
	"github.com/keymoat/keymoat/host"
)

// Whatever is sent, every line that is not blank gets one line of JSON.
func FuzzServe(f *testing.F) {
	for _, seed := range []string{
		`{"Load":{"Accounts":[]}}`,
		`{"LoadRaw":"eyJBY2NvdW50cyI6W119"}` + "\n" + `{"Evaluate":{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"::1"}}`,
		`{"Validate":{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":"10.0.0.5/8 ::1"}]}}`,
		`{"ValidateRaw":"AA=="}`,
		`{"Explain":{}}` + "\n\n" + `{"Authorize":{"Target":"/?AccessKeyId=a","SourceIp":"1.2.3.4","Headers":[{"Name":"a","Value":"b"}]}}`,
		`{"Judge":null}`,
		"\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, requests []byte) {
		var out bytes.Buffer
		if err := testee.Serve(t.Context(), host.NewNative(), bytes.NewReader(requests), &out); err != nil {
			t.Fatal(err)
		}
		want := 0
		for _, line := range bytes.Split(requests, []byte("\n")) {
			if len(bytes.TrimSpace(line)) > 0 {
				want++
			}
		}
		answers := bytes.SplitAfter(out.Bytes(), []byte("\n"))
		if got := len(answers) - 1; got != want {
			t.Fatalf("%d answers to %d requests", got, want)
		}
		for _, answer := range answers[:want] {
			if !json.Valid(answer) {
				t.Fatalf("not JSON: %q", answer)
			}
		}
	})
}
