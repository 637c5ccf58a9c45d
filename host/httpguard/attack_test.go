package httpguard_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/httpguard"
)

// A caller at 198.51.100.7 holds the closed key, which may not be used from
// there, and knows the id of the open one. Behind the guard stands a service
// that would take any of the keys named. None of these gets in.
func TestNoAttackGetsThrough(t *testing.T) {
	const from, none = "198.51.100.7", "none"
	big := strings.Repeat("x", 300_000)
	// form is a request whose service takes the key id from the body.
	form := func(lines ...string) []string {
		const body = "AccessKeyId=CLOSED&Signature=c2ln"
		return append(lines, fmt.Sprintf("Content-Length: %d", len(body)-len("CLOSED")+len(closed)), "", body)
	}
	const urlencoded = "Content-Type: application/x-www-form-urlencoded"
	quoted := func(s string) string {
		return strings.NewReplacer("OPEN", open, "CLOSED", closed, "BIG", big, "VPC", vpc).Replace(s)
	}

	servers := map[string]*server{
		"plain": serve(t, native(t, policySet), balancer),
		"tlv":   serve(t, native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol()),
		"header": serve(t, native(t, policySet), balancer, httpguard.WithVPCHeader("X-Vpc-Id", networks("10.0.0.0/8")...),
			httpguard.WithForwardedFor(networks("10.0.0.0/8")...)),
		"forwarded":     serve(t, native(t, policySet), balancer, httpguard.WithForwarded(networks("10.0.0.0/8")...)),
		"forms":         serve(t, native(t, policySet), balancer, httpguard.WithFormBodyDenied(), httpguard.DenyMissingAccessKey()),
		"small headers": serveWith(t, &http.Server{MaxHeaderBytes: 4096}, native(t, policySet), balancer),
	}
	for _, c := range []struct {
		name, server string
		proxy        string // the PROXY header; that of the caller if empty
		target       string
		lines        []string
		want         int // the status of the answer: 403, the guard's, if zero; -1 for none at all
	}{
		// two key ids
		{"the other key in the query", "plain", "", "/?AccessKeyId=OPEN", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"the other key in front", "plain", "", "/", []string{"Authorization: acs OPEN:c2ln", "Authorization: acs CLOSED:c2ln"}, 0},
		{"the other key behind", "plain", "", "/", []string{"Authorization: acs CLOSED:c2ln", "authorization: acs OPEN:c2ln"}, 0},
		{"joined by a comma", "plain", "", "/", []string{"Authorization: acs OPEN:c2ln, acs CLOSED:c2ln"}, 0},
		{"in two headers", "plain", "", "/", []string{"x-ots-accesskeyid: OPEN", "Authorization: acs CLOSED:c2ln"}, 0},
		{"twice in the query", "plain", "", "/?AccessKeyId=OPEN&AccessKeyId=CLOSED", nil, 0},
		{"the other key beside a header with underscores", "plain", "", "/", []string{"Authorization: acs OPEN:c2ln", "x_ots_accesskeyid: CLOSED"}, 0},
		{"the other key beside another header with underscores", "plain", "", "/", []string{"Authorization: acs OPEN:c2ln", "X-Acs_AccessKey-Id: CLOSED"}, 0},
		// a key id in the body, which is not read, and a decoy where the service does not look
		{"a form", "forms", "", "/", form(urlencoded), 0},
		{"a form beside the other key", "forms", "", "/", form(urlencoded, "Authorization: acs OPEN:c2ln"), 0},
		{"a form beside a temporary key in a header", "forms", "", "/", form(urlencoded, "x-ots-accesskeyid: STS.x"), 0},
		{"a form beside a temporary key in the query", "forms", "", "/?x-oss-access-key-id=STS.x", form(urlencoded), 0},
		{"a form of parts", "forms", "", "/?x-oss-access-key-id=STS.x", form("Content-Type: multipart/form-data; boundary=x"), 0},
		{"a form in capitals, with parameters", "forms", "", "/?x-oss-access-key-id=STS.x", form("CONTENT-TYPE:  APPLICATION/X-WWW-FORM-URLENCODED;charset=utf-8"), 0},
		{"a form by a header with an underscore", "forms", "", "/?x-oss-access-key-id=STS.x", form("Content_Type: application/x-www-form-urlencoded"), 0},
		{"a form by the second of two headers", "forms", "", "/?x-oss-access-key-id=STS.x", form("Content-Type: text/plain", urlencoded), 0},
		// percent tricks
		{"an encoded name", "plain", "", "/?%41ccessKeyId=CLOSED", nil, 0},
		{"an encoded id", "plain", "", "/?AccessKeyId=%4cTAI5tExample0000000002", nil, 0},
		{"an encoded name behind the other key", "plain", "", "/?AccessKeyId=OPEN&%41%63cessKeyId=CLOSED", nil, 0},
		{"an encoded equals sign", "plain", "", "/?AccessKeyId=OPEN&AccessKeyId%3DCLOSED", nil, 0},
		{"a semicolon, which this server's own parser drops", "plain", "", "/?AccessKeyId=OPEN;AccessKeyId=CLOSED", nil, 0},
		{"a bad escape, which this server's own parser drops", "plain", "", "/?AccessKeyId=%zzCLOSED", nil, 0},
		{"a second question mark", "plain", "", "/?x?AccessKeyId=CLOSED", nil, 0},
		{"a fragment", "plain", "", "/#?AccessKeyId=CLOSED", nil, 0},
		{"an absolute target", "plain", "", "http://other.example.com/?AccessKeyId=CLOSED", nil, 0},
		{"a space in other forms", "plain", "", "/?+AccessKeyId=CLOSED", nil, 0},
		{"a credential with its scope encoded", "plain", "", "/?X-Amz-Credential=CLOSED%2F20261124%2Fr%2Fs3%2Faws4_request", nil, 0},
		{"a key id that cannot be read", "plain", "", "/?AccessKeyId=CLO%00SED", nil, 0},
		// names and values of headers
		{"a header in odd case", "plain", "", "/", []string{"aUTHORIZATION: acs CLOSED:c2ln"}, 0},
		{"a space before the colon", "plain", "", "/", []string{"Authorization : acs CLOSED:c2ln"}, 400},
		{"a folded header", "plain", "", "/", []string{"Authorization: acs", " CLOSED:c2ln"}, 0},
		{"a folded name", "plain", "", "/", []string{"X: y", " Authorization: acs OPEN:c2ln", "Authorization: acs CLOSED:c2ln"}, 0},
		{"tabs", "plain", "", "/", []string{"Authorization:\tacs\tCLOSED:c2ln"}, 0},
		{"a session token does not make a key temporary", "plain", "", "/", []string{"Authorization: acs CLOSED:c2ln", "x-acs-security-token: x", "X-Amz-Security-Token: x"}, 0},
		{"a service in a header is not the service", "plain", "", "/?Service=EventBridge", []string{"Authorization: acs CLOSED:c2ln", "x-acs-product: EventBridge"}, 0},
		{"an account in a header is not the account", "plain", "", "/", []string{"Authorization: acs CLOSED:c2ln", "x-acs-account-id: 1000000000000009"}, 0},
		{"the key as a hop-by-hop header", "plain", "", "/", []string{"Connection: authorization", "Authorization: acs CLOSED:c2ln"}, 0},
		{"an upgrade", "plain", "", "/", []string{"Connection: Upgrade", "Upgrade: websocket", "Authorization: acs CLOSED:c2ln"}, 0},
		// oversized
		{"a large header in front", "plain", "", "/", []string{"X-Padding: BIG", "Authorization: acs CLOSED:c2ln"}, 0},
		{"a large signature", "plain", "", "/", []string{"Authorization: acs CLOSED:BIG"}, 0},
		{"a large credential in front", "plain", "", "/", []string{"Authorization: acs OPEN:BIG", "Authorization: acs CLOSED:c2ln"}, 0},
		{"a large query", "plain", "", "/?x=BIG&AccessKeyId=CLOSED", nil, 0},
		{"many parameters", "plain", "", "/?" + strings.Repeat("AccessKeyId=OPEN&", 10_000) + "AccessKeyId=CLOSED", nil, 0},
		{"larger than the server takes", "small headers", "", "/", []string{"X-Padding: BIG", "Authorization: acs CLOSED:c2ln"}, 431},
		{"larger than any server takes", "plain", "", "/?" + strings.Repeat("BIG", 10), []string{"Authorization: acs CLOSED:c2ln"}, 431},
		// spoofed addresses
		{"X-Forwarded-For where nobody is believed", "plain", "", "/", []string{"Authorization: acs CLOSED:c2ln", "X-Forwarded-For: 203.0.113.1"}, 0},
		{"other headers of that kind", "plain", "", "/", []string{"Authorization: acs CLOSED:c2ln", "X-Real-IP: 203.0.113.1", "True-Client-IP: 203.0.113.1", "CF-Connecting-IP: 203.0.113.1", "X-Client-IP: 203.0.113.1", "X-Envoy-External-Address: 203.0.113.1"}, 0},
		{"X-Forwarded-For from someone else than the proxies", "header", "", "/", []string{"Authorization: acs CLOSED:c2ln", "X-Forwarded-For: 203.0.113.1"}, 0},
		{"X-Forwarded-For with an entry in front", "header", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Forwarded-For: 203.0.113.1, " + from}, 0},
		{"X-Forwarded-For on two lines", "header", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: " + from}, 0},
		{"X-Forwarded-For that names proxies", "header", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Forwarded-For: 203.0.113.1, 10.0.0.5, " + from + ", 10.0.0.2"}, 0},
		{"X-Forwarded-For that cannot be read", "header", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Forwarded-For: 203.0.113.1 " + from}, 0},
		{"X-Forwarded-For with underscores", "header", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X_Forwarded_For: 203.0.113.1"}, 0},
		{"Forwarded with an entry in front", "forwarded", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "Forwarded: for=203.0.113.1, for=" + from}, 0},
		{"Forwarded with an open quote", "forwarded", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", `Forwarded: for=203.0.113.1;x=", for=` + from}, 0},
		{"X-Forwarded-For where Forwarded is believed", "forwarded", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Forwarded-For: 203.0.113.1"}, 0},
		// VPC ids that are not the caller's
		{"a VPC header where none is read", "plain", proxied("192.168.0.7"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Vpc-Id: VPC"}, 0},
		{"a VPC header from someone who is not believed", "header", proxied("192.168.0.7"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Vpc-Id: VPC"}, 0},
		{"the same with X-Forwarded-For naming a proxy", "header", proxied("192.168.0.7"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Vpc-Id: VPC", "X-Forwarded-For: 10.0.0.1"}, 0},
		{"two VPC headers", "header", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Vpc-Id: vpc-other", "X-Vpc-Id: VPC", "X-Forwarded-For: 192.168.0.7"}, 0},
		{"two VPC ids in a header", "header", proxied("10.0.0.1"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Vpc-Id: VPC, vpc-other", "X-Forwarded-For: 192.168.0.7"}, 0},
		{"a VPC header beside the PROXY protocol", "tlv", proxied("192.168.0.7"), "/", []string{"Authorization: acs CLOSED:c2ln", "X-Vpc-Id: VPC"}, 0},
		{"a TLV where none is read", "plain", proxied("192.168.0.7", vpcTLV(vpc)), "/", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"a TLV of another subtype", "tlv", proxied("192.168.0.7", "\xe1"+withLength("\x02"+vpc)), "/", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"a TLV of another type", "tlv", proxied("192.168.0.7", "\xea"+withLength("\x01"+vpc)), "/", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"two TLVs", "tlv", proxied("192.168.0.7", vpcTLV("vpc-other"), vpcTLV(vpc)), "/", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"a TLV that is cut off", "tlv", proxied("192.168.0.7", "\xe1\x00\x40\x01"+vpc), "/", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"the LOCAL command with an address", "tlv", header(localV2, "203.0.113.1", ""), "/", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"the LOCAL command with a VPC", "tlv", header(localV2, "192.168.0.7", vpcTLV(vpc)), "/", []string{"Authorization: acs CLOSED:c2ln"}, 0},
		{"a UNIX socket that is called like an address", "plain", unixSocket("203.0.113.1:80"), "/", []string{"Authorization: acs CLOSED:c2ln"}, -1},
		{"two PROXY headers", "tlv", proxied(from) + proxied("203.0.113.1"), "/", []string{"Authorization: acs CLOSED:c2ln"}, 400},
		{"a PROXY header of version 1", "plain", "PROXY TCP4 203.0.113.1 10.0.0.1 50000 443\r\n", "/", []string{"Authorization: acs CLOSED:c2ln"}, -1},
		{"no PROXY header", "plain", none, "/", []string{"Authorization: acs CLOSED:c2ln"}, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := servers[c.server]
			before, _ := s.served()
			proxy, want := c.proxy, c.want
			switch {
			case proxy == "":
				proxy = proxied(from)
			case proxy == none:
				proxy = ""
			}
			a, err := s.exchange(t, proxy+quoted(message(c.target, c.lines...)))
			switch want {
			case -1:
				require.ErrorIs(t, err, errNoAnswer)
			case 0:
				require.NoError(t, err)
				require.Equal(t, 403, a.StatusCode)
				require.Contains(t, a.body, `"Code":"Invalid`)
			default:
				if err == nil { // a server that does not read all may reset the connection before its answer is read
					require.Equal(t, want, a.StatusCode)
				}
			}
			after, _ := s.served()
			require.Equal(t, before, after, "the service must not see the request")
		})
	}
	// The table proves nothing unless the closed key gets in where it may be
	// used, and the open one from anywhere.
	for name, s := range servers {
		require.Equal(t, 200, s.get(t, proxied("203.0.113.1"), "/", signedBy(closed)).StatusCode, name)
		require.Equal(t, 200, s.get(t, proxied(from), "/", signedBy(open)).StatusCode, name)
		require.NotContains(t, s.log.String(), open, "no log holds a whole key")
		require.NotContains(t, s.log.String(), closed)
	}
}

func TestSmuggledRequestsAreJudgedOneByOne(t *testing.T) {
	s := serve(t, native(t, policySet), balancer)
	first := fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\n%s\r\nContent-Length: 4\r\n\r\nbody", signedBy(open))
	second := message("/", signedBy(closed), "Connection: close")
	a, err := s.exchange(t, proxied("198.51.100.7")+first+second)
	require.NoError(t, err)
	require.Equal(t, 200, a.StatusCode)
	require.Eventually(t, func() bool { return strings.Count(s.log.String(), "\n") == 2 }, waitLong, waitShort)
	n, last := s.served()
	require.Equal(t, 1, n)
	require.Equal(t, "POST", last.Method)
}
