package policysource_test

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/policysource"
	"github.com/keymoat/keymoat/plugin/policy"
)

// How long it takes from the file's replacement to the new rules, at the default interval.
func BenchmarkFromReplacingAFileToItsRules(b *testing.B) {
	path := write(b, filepath.Join(b.TempDir(), "policies.json"), before)
	w := openURL(b, fileURL(path), policysource.WithInterval(time.Second/2))
	for i := 0; b.Loop(); i++ {
		replace(b, path, []string{after, before}[i%2])
		w.loaded(b)
	}
}

// How long it takes to load what a source holds: keys with lists of their own.
func BenchmarkLoad(b *testing.B) {
	engine, err := host.New(b.Context())
	require.NoError(b, err)
	defer engine.Close(b.Context())
	for _, keys := range []int{5_000, 20_000} {
		document := ownLists(keys)
		image, _, err := policy.Compile(document)
		require.NoError(b, err)
		for form, content := range map[string][]byte{"JSON": document, "image": image} {
			for name, evaluator := range map[string]host.Evaluator{"sandbox": engine, "native": host.NewNative()} {
				b.Run(fmt.Sprintf("%dKeys/%s/%s", keys, form, name), func(b *testing.B) {
					b.SetBytes(int64(len(content)))
					for b.Loop() {
						_, err := evaluator.Load(b.Context(), content)
						require.NoError(b, err)
					}
				})
			}
		}
	}
}

func ownLists(keys int) []byte {
	var b bytes.Buffer
	b.WriteString(`{"Accounts":[{"AccountId":"1000000000000001","AccessKeys":[`)
	for i := range keys {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, `{"AccessKeyId":"LTAI5tExample%010d","AccessKeyPolicy":{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["10.%d.%d.0/24","203.0.113.%d","198.51.100.0/24"]}]}}`,
			i, i>>8, i&255, i&255)
	}
	b.WriteString(`]}]}`)
	return b.Bytes()
}
