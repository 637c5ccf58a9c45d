package httpguard_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/httpguard"
	"github.com/keymoat/keymoat/plugin/denial"
)

func TestARequestGoesThroughOnlyIfItsKeyMayBeUsedFromThere(t *testing.T) {
	engine, err := host.New(t.Context(), host.WithCompilationCache(filepath.Join("..", "..", "build", "cache")))
	require.NoError(t, err)
	defer engine.Close(context.Background())
	_, err = engine.Load(t.Context(), []byte(policySet))
	require.NoError(t, err)

	for name, evaluator := range map[string]host.Evaluator{"native": native(t, policySet), "sandbox": engine} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, evaluator)
			a := s.get(t, "", "/", signedBy(open))
			require.Equal(t, 200, a.StatusCode)
			require.Equal(t, "through", a.body)

			a = s.get(t, "", "/", signedBy(closed))
			require.Equal(t, 403, a.StatusCode)
			require.Equal(t, "application/json", a.Header.Get("Content-Type"))
			require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
			require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
			require.JSONEq(t, `{"Code":"InvalidAccessKeyId.AccessPolicyDenied",
				"Message":"Specified access key denied due to access policy. The source address is 127.0.0.1.","SourceIp":"127.0.0.1"}`, a.body)

			n, _ := s.served()
			require.Equal(t, 1, n)
		})
	}
}

func TestAQueryIsReadLikeAHeader(t *testing.T) {
	s := serve(t, native(t, policySet))
	require.Equal(t, 200, s.get(t, "", "/?AccessKeyId="+open).StatusCode)
	require.Equal(t, 403, s.get(t, "", "/?AccessKeyId="+closed).StatusCode)
	require.Equal(t, 403, s.get(t, "", "http://ecs.example.com/?AccessKeyId="+closed).StatusCode)
}

func TestARequestWithoutAKeyGoesThroughUnlessThatIsDenied(t *testing.T) {
	a := serve(t, native(t, policySet)).get(t, "", "/")
	require.Equal(t, 200, a.StatusCode)

	a = serve(t, native(t, policySet), httpguard.DenyMissingAccessKey()).get(t, "", "/")
	require.Equal(t, 403, a.StatusCode)
	require.Contains(t, a.body, "names no access key")
}

func TestAFormGoesThroughUnlessThatIsDenied(t *testing.T) {
	const form, other = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	require.Equal(t, 200, serve(t, native(t, policySet)).get(t, "", "/", signedBy(open), form).StatusCode)

	s := serve(t, native(t, policySet), httpguard.WithFormBodyDenied())
	require.Equal(t, 200, s.get(t, "", "/", signedBy(open), other).StatusCode)
	require.Equal(t, 200, s.get(t, "", "/", other).StatusCode)
	for _, lines := range [][]string{{form}, {form, signedBy(open)}, {form, signedBy(open), "x-ots-accesskeyid: " + closed}} {
		a := s.get(t, "", "/", lines...)
		require.Equal(t, 403, a.StatusCode)
		require.Contains(t, a.body, `"Code":"InvalidAccessKeyId"`)
	}
	require.Equal(t, 200, serve(t, native(t, policySet), httpguard.WithFormBodyDenied(), httpguard.ReportOnly()).get(t, "", "/", form).StatusCode)
}

func TestTheServiceDecidesAboutExemptions(t *testing.T) {
	require.Equal(t, 403, serve(t, native(t, policySet), httpguard.WithService("Ecs")).get(t, "", "/", signedBy(closed)).StatusCode)
	require.Equal(t, 200, serve(t, native(t, policySet), httpguard.WithService("EventBridge")).get(t, "", "/", signedBy(closed)).StatusCode)
}

