package httpguard_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/httpguard"
)

func TestDecisionsAreCountedByEffectReasonAndLevel(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol())
	s.get(t, proxied("203.0.113.1"), "/", signedBy(closed))
	s.get(t, proxied("203.0.113.1"), "/", signedBy(closed))
	s.get(t, proxied("198.51.100.7"), "/", signedBy(closed))
	s.get(t, proxied("192.168.0.7", vpcTLV("vpc-other")), "/", signedBy(closed))
	s.get(t, proxied("192.168.0.7", vpcTLV("-")), "/", signedBy(closed))
	s.get(t, proxied("203.0.113.1"), "/?AccessKeyId="+open, signedBy(closed))
	s.get(t, proxied("203.0.113.1"), "/?AccessKeyId=")
	s.get(t, proxied("203.0.113.1"), "/")
	require.Equal(t, map[string]int64{
		"keymoat.decisions{keymoat.effect=Allow,keymoat.level=AccessKey,keymoat.reason=Matched}":          2,
		"keymoat.decisions{keymoat.effect=Deny,keymoat.level=AccessKey,keymoat.reason=SourceIPNotListed}": 1,
		"keymoat.decisions{keymoat.effect=Deny,keymoat.level=AccessKey,keymoat.reason=VPCNotListed}":      1,
		"keymoat.decisions{keymoat.effect=Deny,keymoat.level=None,keymoat.reason=AmbiguousAccessKey}":     1,
		"keymoat.decisions{keymoat.effect=Allow,keymoat.level=None,keymoat.reason=NoAccessKey}":           1,
		"keymoat.errors{keymoat.error=InvalidVpcId}":                                                      1,
		"keymoat.errors{keymoat.error=InvalidAccessKeyId}":                                                1,
	}, s.counts.all())
	require.Equal(t, []string{"github.com/keymoat/keymoat/host/httpguard"}, s.counts.scopes)
}
