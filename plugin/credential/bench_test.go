package credential_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

func TestNothingIsAllocatedUnlessAnIdIsEncoded(t *testing.T) {
	allocations := func(target string, headers []abi.HTTPHeader) (n, finder float64) {
		n = testing.AllocsPerRun(100, func() { credential.Find(target, headers) })
		finder = testing.AllocsPerRun(100, func() {
			var f credential.Finder
			for i := range headers {
				f.Header(headers[i].Name, headers[i].Value)
			}
			f.Target(target)
			f.Result()
		})
		return n, finder
	}
	for _, s := range samples {
		n, finder := allocations(s.parse())
		require.Zero(t, n, s.name)
		require.Zero(t, finder, s.name)
	}
	for _, c := range slices.Concat(attacks, disguises) {
		n, _ := allocations(expand(c.target), []abi.HTTPHeader{{Name: "Authorization", Value: "OSS " + closed + ":c2ln"}, {Name: "x-ots-accesskeyid", Value: "a b"}})
		require.Zero(t, n, c.name)
	}
	n, _ := allocations("/?AccessKeyId=%4cTAI5tExample0000000001", nil)
	require.Equal(t, 1.0, n, "an encoded id needs a string of its own")
}

func BenchmarkFind(b *testing.B) {
	none := sample{name: "Bearer", head: "GET /api/v1/items?page=2&limit=50 HTTP/1.1\nHost: example.com\nAuthorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"}
	for _, s := range append(samples[:len(samples):len(samples)], none) {
		b.Run(s.name, func(b *testing.B) {
			target, headers := s.parse()
			want, _ := credential.Find(target, headers)
			b.ReportAllocs()
			b.SetBytes(int64(len(s.head)))
			for b.Loop() {
				claim, _ := credential.Find(target, headers)
				if claim != want {
					b.Fatal("another claim")
				}
			}
		})
	}
}