func TestTheAccountOwnsUnlistedKeys(t *testing.T) {
	const two = `{"Accounts":[{"AccountId":"1000000000000001"},
		{"AccountId":"1000000000000002","AccessKeyPolicy":{"Status":"Active","Statements":[]}}]}`
	unlisted := signedBy("LTAI5tExample0000000009")
	require.Equal(t, 200, serve(t, native(t, two), httpguard.WithAccount("1000000000000001")).get(t, "", "/", unlisted).StatusCode)
	require.Equal(t, 403, serve(t, native(t, two), httpguard.WithAccount("1000000000000002")).get(t, "", "/", unlisted).StatusCode)
	require.Equal(t, 403, serve(t, native(t, two)).get(t, "", "/", unlisted).StatusCode)
}

func TestOtherRulesAreInForceAsSoonAsTheyAreLoaded(t *testing.T) {
	evaluator := native(t, policySet)
	s := serve(t, evaluator)
	require.Equal(t, 200, s.get(t, "", "/", signedBy(open)).StatusCode)
	_, err := evaluator.Load(t.Context(), []byte(everywhereClosed))
	require.NoError(t, err)
	require.Equal(t, 403, s.get(t, "", "/", signedBy(open)).StatusCode)
}

func TestReportOnlyLetsThroughAndTells(t *testing.T) {
	s := serve(t, native(t, policySet), httpguard.ReportOnly())
	require.Equal(t, 200, s.get(t, "", "/", signedBy(closed)).StatusCode)
	require.Equal(t, 200, s.get(t, "", "/?AccessKeyId=%zz").StatusCode)
	require.Equal(t, int64(2), s.counts.all()["keymoat.report_only.passed{}"])
	require.Contains(t, s.log.String(), "request would be refused")
	require.NotContains(t, s.log.String(), "request refused")
}

func TestACandidateIsCountedAndLoggedAndDecidesNothing(t *testing.T) {
	candidate := native(t, everywhereClosed)
	s := serve(t, native(t, policySet), httpguard.WithCandidate(candidate))
	require.Equal(t, 200, s.get(t, "", "/", signedBy(open)).StatusCode)
	require.Equal(t, 403, s.get(t, "", "/", signedBy(closed)).StatusCode, "where both agree nothing is told")
	require.Equal(t, int64(1), s.counts.all()["keymoat.candidate.disagreements{keymoat.candidate.effect=Deny}"])

	var told []map[string]any
	for _, record := range s.log.all(t) {
		if record["msg"] == "keymoat: the candidate would decide otherwise" {
			told = append(told, record)
		}
	}
	require.Len(t, told, 1)
	require.Equal(t, "Allow", told[0]["effect"])
	require.Equal(t, map[string]any{"effect": "Deny", "reason": "SourceIPNotListed", "policy_level": "AccessKey", "network": "Public",
		"revision": string(candidate.Revision())}, told[0]["candidate"])

	s = serve(t, native(t, everywhereClosed), httpguard.WithCandidate(native(t, policySet)))
	require.Equal(t, 403, s.get(t, "", "/", signedBy(open)).StatusCode)
	require.Equal(t, int64(1), s.counts.all()["keymoat.candidate.disagreements{keymoat.candidate.effect=Allow}"])
}

// evaluator answers what it is told.
type evaluator struct {
	host.Evaluator
	answer func() (abi.Decision, error)
}

func (e evaluator) Evaluate(context.Context, abi.Request) (abi.Decision, error) { return e.answer() }

func (e evaluator) Authorize(context.Context, abi.HTTPRequest) (abi.Decision, error) {
	return e.answer()
}

