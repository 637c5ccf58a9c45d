package strictjson

import (
	"bytes"
	"encoding/json"
	"strconv"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// The reader walks a document by itself and leaves the syntax to jsontext:
// the two must agree on where values end and what the pointers to them are.
func FuzzTheReaderWalksAsJsontextDoes(f *testing.F) {
	for _, document := range []string{
		`{"a":[1,"}",{"b~/":null}],"a\"\\":{"":[[]]}} `, "12", `"\\"`, `[true,-1.5e+3,"]"]`, `{"a":{},"b":[],"c":"\ud83d\ude00"}`,
		"", " ", "{", `{"a":1`, `{"a":12x}`, `{"a":tru`, `{"a":}`, `[1,]`, `{} x`, `"a`, `["\x"]`, "[\"\xff\"]", "[1}",
	} {
		f.Add([]byte(document))
	}
	f.Fuzz(func(t *testing.T, document []byte) {
		r := New(document, abi.MaxDepth)
		got := walkEverything(r, r.Peek())
		r.End()
		dec := jsontext.NewDecoder(bytes.NewReader(document), jsontext.AllowDuplicateNames(true))
		_, first := dec.ReadValue()
		_, second := dec.ReadValue()
		if first != nil || second == nil || second.Error() != "EOF" {
			require.Len(t, r.Errors.List(), 1, "%q", document)
			require.Equal(t, abi.CodeSyntax, r.Errors.List()[0].Code)
			return
		}
		require.Empty(t, r.Errors.List(), "%q", document)
		require.Equal(t, wantWalk(t, document), got, "%q", document)
	})
}

type visit struct{ pointer, value string }

// walkEverything reads a value by way of everything in it.
func walkEverything(r *Reader, kind byte) (all []visit) {
	switch kind {
	case '{', '[':
		r.at++
		r.path = append(r.path, "")
		last := len(r.path) - 1
		for i := 0; ; i++ {
			c := r.Peek()
			if c == 0 || r.failed {
				return all
			}
			if c == '}' || c == ']' {
				r.at++
				r.path = r.path[:last]
				return all
			}
			r.path[last] = strconv.Itoa(i)
			if kind == '{' {
				r.path[last] = unquote(r.Value())
			}
			all = append(all, walkEverything(r, r.Peek())...)
		}
	case 0:
		return all
	}
	value := r.Value()
	if r.failed {
		return all
	}
	return append(all, visit{r.Here(), string(value)})
}

func wantWalk(t *testing.T, document []byte) (all []visit) {
	dec := jsontext.NewDecoder(bytes.NewReader(document), jsontext.AllowDuplicateNames(true))
	for {
		kind := dec.PeekKind()
		name := false
		if parent, n := dec.StackIndex(dec.StackDepth()); parent == '{' && n%2 == 0 {
			name = true
		}
		switch kind {
		case '{', '[', '}', ']':
			_, err := dec.ReadToken()
			require.NoError(t, err)
		default:
			value, err := dec.ReadValue()
			if err != nil {
				return all
			}
			require.True(t, json.Valid(value))
			if !name {
				all = append(all, visit{string(dec.StackPointer()), string(value)})
			}
		}
	}
}
