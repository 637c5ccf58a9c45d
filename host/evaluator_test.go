package host

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
)

// forEach runs a test on each evaluator of this package.
func forEach(t *testing.T, test func(t *testing.T, e Evaluator)) {
	for name, open := range evaluators {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// every calls each method that judges. Answers are zero where there is none.
func every(e Evaluator, r abi.Request) map[string]func() (any, error) {
	ctx := context.Background()
	return map[string]func() (any, error){
		"Evaluate": func() (any, error) { return e.Evaluate(ctx, r) },
		"EvaluateBatch": func() (any, error) {
			out := []abi.Decision{matched, matched}
			err := e.EvaluateBatch(ctx, []abi.Request{r, r}, out)
			return [2]abi.Decision(out), err
		},
		"Explain": func() (any, error) { return e.Explain(ctx, r) },
		"Authorize": func() (any, error) {
			return e.Authorize(ctx, abi.HTTPRequest{Target: "/?AccessKeyId=" + r.AccessKeyID, SourceIP: r.SourceIP})
		},
	}
}

func TestWithNothingLoadedEveryCallIsAnError(t *testing.T) {
	forEach(t, func(t *testing.T, e Evaluator) {
		for _, r := range []abi.Request{request("LTAI5tExample0000000001"), request("STS.Example"), {}} {
			for name, call := range every(e, r) {
				answer, err := call()
				require.ErrorIs(t, err, abi.StatusNotLoaded, name)
				require.Zero(t, answer, name)
			}
		}
		require.ErrorIs(t, e.EvaluateBatch(t.Context(), nil, nil), abi.StatusNotLoaded)
	})
}

func TestAfterCloseEveryCallIsAnError(t *testing.T) {
	forEach(t, func(t *testing.T, e Evaluator) {
		ctx := t.Context()
		_, err := e.Load(ctx, []byte(onlyAddress))
		require.NoError(t, err)
		require.NoError(t, e.Close(ctx))
		require.NoError(t, e.Close(ctx), "closing twice is no error")
		for name, call := range every(e, request("LTAI5tExample0000000001")) {
			answer, err := call()
			require.ErrorIs(t, err, ErrClosed, name)
			require.Zero(t, answer, name)
		}
		_, err = e.Load(ctx, []byte(onlyAddress))
		require.ErrorIs(t, err, ErrClosed)
		_, err = e.Validate(ctx, []byte(onlyAddress))
		require.ErrorIs(t, err, ErrClosed)
		require.Empty(t, revisionOf(e))
	})
}

func TestAnEvaluatorThatNeverLoadedCanBeClosed(t *testing.T) {
	forEach(t, func(t *testing.T, e Evaluator) {
		require.NoError(t, e.Close(t.Context()))
		_, err := e.Evaluate(t.Context(), request("LTAI5tExample0000000001"))
		require.ErrorIs(t, err, ErrClosed)
	})
}

func revisionOf(e Evaluator) Revision { return e.(interface{ Revision() Revision }).Revision() }

func TestTheRevisionIsTheHashOfTheImage(t *testing.T) {
	image := imageOf(t, onlyAddress)
	sum := sha256.Sum256(image)
	want := Revision(hex.EncodeToString(sum[:]))
	forEach(t, func(t *testing.T, e Evaluator) {
		require.Empty(t, revisionOf(e))
		for _, policySet := range [][]byte{[]byte(onlyAddress), image} {
			revision, err := e.Load(t.Context(), policySet)
			require.NoError(t, err)
			require.Equal(t, want, revision)
			require.Equal(t, want, revisionOf(e))
		}
	})
}

func TestWhatWasLoadedMayBeOverwritten(t *testing.T) {
	for name, policySet := range map[string][]byte{"image": imageOf(t, onlyAddress), "document": []byte(onlyAddress)} {
		t.Run(name, func(t *testing.T) {
			forEach(t, func(t *testing.T, e Evaluator) {
				mine := bytes.Clone(policySet)
				_, err := e.Load(t.Context(), mine)
				require.NoError(t, err)
				clear(mine)
				d, err := e.Evaluate(t.Context(), request("LTAI5tExample0000000001"))
				require.NoError(t, err)
				require.Equal(t, matched, d)
			})
		})
	}
}

func TestWhatCannotBeLoadedLeavesTheRules(t *testing.T) {
	image := imageOf(t, alternating[0])
	changed := func(at int) []byte {
		b := bytes.Clone(image)
		b[at] ^= 1
		return b
	}
	tests := []struct {
		name      string
		policySet []byte
		status    abi.Status
		codes     []abi.FindingCode // of the report, for a document
	}{
		{"nothing", nil, abi.StatusInvalidDocument, []abi.FindingCode{abi.CodeSyntax}},
		{"no JSON", []byte("Accounts: []"), abi.StatusInvalidDocument, []abi.FindingCode{abi.CodeSyntax}},
		{"a document cut off", []byte(onlyAddress[:40]), abi.StatusInvalidDocument, []abi.FindingCode{abi.CodeSyntax}},
		{"null", []byte("null"), abi.StatusInvalidDocument, []abi.FindingCode{abi.CodeWrongType}},
		{"a breach of two rules", []byte(`{"Accounts":[{"AccountId":"a","AccessKeyPolicy":{"Status":"On","Statements":[{"Type":"ClassicWhiteList","IPList":["localhost"]}]}}]}`),
			abi.StatusInvalidDocument, []abi.FindingCode{abi.CodeInvalidStatus, abi.CodeInvalidEntry}},
		{"an image cut off", image[:len(image)-1], abi.StatusInvalidImage, nil},
		{"the beginning of an image", image[:8], abi.StatusInvalidImage, nil},
		{"an image and something behind it", append(bytes.Clone(image), 0), abi.StatusInvalidImage, nil},
		{"an image of another version", changed(8), abi.StatusInvalidImage, nil},
		{"an image with a bit changed", changed(len(image) - 20), abi.StatusInvalidImage, nil},
		{"an image with another checksum", changed(16), abi.StatusInvalidImage, nil},
	}
	forEach(t, func(t *testing.T, e Evaluator) {
		revision, err := e.Load(t.Context(), []byte(onlyAddress))
		require.NoError(t, err)
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				refused, err := e.Load(t.Context(), test.policySet)
				require.ErrorIs(t, err, test.status)
				require.Empty(t, refused)
				var detail *abi.Error
				require.ErrorAs(t, err, &detail)
				require.Equal(t, test.status, detail.Status)
				require.NotEmpty(t, detail.Message)
				require.Equal(t, test.status == abi.StatusInvalidDocument, detail.Report != nil)
				if detail.Report != nil {
					var codes []abi.FindingCode
					for _, finding := range detail.Report.Errors {
						codes = append(codes, finding.Code)
						require.NotEmpty(t, finding.Message)
					}
					require.Equal(t, test.codes, codes)
				}

				require.Equal(t, revision, revisionOf(e))
				for name, call := range every(e, request("LTAI5tExample0000000001")) {
					answer, err := call()
					require.NoError(t, err, name)
					if d, ok := answer.(abi.Decision); ok {
						require.Equal(t, matched, d, name)
					}
				}
			})
		}
	})
}

