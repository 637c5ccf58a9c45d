package httpguard_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/httpguard"
)

func TestAVPCHeaderIsBelievedFromNamedPeersAlone(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithVPCHeader("x-vpc-id", networks("10.0.0.0/8", "2001:db8:ffff::/48")...),
		httpguard.WithForwardedFor(networks("10.0.0.0/8", "2001:db8:ffff::/48")...))
	for _, c := range []struct {
		name, peer string
		lines      []string
		status     int
		code       string
	}{
		{"its id is the VPC", "10.0.0.1", []string{"X-Vpc-Id: " + vpc, "X-Forwarded-For: 192.168.0.7"}, 200, ""},
		{"whatever the case of its name", "2001:db8:ffff::1", []string{"X-VPC-ID: " + vpc, "X-Forwarded-For: 192.168.0.7"}, 200, ""},
		{"another id", "10.0.0.1", []string{"X-Vpc-Id: vpc-other", "X-Forwarded-For: 192.168.0.7"}, 403, "InvalidAccessKeyId.AccessPolicyDenied"},
		{"without it the call is public", "10.0.0.1", []string{"X-Forwarded-For: 203.0.113.1"}, 200, ""},
		{"an empty one is not public", "10.0.0.1", []string{"X-Vpc-Id:", "X-Forwarded-For: 203.0.113.1"}, 403, "InvalidVpcId"},
		{"nor is one that is no id", "10.0.0.1", []string{"X-Vpc-Id: AllowAllVPC", "X-Forwarded-For: 203.0.113.1"}, 403, "InvalidVpcId"},
		{"nor are two", "10.0.0.1", []string{"X-Vpc-Id: " + vpc, "X-Vpc-Id: " + vpc, "X-Forwarded-For: 203.0.113.1"}, 403, "InvalidVpcId"},
		{"from others it does not count", "203.0.113.1", []string{"X-Vpc-Id: rubbish"}, 200, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.get(t, proxied(c.peer), "/", append(c.lines, signedBy(closed))...)
			require.Equal(t, c.status, a.StatusCode)
			if c.code != "" {
				require.Contains(t, a.body, `"Code":"`+c.code+`"`)
			}
		})
	}
}

func TestAVPCHeaderThatIsNotBelievedIsRemoved(t *testing.T) {
	for _, mode := range [][]httpguard.Option{nil, {httpguard.ReportOnly()}} {
		s := serve(t, native(t, policySet), append(mode, httpguard.WithVPCHeader("X-Vpc-Id", networks("10.0.0.0/8")...))...)
		require.Equal(t, 200, s.get(t, "", "/", signedBy(open), "x-vpc-id: "+vpc, "X-VPC-ID: vpc-other", "X_Vpc_Id: "+vpc, "x-vpc_id: "+vpc, "X-Other: kept").StatusCode)
		_, through := s.served()
		require.NotContains(t, strings.ToLower(fmt.Sprint(through.Header)), "vpc")
		require.Equal(t, "kept", through.Header.Get("X-Other"))
		require.Equal(t, int64(1), s.counts.all()["keymoat.vpc_header.removed{}"])
		require.Contains(t, s.log.String(), `"vpc_header_removed":true`)
	}
}

func TestAVPCHeaderThatIsBelievedIsPassedOn(t *testing.T) {
	s := serve(t, native(t, policySet), httpguard.WithVPCHeader("X-Vpc-Id", networks("127.0.0.0/8")...))
	require.Equal(t, 200, s.get(t, "", "/", signedBy(open), "X-Vpc-Id: "+vpc).StatusCode)
	_, through := s.served()
	require.Equal(t, vpc, through.Header.Get("X-Vpc-Id"))
	require.NotContains(t, s.counts.all(), "keymoat.vpc_header.removed{}")
}

func TestAnotherSpellingOfTheVPCHeaderIsBelievedFromNobody(t *testing.T) {
	for name, other := range map[string]string{"X-Vpc-Id": "X_Vpc_Id", "x_vpc_id": "X-Vpc-Id", "X-Vpc_Id": "X_Vpc-Id"} {
		s := serve(t, native(t, policySet), httpguard.WithVPCHeader(name, networks("127.0.0.0/8")...))
		require.Equal(t, 200, s.get(t, "", "/", signedBy(open), other+": vpc-other", strings.ToUpper(name)+": "+vpc).StatusCode)
		_, through := s.served()
		require.Equal(t, []string{vpc}, through.Header[http.CanonicalHeaderKey(name)])
		require.NotContains(t, through.Header, http.CanonicalHeaderKey(other))
		require.Contains(t, s.log.String(), `"vpc_id":"`+vpc+`"`)

		require.Equal(t, 200, s.get(t, "", "/", signedBy(open), other+": "+vpc).StatusCode)
		_, through = s.served()
		require.NotContains(t, strings.ToLower(fmt.Sprint(through.Header)), "vpc")
		require.Contains(t, s.log.String(), `"network":"Public"`)
		require.Equal(t, int64(2), s.counts.all()["keymoat.vpc_header.removed{}"])
	}
}

func TestRemovingTheHeaderLeavesTheRequestOfTheServerAlone(t *testing.T) {
	guard, err := httpguard.New(native(t, policySet), (&records{}).logger(), httpguard.WithVPCHeader("X-Vpc-Id", networks("10.0.0.0/8")...))
	require.NoError(t, err)
	original := newRequest("/", "198.51.100.7:80")
	original.Header.Set("X-Vpc-Id", vpc)
	guard.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		require.NotContains(t, r.Header, "X-Vpc-Id")
	})).ServeHTTP(nil, original)
	require.Equal(t, vpc, original.Header.Get("X-Vpc-Id"))
}

func TestAStaticVPCIsEveryonesVPC(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithVPC(vpc))
	require.Equal(t, 200, s.get(t, proxied("192.168.0.7"), "/", signedBy(closed)).StatusCode)
	require.Equal(t, 403, s.get(t, proxied("203.0.113.1"), "/", signedBy(closed)).StatusCode)
}
