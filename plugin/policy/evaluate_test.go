package policy

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/conformance/workload"
)

func FuzzTheImageAnswersAsTheNaiveEvaluator(f *testing.F) {
	for seed := range uint64(256) {
		f.Add(seed, seed*7)
	}
	f.Fuzz(func(t *testing.T, seed, seed2 uint64) {
		g := newGenerator(seed, seed2)
		document := []byte(g.set())
		e, err := Load(document)
		require.NoError(t, err, "%s", document)
		n := newNaive(document)
		require.NotNil(t, n)
		for i := range 100 {
			r := g.request()
			want, wantStatus := n.evaluate(r)
			word := e.Evaluate(&r)
			got, status := word.Decision(r.SourceIP)
			if got != want || status != wantStatus { // first, since require is slow
				require.Equal(t, wantStatus, status, "%+v in %s", r, document)
				require.Equal(t, want, got, "%+v in %s", r, document)
			}
			requireEncodedAgrees(t, e, r, word)
			if i%4 == 0 {
				requireTraceAgrees(t, e, r, got, status)
			}
		}
	})
}

// requireEncodedAgrees checks that a request in its binary form, as a host
// sends it, gets the answer that it gets by itself.
func requireEncodedAgrees(t *testing.T, e *Evaluator, r abi.Request, want abi.Word) {
	t.Helper()
	b, status := abi.AppendRequest(nil, &r)
	if status != abi.StatusOK {
		require.Equal(t, abi.ErrorWord(status), want, "%+v", r)
		return
	}
	if got, n := e.EvaluateEncoded(append(b, "the next request"...)); got != want || n != len(b) {
		t.Fatalf("%+v: %x, not %x; %d bytes, not %d", r, got, want, n, len(b))
	}
}

// Each way of giving the source address leads to the same answer.
func TestAnEncodedAddressIsReadAlikeInEachForm(t *testing.T) {
	e, err := Load([]byte(smallSet))
	require.NoError(t, err)
	encode := func(kind byte, address []byte, text string) []byte {
		b := make([]byte, abi.RequestHeaderSize)
		copy(b, []byte{kind, byte(len(text)), 5})
		copy(b[8:], address)
		return append(append(b, "short"...), text...)
	}
	for _, source := range []string{"203.0.113.1", "203.0.113.2", "2001:db8::7", "::1"} {
		ip := netip.MustParseAddr(source)
		want := e.Evaluate(&abi.Request{AccessKeyID: "short", SourceIP: ip})
		forms := [][]byte{encode(abi.SourceText, nil, source)}
		mapped := ip.As16()
		forms = append(forms, encode(abi.SourceIPv6, mapped[:], ""))
		if ip.Is4() {
			forms = append(forms, encode(abi.SourceIPv4, ip.AsSlice(), ""), encode(abi.SourceText, nil, "::ffff:"+source),
				encode(abi.SourceIPv4, append(ip.AsSlice(), "not looked at"[:12]...), ""))
		}
		for _, form := range forms {
			got, n := e.EvaluateEncoded(form)
			require.Equal(t, want, got, "%s as % x", source, form)
			require.Equal(t, len(form), n)
		}
	}
	for _, form := range [][]byte{encode(abi.SourceNone, nil, ""), encode(abi.SourceText, nil, ""), encode(abi.SourceText, nil, "203.0.113.1:80")} {
		got, n := e.EvaluateEncoded(form)
		require.Equal(t, abi.ErrorWord(abi.StatusInvalidSourceIP), got)
		require.Equal(t, len(form), n)
	}
	unknown := encode(5, nil, "")
	got, n := e.EvaluateEncoded(unknown)
	require.Equal(t, abi.ErrorWord(abi.StatusInvalidRequest), got)
	require.Equal(t, len(unknown), n, "where the next one begins is known")
	for cut := range unknown {
		got, n := e.EvaluateEncoded(unknown[:cut])
		require.Equal(t, abi.ErrorWord(abi.StatusInvalidRequest), got)
		require.Zero(t, n)
	}
}

func TestEvaluationAllocatesNothing(t *testing.T) {
	e, err := Load([]byte(smallSet))
	require.NoError(t, err)
	for _, r := range smallRequests() {
		require.Zero(t, testing.AllocsPerRun(5, func() { e.Evaluate(&r) }), "%+v", r)
		encoded, status := abi.AppendRequest(nil, &r)
		require.Equal(t, abi.StatusOK, status)
		require.Zero(t, testing.AllocsPerRun(5, func() { e.EvaluateEncoded(encoded) }), "%+v", r)
	}
}

// The answers of the workload follow from how its requests were made.
func TestTheWorkloadIsAnsweredAsItMustBe(t *testing.T) {
	for _, w := range []*workload.Workload{workload.Small(), workload.Hundred(), workload.Sharing(1000, 20)} {
		e, err := Load(documentOf(t, w))
		require.NoError(t, err)
		requests, answers := w.Requests(4000)
		for i, r := range requests {
			got, status := e.Evaluate(&r).Decision(r.SourceIP)
			require.Equal(t, abi.StatusOK, status)
			require.Equal(t, answers[i], got, "%s: %+v", w.Name, r)
		}
	}
}

func documentOf(t testing.TB, w *workload.Workload) []byte {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, w.WritePolicySet(&b))
	return b.Bytes()
}

func requireTraceAgrees(t *testing.T, e *Evaluator, r abi.Request, want abi.Decision, status abi.Status) {
	t.Helper()
	trace, err := e.Explain(r)
	if status != abi.StatusOK {
		require.ErrorIs(t, err, status)
		return
	}
	require.NoError(t, err)
	require.Equal(t, want, trace.Decision)
	// The trace is told by other code than decides; the steps it took must be
	// those that the decision's reason stands for.
	last := map[abi.Reason]abi.StepName{
		abi.ReasonTemporaryCredential: abi.StepCredential,
		abi.ReasonExemptService:       abi.StepService,
		abi.ReasonAccountMismatch:     abi.StepOwner,
		abi.ReasonUnknownAccount:      abi.StepOwner,
		abi.ReasonNoActivePolicy:      abi.StepPolicy,
		abi.ReasonNoVPCPolicy:         abi.StepNetwork,
		abi.ReasonVPCNotListed:        abi.StepNetwork,
		abi.ReasonNoPublicPolicy:      abi.StepNetwork,
		abi.ReasonSourceIPNotListed:   abi.StepSource,
		abi.ReasonMatched:             abi.StepSource,
	}[want.Reason]
	require.Equal(t, last, trace.Steps[len(trace.Steps)-1].Step)
	for i, step := range trace.Steps {
		require.Equal(t, abi.Steps()[i], step.Step)
	}
	if want.Reason == abi.ReasonMatched {
		best := abi.StatementTrace{}
		for _, s := range trace.Steps[len(trace.Steps)-1].Statements {
			if s.Statement == want.Statement {
				best = s
			}
		}
		require.Equal(t, abi.VerdictMatched, best.Verdict)
		require.Equal(t, want.Entry.String(), best.Entry)
	}
}