var faults = map[string]struct {
	answer  func() (abi.Decision, error)
	problem denial.Problem
}{
	"an error":                          {func() (abi.Decision, error) { return allows, errors.New("out of order") }, denial.Internal},
	"an error with a status":            {func() (abi.Decision, error) { return allows, abi.StatusTooLarge }, denial.Internal},
	"nothing loaded":                    {func() (abi.Decision, error) { return allows, abi.StatusNotLoaded }, denial.NotLoaded},
	"a closed evaluator":                {func() (abi.Decision, error) { return allows, host.ErrClosed }, denial.Internal},
	"a panic":                           {func() (abi.Decision, error) { panic("out of order") }, denial.Internal},
	"a panic with an error":             {func() (abi.Decision, error) { panic(errors.New("out of order")) }, denial.Internal},
	"a nil pointer":                     {func() (abi.Decision, error) { var e *evaluator; return e.answer() }, denial.Internal},
	"no decision at all":                {func() (abi.Decision, error) { return abi.Decision{}, nil }, denial.Internal},
	"an allowance without a reason":     {func() (abi.Decision, error) { return abi.Decision{Effect: abi.EffectAllow}, nil }, denial.Internal},
	"an effect that is none":            {func() (abi.Decision, error) { return abi.Decision{Effect: 7, Reason: abi.ReasonMatched}, nil }, denial.Internal},
	"a reason that is none":             {func() (abi.Decision, error) { return abi.Decision{Effect: abi.EffectAllow, Reason: 99}, nil }, denial.Internal},
	"a level that is of another reason": {func() (abi.Decision, error) { d := allows; d.Level = abi.LevelNone; return d, nil }, denial.Internal},
	"an allowance for the reason of a denial": {func() (abi.Decision, error) {
		return abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonSourceIPNotListed, Level: abi.LevelAccount}, nil
	}, denial.Internal},
	"a level that is none":             {func() (abi.Decision, error) { d := allows; d.Level = 9; return d, nil }, denial.Internal},
	"an access key that is unreadable": {func() (abi.Decision, error) { return allows, abi.StatusInvalidAccessKeyID }, denial.InvalidAccessKeyID},
}

var allows = abi.Decision{Effect: abi.EffectAllow, Reason: abi.ReasonMatched, Level: abi.LevelAccount}

func TestWhateverGoesWrongRefuses(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			s := serve(t, evaluator{answer: fault.answer}, httpguard.WithDenial(denial.JSON, 451))
			for _, call := range [][]string{{signedBy(open)}, nil} { // Evaluate, Authorize
				a := s.get(t, "", "/", call...)
				require.Equal(t, 403, a.StatusCode)
				require.Contains(t, a.body, `"Code":"`+fault.problem.String()+`"`)
				require.NotContains(t, a.body, "out of order", "causes are for the log")
			}
			n, _ := s.served()
			require.Zero(t, n)
			require.Equal(t, map[string]int64{"keymoat.errors{keymoat.error=" + fault.problem.String() + "}": 2}, s.counts.all())
			records := s.log.all(t)
			require.Len(t, records, 2)
			for _, record := range records {
				require.Equal(t, fault.problem.String(), record["error"])
				require.NotEmpty(t, record["cause"])
			}
		})
	}
}

func TestAFaultRefusesInReportOnlyModeToo(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			s := serve(t, evaluator{answer: fault.answer}, httpguard.ReportOnly())
			status := 200
			if fault.problem.IsFault() {
				status = 403
			}
			require.Equal(t, status, s.get(t, "", "/", signedBy(open)).StatusCode)
			n, _ := s.served()
			require.Equal(t, status == 200, n == 1)
			require.Equal(t, status == 200, s.counts.all()["keymoat.report_only.passed{}"] == 1)
			require.Equal(t, status == 200, s.log.all(t)[0]["msg"] == "keymoat: request would be refused")
		})
	}
}

func TestAFaultyCandidateHarmsNoRequest(t *testing.T) {
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			s := serve(t, native(t, policySet), httpguard.WithCandidate(evaluator{answer: fault.answer}))
			require.Equal(t, 200, s.get(t, "", "/", signedBy(open)).StatusCode)
			require.Equal(t, int64(1), s.counts.all()["keymoat.candidate.disagreements{keymoat.candidate.effect=Deny}"])
		})
	}
}

// lost is an evaluator that can decide, but not tell its revision.
type lost struct{ host.Evaluator }

func (lost) Revision() host.Revision { panic("out of order") }