// The first instance's guest is asked directly: a fresh one for every length,
// as Load starts them, would only take longer.
func TestEveryTruncationOfAnImageIsRefused(t *testing.T) {
	image := imageOf(t, onlyAddress)
	native, guest := NewNative(), newEngine(t, WithInstances(1)).workshop
	for n := range image {
		_, err := native.Load(t.Context(), image[:n])
		require.Error(t, err, n)
		status, _, err := guest.document(t.Context(), abi.ExportLoad, image[:n])
		require.NoError(t, err, n)
		require.Contains(t, []abi.Status{abi.StatusInvalidImage, abi.StatusInvalidDocument}, status, n)
	}
	status, _, err := guest.document(t.Context(), abi.ExportLoad, image)
	require.NoError(t, err)
	require.Equal(t, abi.StatusOK, status)
}

func TestValidateReportsAndLoadsNothing(t *testing.T) {
	forEach(t, func(t *testing.T, e Evaluator) {
		report, err := e.Validate(t.Context(), []byte(`{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["10.0.0.5/8"]}]}`))
		require.NoError(t, err)
		require.True(t, report.Valid)
		require.Empty(t, report.Errors)
		require.Equal(t, abi.CodeHostBits, report.Warnings[0].Code)
		require.Equal(t, "/Statements/0/IPList/0", report.Warnings[0].Pointer)

		report, err = e.Validate(t.Context(), []byte(`{"Status":"Active"}`))
		require.NoError(t, err, "that a document is not valid is an answer, not an error")
		require.False(t, report.Valid)
		require.Equal(t, abi.CodeMissingField, report.Errors[0].Code)

		_, err = e.Evaluate(t.Context(), request("LTAI5tExample0000000001"))
		require.ErrorIs(t, err, abi.StatusNotLoaded)
	})
}

