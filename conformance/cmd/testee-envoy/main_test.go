package main

import (
	"context"
	"maps"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

func TestEnvoyConforms(t *testing.T) {
	envoytest.Require(t)
	b, err := os.ReadFile("not-expressible.json")
	require.NoError(t, err)
	exceptions, err := conformance.ReadExceptions(b)
	require.NoError(t, err)
	dir := t.TempDir()
	wasm := filepath.Join(dir, "keymoat-envoy.wasm")
	require.NoError(t, envoytest.BuildFilter(t.Context(), wasm))
	p, err := start(t.Context(), dir, wasm)
	require.NoError(t, err)
	defer p.Close(t.Context())
	t.Run("every case that can be put", func(t *testing.T) { conformance.Run(t, p, exceptions...) })

	// Whatever a declared case asks the proxy must fail, and for the reason
	// that is declared.
	t.Run("nothing is declared that could be put", func(t *testing.T) {
		cases, err := conformance.Cases()
		require.NoError(t, err)
		unused := maps.Clone(signs)
		for _, x := range exceptions {
			sign, known := signs[x.Reason]
			require.True(t, known, "signs must tell by what this is seen: %s", x.Reason)
			delete(unused, x.Reason)
			for _, c := range cases {
				if declared, _ := path.Match(x.Cases, c.ID); !declared {
					continue
				}
				asked := &counter{proxy: p}
				results, err := conformance.Check(t.Context(), []conformance.Case{c}, conformance.InProcess(asked), nil)
				require.NoError(t, err)
				failures := results[0].Failures
				for _, f := range failures {
					require.NotEmpty(t, sign, "%s: %s", c.ID, f)
					require.Regexp(t, sign, f.Sent+"\n"+f.Got, c.ID)
				}
				if sign != "" && c.ID != "explain-errors" { // which asks what nobody can read
					require.NotEmpty(t, failures, c.ID)
				}
				require.Equal(t, inBetween[c.ID], asked.questions-len(failures), "questions of %s that were answered rightly", c.ID)
			}
		}
		require.Empty(t, unused, "no case is declared for this")
	})
}

// signs has an expression for each reason in not-expressible.json that matches
// the question, or its answer, where it is so. Where it is empty, the protocol's
// own reader of JSON refuses each question before the proxy is asked.
var signs = map[string]string{
	"The filter answers with HTTP responses, which carry no traces.":                                                                      `^\{"Explain":`,
	"The filter does not believe what a request says about its action and protocol, so no configuration passes them on.":                  `"(Action|Protocol)":"[^"]`,
	"The filter refuses a request whose VPC id has not the form of one before it asks the evaluator.":                                     `"InvalidVpcId"`,
	"One of its calls has an action and a protocol, another a VPC id that has not the form of one.":                                       `"Action":"[^"]|"InvalidVpcId"`,
	"The account of a request is part of the configuration, where an id that is none is an error.":                                        `/account_id: `,
	"Its request target is none, and Envoy answers 400 before any filter.":                                                                `the status 400 is of Envoy itself`,
	"The filter takes a policy set out of its configuration as a whole, so that beside a fault of syntax in it no other finding is told.": `"Errors":\[\{"Code":"Syntax",[^{]*\}\]`,
	"A policy set is part of the configuration, and what follows there would complete it.":                                                `"MissingField"`,
	"Envoy reads addresses itself and hands on only what is one; the filter's own reading of them is tested in plugin/envoy.":             "",
	"A request over HTTP is not JSON.": "",
}

// inBetween counts the questions of a declared case that could be put, but
// show something only beside the others: that those do no harm.
var inBetween = map[string]int{"source-wrong-shape": 1, "request-decided-again-after-long-ones": 3}

// counter is a proxy that counts what it is asked.
type counter struct {
	*proxy
	questions int
}

// Load counts a refusal only: what is loaded is the policy set of a case.
func (c *counter) Load(ctx context.Context, policySet []byte) (host.Revision, error) {
	revision, err := c.proxy.Load(ctx, policySet)
	if err != nil {
		c.questions++
	}
	return revision, err
}

func (c *counter) Validate(ctx context.Context, document []byte) (abi.Report, error) {
	c.questions++
	return c.proxy.Validate(ctx, document)
}

func (c *counter) Evaluate(ctx context.Context, r abi.Request) (abi.Decision, error) {
	c.questions++
	return c.proxy.Evaluate(ctx, r)
}

func (c *counter) Authorize(ctx context.Context, r abi.HTTPRequest) (abi.Decision, error) {
	c.questions++
	return c.proxy.Authorize(ctx, r)
}

func (c *counter) Explain(ctx context.Context, r abi.Request) (abi.Trace, error) {
	c.questions++
	return c.proxy.Explain(ctx, r)
}
