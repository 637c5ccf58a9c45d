package httpguard_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/httpguard"
)

// What happens behind an answer is waited for, never slept for.
const (
	waitLong  = 10 * time.Second
	waitShort = time.Millisecond
)

func TestEachRequestHasOneRecordThatSaysWhatBecameOfItAndWhy(t *testing.T) {
	evaluator := native(t, policySet)
	s := serve(t, evaluator, balancer, httpguard.WithVPCFromProxyProtocol(), httpguard.WithFormBodyDenied(),
		httpguard.WithForwardedFor(networks("10.0.0.0/8")...))
	s.get(t, proxied("203.0.113.1"), "/a?x=y", signedBy(closed))
	s.get(t, proxied("192.168.0.7", vpcTLV(vpc)), "/", signedBy(closed))
	s.get(t, proxied("10.0.0.1"), "/", signedBy(closed), "X-Forwarded-For: 198.51.100.7", "X-Request-Id: 8906582E-0001")
	s.get(t, proxied("203.0.113.1"), "/?AccessKeyId="+open, signedBy(closed))
	s.get(t, proxied("203.0.113.1"), "/")
	s.get(t, proxied("203.0.113.1"), "/?AccessKeyId=%zz")
	s.get(t, proxied("203.0.113.1"), "/", signedBy(open), "Content-Type: multipart/form-data")

	request := func(more map[string]any) map[string]any {
		record := map[string]any{"method": "GET", "host": "ecs.example.com", "path": "/", "source_from": "PROXY", "source_ip": "203.0.113.1", "revision": string(evaluator.Revision())}
		for name, value := range more {
			record[name] = value
		}
		return record
	}
	const short = "LTAI5t…0002"
	require.Equal(t, []map[string]any{
		request(map[string]any{"level": "DEBUG", "policy_level": "AccessKey", "msg": "keymoat: request allowed", "effect": "Allow", "reason": "Matched", "network": "Public",
			"statement": 0.0, "entry": "203.0.113.0/24", "access_key_id": short, "scheme": "ACS3", "place": "header authorization", "path": "/a"}),
		request(map[string]any{"level": "DEBUG", "policy_level": "AccessKey", "msg": "keymoat: request allowed", "effect": "Allow", "reason": "Matched", "network": "VPC",
			"statement": 1.0, "entry": "192.168.0.0/16", "access_key_id": short, "scheme": "ACS3", "place": "header authorization", "vpc_id": vpc, "source_ip": "192.168.0.7"}),
		request(map[string]any{"level": "WARN", "policy_level": "AccessKey", "msg": "keymoat: request refused", "effect": "Deny", "reason": "SourceIPNotListed", "network": "Public",
			"access_key_id": short, "scheme": "ACS3", "place": "header authorization", "source_ip": "198.51.100.7", "source_from": "X-Forwarded-For", "request_id": "8906582E-0001"}),
		request(map[string]any{"level": "WARN", "policy_level": "None", "msg": "keymoat: request refused", "effect": "Deny", "reason": "AmbiguousAccessKey", "network": "Public"}),
		request(map[string]any{"level": "DEBUG", "policy_level": "None", "msg": "keymoat: request allowed", "effect": "Allow", "reason": "NoAccessKey", "network": "Public"}),
		request(map[string]any{"level": "WARN", "msg": "keymoat: request refused", "error": "InvalidAccessKeyId", "cause": "the request has no readable AccessKeyId",
			"scheme": "RPC", "place": "query AccessKeyId"}),
		request(map[string]any{"level": "WARN", "msg": "keymoat: request refused", "error": "InvalidAccessKeyId", "cause": "the request has no readable AccessKeyId",
			"place": "form body"}),
	}, s.log.all(t))
}

func TestARecordSaysWhereTheAddressWasFound(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithForwardedFor(networks("10.0.0.0/8")...))
	s.get(t, proxied("203.0.113.1"), "/")
	s.get(t, proxied("10.0.0.1"), "/", "X-Forwarded-For: 203.0.113.1")
	s.get(t, header(localV2, "203.0.113.1", ""), "/")
	var from []any
	for _, record := range s.log.all(t) {
		from = append(from, record["source_from"])
	}
	require.Equal(t, []any{"PROXY", "X-Forwarded-For", "connection"}, from)

	log := &records{}
	guard, err := httpguard.New(native(t, policySet), log.logger(), balancer)
	require.NoError(t, err)
	guard.Handler(http.NotFoundHandler()).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) // not through Guard.Listener
	require.Equal(t, "connection", log.all(t)[0]["source_from"])
}

func TestAllowedRequestsAreRecordedOnlyWhenDebugging(t *testing.T) {
	for level, lines := range map[slog.Level]int{slog.LevelInfo: 0, slog.LevelDebug: 1} {
		log := &records{}
		s := serve(t, native(t, policySet), httpguard.WithLogger(slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: level}))))
		require.Equal(t, 200, s.get(t, "", "/", signedBy(open)).StatusCode)
		require.Len(t, log.all(t), lines)
	}
}
