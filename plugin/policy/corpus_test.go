package policy

import (
	"encoding/base64"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// corpus is what the conformance cases hold, whatever they expect of it: the
// seeds of the fuzz targets, and documents that tests want many of.
type corpus struct {
	documents, requests, httpRequests [][]byte
}

func readCorpus(t testing.TB) corpus {
	t.Helper()
	files, err := filepath.Glob("../../conformance/cases/*.json")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	var documents, requests, httpRequests = map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, name := range files {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		var file struct {
			PolicySets map[string]json.RawMessage
			Cases      []struct {
				PolicySet json.RawMessage
				Requests  []map[string]json.RawMessage
			}
		}
		require.NoError(t, json.Unmarshal(content, &file), name)
		for _, set := range file.PolicySets {
			documents[string(set)] = true
		}
		for _, c := range file.Cases {
			if len(c.PolicySet) > 0 && c.PolicySet[0] == '{' {
				documents[string(c.PolicySet)] = true
			}
			for _, request := range c.Requests {
				for verb, payload := range request {
					kind, raw := strings.CutSuffix(verb, "Raw")
					if raw {
						payload = joinPieces(t, payload)
					}
					switch kind {
					case "Load", "Validate":
						documents[string(payload)] = true
					case "Evaluate", "Explain":
						requests[string(payload)] = true
					case "Authorize":
						httpRequests[string(payload)] = true
					}
				}
			}
		}
	}
	c := corpus{sorted(documents), sorted(requests), sorted(httpRequests)}
	// Should the cases be laid out otherwise one day, this must not go unnoticed.
	require.Greater(t, len(c.documents), 100)
	require.Greater(t, len(c.requests), 100)
	require.Greater(t, len(c.httpRequests), 100)
	return c
}

// joinPieces puts together bytes that a case spells in pieces.
func joinPieces(t testing.TB, payload json.RawMessage) (whole []byte) {
	t.Helper()
	var pieces []struct {
		Text, Base64 string
		Times        int
	}
	require.NoError(t, json.Unmarshal(payload, &pieces))
	for _, p := range pieces {
		piece, err := base64.StdEncoding.DecodeString(p.Base64)
		require.NoError(t, err)
		piece = append(piece, p.Text...)
		for range max(p.Times, 1) {
			whole = append(whole, piece...)
		}
	}
	return whole
}

func sorted(all map[string]bool) (list [][]byte) {
	for _, text := range slices.Sorted(maps.Keys(all)) {
		list = append(list, []byte(text))
	}
	return list
}

// images are those of the documents that are valid.
func (c corpus) images() (all [][]byte) {
	for _, document := range c.documents {
		if image, _, err := Compile(document); err == nil {
			all = append(all, image)
		}
	}
	return all
}

// parsed are those of the requests that can be read.
func (c corpus) parsed() (all []abi.Request) {
	for _, request := range c.requests {
		if r, err := ParseRequest(request); err == nil {
			all = append(all, r)
		}
	}
	return all
}