func TestAnEvaluatorThatPanicsAtItsRevisionRefuses(t *testing.T) {
	for name, broken := range map[string]host.Evaluator{"only there": lost{native(t, policySet)}, "everywhere": (*host.Native)(nil)} {
		for mode, opts := range map[string][]httpguard.Option{"": nil, ", report-only": {httpguard.ReportOnly()}} {
			t.Run(name+mode, func(t *testing.T) {
				s := serve(t, broken, opts...)
				for _, target := range []string{"/", "/?AccessKeyId=%zz"} {
					a := s.get(t, "", target, signedBy(open))
					require.Equal(t, 403, a.StatusCode)
					require.Contains(t, a.body, `"Code":"Internal"`)
					require.Contains(t, a.body, `"SourceIp":"127.0.0.1"`)
				}
				n, _ := s.served()
				require.Zero(t, n)
				require.Equal(t, map[string]int64{"keymoat.errors{keymoat.error=Internal}": 2}, s.counts.all())
				for _, record := range s.log.all(t) {
					require.Equal(t, "ERROR", record["level"])
					require.Contains(t, record["cause"], "panic: ")
				}
			})
		}
	}
}

func TestACandidateThatPanicsAtItsRevisionHarmsNoRequest(t *testing.T) {
	for name, candidate := range map[string]host.Evaluator{"only there": lost{native(t, everywhereClosed)}, "everywhere": (*host.Native)(nil)} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, native(t, policySet), httpguard.WithCandidate(candidate))
			require.Equal(t, 200, s.get(t, "", "/", signedBy(open)).StatusCode)
			require.Equal(t, int64(1), s.counts.all()["keymoat.candidate.disagreements{keymoat.candidate.effect=Deny}"])
			told := s.log.all(t)[0]["candidate"].(map[string]any)
			require.Equal(t, "Deny", told["effect"])
			require.Contains(t, told["cause"], "panic: ")
		})
	}
}

func TestAPanicOfTheNextHandlerIsNotTheGuards(t *testing.T) {
	guard, err := httpguard.New(native(t, policySet))
	require.NoError(t, err)
	handler := guard.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		handler.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	})
}

// What a handler in front makes of the query is what the next one reads.
func TestAQueryThatWasRewrittenOnTheWayCountsToo(t *testing.T) {
	guard, err := httpguard.New(native(t, policySet), (&records{}).logger())
	require.NoError(t, err)
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })
	status := func(target, rewritten string) int {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", target, nil)
		r.URL.RawQuery = rewritten
		guard.Handler(next).ServeHTTP(w, r)
		return w.Code
	}
	require.Equal(t, 200, status("/?AccessKeyId="+open, "AccessKeyId="+open))
	require.Equal(t, 403, status("/?AccessKeyId="+open, "AccessKeyId="+closed))
	require.Equal(t, 403, status("/", "AccessKeyId="+closed))
	require.Equal(t, 403, status("/?AccessKeyId="+closed, ""))
	require.Equal(t, 200, status("/?a=b", "AccessKeyId="+open))

	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/?AccessKeyId="+closed, nil)
	r.RequestURI = "" // as of a request that was made by hand
	guard.Handler(next).ServeHTTP(w, r)
	require.Equal(t, 403, w.Code)
}

// One key id goes to the evaluator and nothing else of the request.
func TestARequestWithOneKeyIsAskedAboutByItsId(t *testing.T) {
	var got abi.Request
	s := serve(t, spy{evaluate: func(r abi.Request) { got = r }},
		httpguard.WithService("Oss"), httpguard.WithAccount("1000000000000001"), httpguard.DenyMissingAccessKey())
	s.get(t, "", "/?AccessKeyId="+open, signedBy(open), "Cookie: secret")
	require.Equal(t, abi.Request{AccessKeyID: open, SourceIP: netip.MustParseAddr("127.0.0.1"), Service: "Oss", AccountID: "1000000000000001"}, got)
}

