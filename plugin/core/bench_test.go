package main

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

func BenchmarkEvaluate100FullKeys(b *testing.B) {
	var document bytes.Buffer
	w := workload.Hundred()
	require.NoError(b, w.WritePolicySet(&document))
	var g guest
	require.Equal(b, abi.StatusOK, g.load(document.Bytes()))
	requests, _ := w.Requests(4000)
	lengths := make([]uint32, len(requests))
	encoded := make([][]byte, len(requests))
	for i := range requests {
		buf := make([]byte, abi.RequestBufferSize)
		n, s := abi.PutRequest(buf, &requests[i])
		require.Equal(b, abi.StatusOK, s)
		lengths[i], encoded[i] = uint32(n), buf[:n]
	}
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		if n == len(requests) {
			n = 0
		}
		copy(g.request[:], encoded[n])
		if g.evaluate(lengths[n])&0xff != 0 {
			b.Fatal(n)
		}
		n++
	}
}
