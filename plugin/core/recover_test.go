//go:build !wasip1

package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/policy"
)

// These tests make the guest panic with what cannot be: on WebAssembly, where
// reads of images are not checked, it would be a trap.

// A guest without memory of its own panics wherever it looks, as would any
// fault that is not known yet.
func TestAPanicBecomesAStatus(t *testing.T) {
	var g *guest
	for name, call := range map[string]func() abi.Status{
		"load":          func() abi.Status { return g.call((*guest).load, nil) },
		"compile":       func() abi.Status { return g.call((*guest).compile, nil) },
		"validate":      func() abi.Status { return g.call((*guest).validate, nil) },
		"evaluateText":  func() abi.Status { return abi.Word(g.evaluateText(1)).Status() },
		"evaluateBatch": func() abi.Status { return g.batch(nil, 0) },
		"evaluateJSON":  func() abi.Status { return g.call((*guest).evaluateJSON, nil) },
		"explain":       func() abi.Status { return g.call((*guest).explain, nil) },
		"authorize":     func() abi.Status { return abi.Word(g.authorize(nil)).Status() },
		"revision":      func() abi.Status { return g.call((*guest).revision, nil) },
		"info":          func() abi.Status { return g.call((*guest).info, nil) },
	} {
		require.NotPanics(t, func() { require.Equal(t, abi.StatusInternal, call(), name) }, name)
	}
}

// An evaluator without an image panics in the middle of a call.
func TestAGuestThatRecoveredGoesOn(t *testing.T) {
	g := loaded(t)
	sound := g.evaluator
	g.evaluator = &policy.Evaluator{}
	document := []byte(`{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}`)
	http, _ := abi.AppendHTTPRequest(nil, &abi.HTTPRequest{Target: "/?AccessKeyId=" + key, SourceIP: netip.MustParseAddr("203.0.113.1")})
	require.Equal(t, abi.StatusInternal, g.batch(encoded(t, request("203.0.113.1")), 1))
	require.Equal(t, abi.StatusInternal, g.call((*guest).evaluateJSON, document))
	require.Equal(t, abi.StatusInternal, g.call((*guest).explain, document))
	require.Equal(t, abi.ErrorWord(abi.StatusInternal), abi.Word(g.authorize(http)))
	require.Equal(t, abi.StatusInternal, g.call((*guest).info, nil))

	g.evaluator = sound
	require.Equal(t, allowed, g.evaluateBytes(encoded(t, request("203.0.113.1"))))
	require.Equal(t, abi.StatusOK, g.call((*guest).load, []byte(reversed)))
	require.Equal(t, denied, g.evaluateBytes(encoded(t, request("203.0.113.1"))))
}