func TestOnlyHeadersThatCanNameAKeyReachTheEvaluator(t *testing.T) {
	var got abi.HTTPRequest
	s := serve(t, spy{authorize: func(r abi.HTTPRequest) { got = r }}, httpguard.WithService("Oss"), httpguard.WithAccount("1000000000000001"),
		httpguard.DenyMissingAccessKey(), httpguard.WithFormBodyDenied())
	s.get(t, "", "/o?x=%41#f", "authorization: a", "Cookie: secret", "X_OTS_AccessKeyId: e", "Content-Type: f", "X-OTS-AccessKeyId: b", "AUTHORIZATION: c", "X-Forwarded-For: 203.0.113.1", "x-acs-accesskey-id: d")
	require.ElementsMatch(t, []abi.HTTPHeader{{Name: "Authorization", Value: "a"}, {Name: "Authorization", Value: "c"},
		{Name: "X-Ots-Accesskeyid", Value: "b"}, {Name: "X-Acs-Accesskey-Id", Value: "d"},
		{Name: "X_ots_accesskeyid", Value: "e"}, {Name: "Content-Type", Value: "f"}}, got.Headers)
	got.Headers = nil
	require.Equal(t, abi.HTTPRequest{Target: "/o?x=%41#f", SourceIP: netip.MustParseAddr("127.0.0.1"), Service: "Oss",
		AccountID: "1000000000000001", DenyMissingAccessKey: true, DenyFormBody: true}, got)
}

type spy struct {
	host.Evaluator
	evaluate  func(abi.Request)
	authorize func(abi.HTTPRequest)
}

func (s spy) Evaluate(_ context.Context, r abi.Request) (abi.Decision, error) {
	s.evaluate(r)
	return allows, nil
}

func (s spy) Authorize(_ context.Context, r abi.HTTPRequest) (abi.Decision, error) {
	s.authorize(r)
	return allows, nil
}

func TestAGuardIsNotMadeOfWrongOptions(t *testing.T) {
	some := networks("10.0.0.0/8")
	for name, opts := range map[string][]httpguard.Option{
		"no candidate":                             {httpguard.WithCandidate(nil)},
		"no logger":                                {httpguard.WithLogger(nil)},
		"no meter provider":                        {httpguard.WithMeterProvider(nil)},
		"a service without a name":                 {httpguard.WithService("")},
		"a long service":                           {httpguard.WithService(strings.Repeat("x", 256))},
		"an account without an id":                 {httpguard.WithAccount("")},
		"an account with a strange id":             {httpguard.WithAccount("a b")},
		"the status of a success":                  {httpguard.WithDenial(denial.JSON, 200)},
		"a status that is none":                    {httpguard.WithDenial(denial.JSON, 999)},
		"proxies that are nobody":                  {httpguard.WithForwardedFor()},
		"proxies that are no network":              {httpguard.WithForwarded(netip.Prefix{})},
		"two headers for the address":              {httpguard.WithForwardedFor(some...), httpguard.WithForwarded(some...)},
		"load balancers that are nobody":           {httpguard.WithProxyProtocol()},
		"a network of mapped and other addresses":  {httpguard.WithProxyProtocol(netip.MustParsePrefix("::ffff:0.0.0.0/64"))},
		"a VPC that is none":                       {httpguard.WithVPC("AllowAllVPC")},
		"a VPC header without a name":              {httpguard.WithVPCHeader("", some...)},
		"a VPC header with a strange name":         {httpguard.WithVPCHeader("X Vpc", some...)},
		"the VPC in the header of the host":        {httpguard.WithVPCHeader("Host", some...)},
		"the VPC in the header of a credential":    {httpguard.WithVPCHeader("authorization", some...)},
		"the same with underscores":                {httpguard.WithVPCHeader("X_Acs_AccessKey_Id", some...)},
		"the VPC in the header of the body's kind": {httpguard.WithVPCHeader("Content-Type", some...)},
		"a VPC header from nobody":                 {httpguard.WithVPCHeader("X-Vpc-Id")},
		"two sources of the VPC":                   {httpguard.WithVPC(vpc), httpguard.WithVPCHeader("X-Vpc-Id", some...)},
		"a TLV without the PROXY protocol":         {httpguard.WithVPCFromProxyProtocol()},
	} {
		t.Run(name, func(t *testing.T) {
			guard, err := httpguard.New(host.NewNative(), opts...)
			require.ErrorContains(t, err, "httpguard: ")
			require.Nil(t, guard)
		})
	}
	_, err := httpguard.New(nil)
	require.Error(t, err)
}
