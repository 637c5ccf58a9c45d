package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/conformance/workload"
)

// preparedHost serves the same few requests again and again without work of its own.
type preparedHost struct {
	*fakeHost
	raw     [][]byte
	sources [][]byte
	next    int
}

func (h *preparedHost) requestHeaders() ([]byte, bool) {
	h.next++
	return h.raw[h.next%len(h.raw)], true
}

func (h *preparedHost) property(string) ([]byte, presence) {
	return h.sources[h.next%len(h.sources)], present
}

func (h *preparedHost) add(uint32, int64) {}

// newPreparedHost serves allowed public requests of the workload Hundred, as
// they come from Envoy: signed with ACS3.
func newPreparedHost(t testing.TB) *preparedHost {
	w := workload.Hundred()
	var set strings.Builder
	require.NoError(t, w.WritePolicySet(&set))
	h := &preparedHost{fakeHost: &fakeHost{config: `{"policy_set":` + set.String() + `}`, counters: map[string]int{}}}
	requests, decisions := w.Requests(100 * workload.Cycle)
	for i, r := range requests {
		if r.VPCID != "" || !decisions[i].Allowed() {
			continue
		}
		h.raw = append(h.raw, encodeHeaders([][2]string{
			{":authority", "ecs.example.com"}, {":path", "/"}, {":method", "POST"}, {":scheme", "https"},
			{"user-agent", "AlibabaCloud (linux; amd64) Python/3.11"}, {"accept", "application/json"},
			{"x-acs-action", "DescribeInstances"}, {"x-acs-version", "2014-05-26"}, {"x-acs-date", "2026-11-24T12:00:00Z"},
			{"authorization", "ACS3-HMAC-SHA256 Credential=" + r.AccessKeyID +
				",SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version" +
				",Signature=4d5ee1b6b6a4dc6b3a1fd2c4d5ee1b6b6a4dc6b3a1fd2c4d5ee1b6b6a4dc6b3a"},
			{"x-forwarded-proto", "https"}, {"x-request-id", "2f0f5526-e89f-4576-8402-d8fa53e1f3f8"},
		}))
		address := r.SourceIP.String()
		if r.SourceIP.Is6() {
			address = "[" + address + "]"
		}
		h.sources = append(h.sources, fmt.Append(nil, address, ":51234"))
	}
	return h
}

func newFilter(t testing.TB, h host) *filter {
	f := &filter{host: h}
	f.createContext(1, 0)
	require.True(t, f.configure(1, 0))
	return f
}

func BenchmarkAllowedRequest(b *testing.B) {
	f := newFilter(b, newPreparedHost(b))
	b.ReportAllocs()
	stream := uint32(1)
	for b.Loop() {
		stream++
		f.createContext(stream, 1)
		if !f.requestHeaders(stream) {
			b.Fatal("refused")
		}
	}
}