func TestABatchIsAnsweredRequestByRequest(t *testing.T) {
	const size = 2*batchSize + 3
	forEach(t, func(t *testing.T, e Evaluator) {
		_, err := e.Load(t.Context(), []byte(alternating[1]))
		require.NoError(t, err)
		reqs, out := make([]abi.Request, size), make([]abi.Decision, size)
		for i := range reqs {
			reqs[i] = alternatingRequests[i%3]
			out[i] = matched // what stands there before does not count
		}
		require.NoError(t, e.EvaluateBatch(t.Context(), reqs, out))
		for i, d := range out {
			require.Equal(t, alternatingAnswers[1][i%3], d, i)
		}

		// Errors are named, whatever their place, and touch no other request.
		bad := map[int]abi.Status{0: abi.StatusInvalidAccessKeyID, 5: abi.StatusInvalidSourceIP, batchSize - 1: abi.StatusInvalidRequest,
			batchSize: abi.StatusInvalidAccessKeyID, batchSize + 7: abi.StatusInvalidAccessKeyID, size - 1: abi.StatusInvalidSourceIP}
		reqs[0].AccessKeyID = ""
		reqs[5].SourceIP = netip.Addr{}
		reqs[batchSize-1].VPCID = strings.Repeat("v", 256)
		reqs[batchSize].AccessKeyID = strings.Repeat("k", 1<<20)
		reqs[batchSize+7].AccessKeyID = "LTAI/5tExample"
		reqs[size-1].SourceIP = netip.MustParseAddr("fe80::1%eth0")
		err = e.EvaluateBatch(t.Context(), reqs, out)
		var batch *abi.BatchError
		require.ErrorAs(t, err, &batch)
		require.ErrorIs(t, err, abi.StatusInvalidAccessKeyID, "the first one's status")
		require.Len(t, batch.Items, len(bad))
		last := -1
		for _, item := range batch.Items {
			require.Equal(t, bad[item.Index], item.Status, item.Index)
			require.Greater(t, item.Index, last)
			last = item.Index
		}
		for i, d := range out {
			if bad[i] != abi.StatusOK {
				require.Zero(t, d, i)
			} else {
				require.Equal(t, alternatingAnswers[1][i%3], d, i)
			}
		}

		require.NoError(t, e.EvaluateBatch(t.Context(), nil, nil))
	})
}

func TestABatchOfNothingButErrorsIsNotSent(t *testing.T) {
	forEach(t, func(t *testing.T, e Evaluator) {
		_, err := e.Load(t.Context(), []byte(onlyAddress))
		require.NoError(t, err)
		out := []abi.Decision{matched, matched}
		var batch *abi.BatchError
		require.ErrorAs(t, e.EvaluateBatch(t.Context(), make([]abi.Request, 2), out), &batch)
		require.Equal(t, []abi.BatchItem{{Index: 0, Status: abi.StatusInvalidAccessKeyID}, {Index: 1, Status: abi.StatusInvalidAccessKeyID}}, batch.Items)
		require.Equal(t, make([]abi.Decision, 2), out)
	})
}

func TestABatchNeedsRoomForItsAnswers(t *testing.T) {
	forEach(t, func(t *testing.T, e Evaluator) {
		_, err := e.Load(t.Context(), []byte(onlyAddress))
		require.NoError(t, err)
		for _, room := range []int{0, 1, 3} {
			out := []abi.Decision{matched, matched, matched}[:room]
			err := e.EvaluateBatch(t.Context(), make([]abi.Request, 2), out)
			require.ErrorIs(t, err, abi.StatusInvalidArgument)
			require.Equal(t, make([]abi.Decision, room), out, "no decision of an earlier batch stays")
		}
	})
}

func TestAnHTTPRequestOfAnySizeIsAnswered(t *testing.T) {
	key := abi.HTTPHeader{Name: "Authorization", Value: "acs LTAI5tExample0000000001:c2ln"}
	forEach(t, func(t *testing.T, e Evaluator) {
		_, err := e.Load(t.Context(), []byte(onlyAddress))
		require.NoError(t, err)
		authorize := func(size int, headers ...abi.HTTPHeader) (abi.Decision, error) {
			return e.Authorize(t.Context(), abi.HTTPRequest{Target: "/" + strings.Repeat("x", size), Headers: headers,
				SourceIP: netip.MustParseAddr("203.0.113.1")})
		}
		for _, size := range []int{0, 1, 1 << 10, 63 << 10, 64 << 10, 65 << 10, 1 << 20, 15 << 20, 5} {
			d, err := authorize(size, key)
			require.NoError(t, err, size)
			require.Equal(t, matched, d, size)
		}
		many := make([]abi.HTTPHeader, 100_000)
		for i := range many {
			many[i] = abi.HTTPHeader{Name: "X-Filler"}
		}
		d, err := authorize(0, append(many, key)...)
		require.NoError(t, err)
		require.Equal(t, matched, d)

		d, err = authorize(16<<20, key)
		require.ErrorIs(t, err, abi.StatusTooLarge)
		require.Zero(t, d)
	})
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	for _, n := range []int{0, -1} {
		_, err := New(t.Context(), WithInstances(n))
		require.ErrorIs(t, err, abi.StatusInvalidArgument)
		require.ErrorContains(t, err, "at least one instance")
	}
	_, err := New(t.Context(), WithMemoryLimit(0), WithCompilationCache(compilationCache()))
	var guest *GuestError
	require.ErrorAs(t, err, &guest)
	require.ErrorContains(t, err, "it needs more memory than WithMemoryLimit gives it, 0 bytes")
}

func TestASetThatDoesNotFitIsRefused(t *testing.T) {
	const limit = 4 << 20 // of which three are taken before anything is loaded
	e := newEngine(t, WithMemoryLimit(limit), WithInstances(2))
	revision, err := e.Load(t.Context(), []byte(onlyAddress))
	require.NoError(t, err)

	listing := func(keys int) string {
		var b strings.Builder
		b.WriteString(`{"Accounts":[{"AccountId":"1000000000000001","AccessKeys":[{"AccessKeyId":"LTAI5tExample"}`)
		for n := range keys {
			fmt.Fprintf(&b, `,{"AccessKeyId":"LTAI5tExample%010d"}`, n+1)
		}
		b.WriteString("]}]}")
		return b.String()
	}
	tests := []struct {
		name      string
		policySet []byte
		advice    string
	}{
		{"a document that needs too much to compile", []byte(listing(10_000)), "compile the policy set to an image first"},
		{"a document larger than an instance", []byte(listing(200_000)), "compile the policy set to an image first"},
		{"an image larger than what is left", imageOf(t, listing(50_000)), "raise the limit (WithMemoryLimit)"},
		{"an image larger than an instance", imageOf(t, listing(200_000)), "raise the limit (WithMemoryLimit)"},
	}
	require.Less(t, len(tests[0].policySet), limit)
	require.Less(t, len(tests[2].policySet), limit)
	require.Greater(t, len(tests[3].policySet), limit)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := e.Load(t.Context(), test.policySet)
			require.ErrorIs(t, err, abi.StatusTooLarge)
			require.ErrorContains(t, err, "bytes are too many for an instance of 4194304 bytes")
			require.ErrorContains(t, err, test.advice)
			require.NotContains(t, err.Error(), "\n", "no stack of the guest")

			require.Equal(t, revision, e.Revision())
			d, err := e.Evaluate(t.Context(), request("LTAI5tExample0000000001"))
			require.NoError(t, err)
			require.Equal(t, matched, d)
		})
	}
	_, err = e.Load(t.Context(), imageOf(t, listing(10_000)))
	require.NoError(t, err, "compiled elsewhere, what did not fit as JSON does")
	_, err = e.Validate(t.Context(), []byte(listing(200_000)))
	require.ErrorIs(t, err, abi.StatusTooLarge)
}

func TestLoadsAreLoggedAndRequestsAreNot(t *testing.T) {
	var log bytes.Buffer
	e := newEngine(t, WithLogger(slog.New(slog.NewJSONHandler(&log, nil))))
	revision, err := e.Load(t.Context(), []byte(onlyAddress))
	require.NoError(t, err)
	require.Contains(t, log.String(), `"msg":"keymoat: policy set loaded","revision":"`+string(revision)+`"`)

	log.Reset()
	for _, call := range every(e, request("LTAI5tExample0000000001")) {
		_, err := call()
		require.NoError(t, err)
	}
	_, err = e.Load(t.Context(), nil)
	require.Error(t, err)
	require.Empty(t, log.String())

	_, err = newEngine(t, WithLogger(nil)).Load(t.Context(), []byte(onlyAddress))
	require.NoError(t, err, "no logger is no reason to panic")
}

func TestErrorsSayWhatTheyAreAbout(t *testing.T) {
	cause := errors.New("the cause")
	require.EqualError(t, &GuestError{Problem: "it is broken"}, "keymoat: unusable guest: it is broken")
	require.EqualError(t, &GuestError{Problem: "it is broken", Err: cause}, "keymoat: unusable guest: it is broken: the cause")
	require.ErrorIs(t, &GuestError{Err: cause}, cause)
	trap := error(&TrapError{Export: "keymoat_load", Err: cause})
	require.EqualError(t, trap, "keymoat: the guest failed in keymoat_load: the cause")
	require.ErrorIs(t, trap, cause)
	require.ErrorIs(t, trap, abi.StatusInternal)
}
