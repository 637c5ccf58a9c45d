package credential_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

// expand puts the two ids where a case writes OPEN and CLOSED.
func expand(s string) string {
	return strings.NewReplacer("OPEN", open, "CLOSED", closed).Replace(s)
}

// find reads a target and header lines of the form "name: value".
func find(target string, lines ...string) (credential.Claim, credential.Outcome) {
	var headers []abi.HTTPHeader
	for _, line := range lines {
		name, value, _ := strings.Cut(expand(line), ": ")
		headers = append(headers, abi.HTTPHeader{Name: name, Value: value})
	}
	return credential.Find(expand(target), headers)
}

type headerCase struct {
	name    string
	target  string
	headers []string
}

// An attacker signs with CLOSED and names OPEN elsewhere, hoping that OPEN is
// what gets judged. Every row lets some service read CLOSED.
var attacks = []headerCase{
	// one id in the query, one in a header
	{"RPC in the query, V3 in the header", "/?AccessKeyId=OPEN", []string{"Authorization: ACS3-HMAC-SHA256 Credential=CLOSED,SignedHeaders=host,Signature=00"}},
	{"OSS URL, OSS header", "/o?OSSAccessKeyId=OPEN&Signature=x", []string{"Authorization: OSS CLOSED:c2ln"}},
	{"OTS header, ROA header", "/ListTable", []string{"x-ots-accesskeyid: OPEN", "Authorization: acs CLOSED:c2ln"}},
	{"the id header of the V3 SDKs, V3 header", "/", []string{"x-acs-accesskey-id: OPEN", "Authorization: ACS3-HMAC-SHA256 Credential=CLOSED,Signature=00"}},
	// two places in the query
	{"SigV4 and SigV2 URL", "/o?AWSAccessKeyId=OPEN&X-Amz-Credential=CLOSED%2F20261102%2Fus-east-1%2Fs3%2Faws4_request", nil},
	{"OSS V4 and V1 URL", "/o?OSSAccessKeyId=OPEN&x-oss-credential=CLOSED/20261102/cn-hangzhou/oss/aliyun_v4_request", nil},
	{"OSS V2 and V1 URL", "/o?OSSAccessKeyId=OPEN&x-oss-access-key-id=CLOSED", nil},
	// the same parameter twice: services take the first or the last
	{"twice, the last counts", "/?AccessKeyId=OPEN&AccessKeyId=CLOSED", nil},
	{"twice, the first counts", "/?AccessKeyId=CLOSED&AccessKeyId=OPEN", nil},
	{"twice, one name encoded", "/?AccessKeyId=OPEN&%41ccessKeyId=CLOSED", nil},
	{"twice, one name wholly encoded", "/?AccessKeyId=OPEN&%41%63%63%65%73%73%4b%65%79%49%64=CLOSED", nil},
	{"twice, one name in other case", "/?AccessKeyId=OPEN&accesskeyid=CLOSED", nil},
	{"twice, one name behind a space", "/?AccessKeyId=OPEN&+AccessKeyId=CLOSED", nil},
	{"twice, one name behind a tab", "/?AccessKeyId=OPEN&AccessKeyId%09=CLOSED", nil},
	{"twice, one '=' encoded", "/?AccessKeyId=OPEN&AccessKeyId%3DCLOSED", nil},
	{"twice, parted by a semicolon", "/?AccessKeyId=OPEN;AccessKeyId=CLOSED", nil},
	{"twice, the second in another value behind a semicolon", "/?AccessKeyId=OPEN&Format=JSON;AccessKeyId=CLOSED", nil},
	{"twice, the second behind a fragment", "/?AccessKeyId=OPEN#&AccessKeyId=CLOSED", nil},
	{"twice, the second starts the fragment", "/?AccessKeyId=OPEN#AccessKeyId=CLOSED", nil},
	{"twice, the second behind another question mark", "/?AccessKeyId=OPEN?AccessKeyId=CLOSED", nil},
	{"twice, the first behind two question marks", "/??AccessKeyId=CLOSED&AccessKeyId=OPEN", nil},
	{"twice, in an absolute target", "http://ecs.aliyuncs.com?AccessKeyId=OPEN&AccessKeyId=CLOSED", nil},
	{"an absolute target and a header", "https://ecs.aliyuncs.com/?AccessKeyId=OPEN", []string{"Authorization: acs CLOSED:c2ln"}},
	{"the query behind a fragment in the path", "/#/?AccessKeyId=OPEN&AccessKeyId=CLOSED", nil},
	{"a tab before the name, not encoded", "/?AccessKeyId=OPEN&\tAccessKeyId=CLOSED", nil},
	// the same header twice
	{"Authorization twice", "/", []string{"Authorization: OSS OPEN:c2ln", "Authorization: OSS CLOSED:c2ln"}},
	{"Authorization twice, in other case", "/", []string{"Authorization: OSS OPEN:c2ln", "aUTHORIZATION: OSS CLOSED:c2ln"}},
	{"Authorization twice, of two schemes", "/", []string{"Authorization: LOG OPEN:c2ln", "Authorization: AWS4-HMAC-SHA256 Credential=CLOSED/20261102/r/s3/aws4_request, SignedHeaders=host, Signature=00"}},
	{"Authorization joined by a comma", "/", []string{"Authorization: OSS OPEN:c2ln, OSS CLOSED:c2ln"}},
	{"Authorization joined by a comma without a space", "/", []string{"Authorization: OSS OPEN:c2ln,acs CLOSED:c2ln"}},
	{"Authorization joined, id and signature behind parameters", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Signature=00,OSS CLOSED:c2ln"}},
	{"Authorization joined, parameters behind id and signature", "/", []string{"Authorization: OSS OPEN:c2ln, ACS3-HMAC-SHA256 Credential=CLOSED,Signature=00"}},
	{"Authorization joined behind a foreign scheme", "/?AccessKeyId=OPEN", []string{"Authorization: Bearer abc, OSS CLOSED:c2ln"}},
	{"OTS header twice", "/", []string{"x-ots-accesskeyid: OPEN", "X-Ots-AccessKeyId: CLOSED"}},
	{"OTS header joined", "/", []string{"x-ots-accesskeyid: OPEN, CLOSED"}},
	// two credentials in one Authorization value
	{"Credential twice", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Credential=CLOSED,Signature=00"}},
	{"Credential twice, in other case", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,credential=CLOSED,Signature=00"}},
	{"Credential twice, the second with spaces in the name", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Cred ential = CLOSED,Signature=00"}},
	{"Credential twice, the second glued to the word", "/", []string{"Authorization: AWS4-HMAC-SHA256Credential=CLOSED/20261102/r/s3/aws4_request,Credential=OPEN/20261102/r/s3/aws4_request"}},
	{"Credential twice, the second behind any byte", "/", []string{"Authorization: AWS4-HMAC-SHA256xCredential=CLOSED/20261102/r/s3/aws4_request,Credential=OPEN/20261102/r/s3/aws4_request"}},
	{"AccessKeyId twice in OSS V2", "/", []string{"Authorization: OSS2 AccessKeyId:OPEN,AccessKeyId:CLOSED,Signature:c2ln"}},
}

// The same, but what hides CLOSED makes its place unreadable, whatever else is
// claimed: only some services take that name for the one that it is alike.
var disguises = []headerCase{
	{"a Kelvin sign for K", "/?AccessKeyId=OPEN&Access%E2%84%AAeyId=CLOSED", nil},
	{"a Kelvin sign for K, not encoded", "/?AccessKeyId=OPEN&Access\u212aeyId=CLOSED", nil},
	{"a Kelvin sign for K, half encoded", "/?AccessKeyId=OPEN&Access\xe2%84\xaaeyId=CLOSED", nil},
	{"a long s for s", "/?AccessKeyId=OPEN&Acce%C5%BF%C5%BFKeyId=CLOSED", nil},
	{"long s and Kelvin sign in another parameter", "/o?OSSAccessKeyId=OPEN&x-o%c5%bf%c5%bf-acce%c5%bf%c5%bf-%e2%84%aaey-id=CLOSED", nil},
	{"a no-break space behind the name", "/?AccessKeyId=OPEN&AccessKeyId%C2%A0=CLOSED", nil},
	{"a no-break space of Latin-1 behind the name", "/?AccessKeyId=OPEN&AccessKeyId%A0=CLOSED", nil},
	{"a no-break space before the name", "/?AccessKeyId=OPEN&%C2%A0AccessKeyId=CLOSED", nil},
	{"a byte order mark before the name", "/?AccessKeyId=OPEN&%EF%BB%BFAccessKeyId=CLOSED", nil},
	{"a zero width space in the name", "/?AccessKeyId=OPEN&Access%E2%80%8BKeyId=CLOSED", nil},
	{"an ideographic space before an encoded '='", "/?AccessKeyId=OPEN&AccessKeyId%E3%80%80%3DCLOSED", nil},
	{"half a character at the end of the name", "/?AccessKeyId=OPEN&AccessKeyId%E2%84=CLOSED", nil},
	{"a no-break space behind Credential", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Credential\xa0=CLOSED,Signature=00"}},
	{"a no-break space, in UTF-8, behind Credential", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Credential\u00a0=CLOSED,Signature=00"}},
	{"a long s and a Kelvin sign in AccessKeyId", "/", []string{"Authorization: OSS2 AccessKeyId:OPEN,Acce\u017f\u017f\u212aeyId:CLOSED,Signature:c2ln"}},
	{"a long s in the word of a scheme", "/?AccessKeyId=OPEN", []string{"Authorization: O\u017fS CLOSED:c2ln"}},
	{"a long s first in the word of a scheme", "/?AccessKeyId=OPEN", []string{"Authorization: \u017fLS CLOSED:c2ln"}},
	{"a long s in the word of a newer scheme", "/?AccessKeyId=OPEN", []string{"Authorization: AW\u017f4-HMAC-SHA256 Credential=CLOSED/20261102/r/s3/aws4_request,Signature=00"}},
	{"a dotless i for i, which Java takes for the same", "/?AccessKeyId=OPEN&AccessKey%C4%B1d=CLOSED", nil},
	{"a dotted capital I for i", "/?AccessKeyId=OPEN&AccessKey\u0130d=CLOSED", nil},
	{"a dotless i in another parameter", "/?X-Amz-Credent%C4%B1al=CLOSED", nil},
	{"a dotless i in Credential", "/", []string{"Authorization: ACS3-HMAC-SHA256 Credential=OPEN,Credent\u0131al=CLOSED,Signature=00"}},
	{"an encoded equals sign in the id, at which some cut after decoding", "/?AccessKeyId=CLOSED%3Dx", nil},
	{"the same behind an encoded one", "/?AccessKeyId%3DCLOSED%3Dx", nil},
	{"the same in a credential with a scope", "/?x-oss-credential=CLOSED%3Dx%2F20261102%2Fr%2Foss%2Faliyun_v4_request", nil},
	{"a sharp s for ss", "/?AccessKeyId=OPEN&Acce%C3%9FKeyId=CLOSED", nil},
	{"a sharp s of Latin-1 for ss", "/?AccessKeyId=OPEN&Acce\xdfKeyId=CLOSED", nil},
	{"a sharp s in a short name, without a value", "/?AccessKeyId=OPEN&Acce\xdfKeyId", nil},
	{"a sharp s in the word of a scheme", "/?AccessKeyId=OPEN", []string{"Authorization: O\xdf CLOSED:c2ln"}},
	{"a sharp s of Unicode in the word of a scheme", "/?AccessKeyId=OPEN", []string{"Authorization: O\u1e9e CLOSED:c2ln"}},
	{"a long s in the word, a no-break space behind it", "/?AccessKeyId=OPEN", []string{"Authorization: O\u017fS\u00a0CLOSED:c2ln"}},
	{"a sharp s in a word behind a no-break space", "/?AccessKeyId=OPEN", []string{"Authorization: \u00a0 O\xdf CLOSED:c2ln"}},
	{"an accent", "/?AccessKeyId=OPEN&%C3%84ccessKeyId=CLOSED", nil},
	{"not encoded no-break space before the name", "/?AccessKeyId=OPEN&\u00a0AccessKeyId=CLOSED", nil},
	{"a bad escape before the name", "/?AccessKeyId=OPEN&%z1AccessKeyId=CLOSED", nil},
	{"a bad escape of three bytes before the name", "/?AccessKeyId=OPEN&%1zAccessKeyId=CLOSED", nil},
	{"a bad escape behind the name", "/?AccessKeyId=OPEN&AccessKeyId%=CLOSED", nil},
	{"a cut escape behind the name", "/?AccessKeyId=OPEN&AccessKeyId%1=CLOSED", nil},
	{"a bad escape in the name", "/?AccessKeyId=OPEN&Acces%sKeyId=CLOSED", nil},
	{"a bad escape of three bytes in the name", "/?AccessKeyId=OPEN&Access%4zKeyId=CLOSED", nil},
	{"an escape of JavaScript's", "/?AccessKeyId=OPEN&%u0041ccessKeyId=CLOSED", nil},
	{"a zero byte behind the name", "/?AccessKeyId=OPEN&AccessKeyId%00x=CLOSED", nil},
	{"a zero byte before the name", "/?%00AccessKeyId%7F=CLOSED", nil},
	{"the name of an array", "/?AccessKeyId=OPEN&AccessKeyId[]=CLOSED", nil},
	{"a name in brackets", "/?AccessKeyId=OPEN&[AccessKeyId]=CLOSED", nil},
	{"a name in brackets, encoded", "/?%5BAccessKeyId%5D=CLOSED", nil},
	{"brackets before the name", "/?AccessKeyId=OPEN&[]AccessKeyId=CLOSED", nil},
	{"a bracket before the name", "/?AccessKeyId=OPEN&]AccessKeyId=CLOSED", nil},
	{"a bracket behind the name", "/?AccessKeyId=OPEN&AccessKeyId]=CLOSED", nil},
	{"the name of an array in brackets, with a long index", "/?AccessKeyId=OPEN&[AccessKeyId][a-long-name-that-stands-behind]=CLOSED", nil},
	{"a bracket and a dotless i", "/?AccessKeyId=OPEN&AccessKey\u0131d[0]=CLOSED", nil},
	{"an escape of JavaScript's for ss", "/?AccessKeyId=OPEN&Acce%u00DFKeyId=CLOSED", nil},
	{"more odd names than are looked at", "/?AccessKeyId=OPEN&" + strings.Repeat("%sssse%s%c%%e&", 300), nil},
	{"the name of an array, encoded", "/?AccessKeyId=OPEN&AccessKeyId%5B0%5D=CLOSED", nil},
	{"underscores in a header of an id", "/?AccessKeyId=OPEN", []string{"x_ots_accesskeyid: CLOSED"}},
	{"an underscore in another, in other case", "/", []string{"x-ots-accesskeyid: OPEN", "X-Acs_AccessKey-Id: CLOSED"}},
	{"underscores and nothing else", "/", []string{"X_ACS_ACCESSKEY_ID: CLOSED"}},
	{"other marks in a header of an id", "/?AccessKeyId=OPEN", []string{"x.ots.accesskeyid: CLOSED"}},
	{"other marks in another", "/", []string{"x-ots-accesskeyid: OPEN", "x!acs~accesskey+id: CLOSED"}},
}

func TestTwoDifferentIdsAreAmbiguousWhateverHidesTheSecond(t *testing.T) {
	for _, c := range attacks {
		t.Run(c.name, func(t *testing.T) {
			claim, outcome := find(c.target, c.headers...)
			require.Equal(t, credential.Ambiguous, outcome)
			require.Zero(t, claim, "nobody should be tempted to judge one of the two")
		})
	}
}

func TestTheSameIdInTwoPlacesIsOneClaim(t *testing.T) {
	for _, c := range attacks {
		t.Run(c.name, func(t *testing.T) {
			same := strings.NewReplacer("CLOSED", "OPEN")
			headers := make([]string, len(c.headers))
			for i, h := range c.headers {
				headers[i] = same.Replace(h)
			}
			claim, outcome := find(same.Replace(c.target), headers...)
			require.Equal(t, credential.One, outcome)
			require.Equal(t, open, claim.AccessKeyID)
		})
	}
}

// Here a service might read CLOSED, or a part of it, out of a place that holds
// something else to other readers: an error, never a claim and never "no key".
func TestAPlaceThatCannotBeReadForSureIsUnreadable(t *testing.T) {
	authorization := func(value string) headerCase { return headerCase{value, "/", []string{"Authorization: " + value}} }
	query := func(query string) headerCase { return headerCase{query, "/?" + query, nil} }
	for _, c := range append([]headerCase{
		// nothing where the id should be
		authorization("acs"),
		authorization("OSS "),
		authorization("LOG :c2ln"),
		authorization("MNS CLOSED"),
		authorization("ACS3-HMAC-SHA256"),
		authorization("ACS3-HMAC-SHA256 SignedHeaders=host,Signature=00"),
		authorization("ACS3-HMAC-SHA256 Credential"),
		authorization("ACS3-HMAC-SHA256 Credential=,Signature=00"),
		authorization("OSS4-HMAC-SHA256 Credential=/20261102/cn-hangzhou/oss/aliyun_v4_request"),
		authorization("OSS2 Signature:c2ln"),
		authorization("OSS2 Credential=CLOSED,Signature=c2ln"),
		authorization("AWS4-HMAC-SHA256, OSS OPEN:c2ln"),
		query("AccessKeyId"),
		query("AccessKeyId="),
		query("X-Amz-Credential=%2F20261102%2Fus-east-1%2Fs3%2Faws4_request"),
		{"an empty OTS header", "/", []string{"x-ots-accesskeyid: "}},
		{"an OTS header of commas", "/", []string{"x-ots-accesskeyid: , ,"}},
		{"an empty id header of the V3 SDKs", "/", []string{"x-acs-accesskey-id: "}},
		// something else in its place
		authorization("OSS CLO\u00a0SED:c2ln"),
		authorization("OSS\u00a0CLOSED:c2ln"),
		authorization("OSS/CLOSED:c2ln"),
		authorization("OSS=CLOSED:c2ln"),
		authorization("OSS OPEN CLOSED:c2ln"),
		authorization("OSS OPEN:CLOSED:c2ln"),
		authorization("OSS OPEN:c2ln CLOSED:c2ln"),
		authorization("OSS OPEN:c2ln,CLOSED:c2ln"),
		authorization("OSS OPEN:c2ln;OSS CLOSED:c2ln"),
		authorization(`ACS3-HMAC-SHA256 Credential="CLOSED",Signature=00`),
		authorization("ACS3-HMAC-SHA256 Credential=CLOSED SignedHeaders=host Signature=00"),
		authorization("ACS3-HMAC-SHA256 Credential=CLOSED;Signature=00"),
		authorization("ACS3-HMAC-SHA256 Credential=LTAI5t Example0000000002,Signature=00"),
		authorization("ACS3-HMAC-SHA256 Credential=CLOSED=x,Signature=00"),
		authorization("ACS3-HMAC-SHA256 Credential=%4cTAI5tExample0000000002,Signature=00"),
		query("AccessKeyId=OPEN,CLOSED"),
		query("AccessKeyId=CLOSED=x"),
		query("AccessKeyId==CLOSED"),
		query("AccessKeyId=CLOSED%"),
		query("AccessKeyId=CLOSED%4"),
		query("AccessKeyId=CLOSED%zz"),
		query("AccessKeyId=CLOSED%00"),
		query("AccessKeyId=CLOSED%2500"),
		query("AccessKeyId=CLOSED+"),
		query("AccessKeyId=%20CLOSED"),
		query("AccessKeyId=%EF%BC%A1KID"),
		// a scope that a reader who counts from the right cuts elsewhere
		authorization("AWS4-HMAC-SHA256 Credential=OPEN/CLOSED/20261102/us-east-1/s3/aws4_request,Signature=00"),
		authorization("AWS4-ECDSA-P256-SHA256 Credential=OPEN/CLOSED/20261102/s3/aws4_request,Signature=00"),
		authorization("AWS4-HMAC-SHA256 Credential=OPEN/20261102/20261102/us-east-1/s3/aws4_request,Signature=00"),
		authorization("AWS4-HMAC-SHA256 Credential=OPEN/2026110/us-east-1/s3/aws4_request,Signature=00"),
		authorization("AWS4-HMAC-SHA256 Credential=OPEN/,Signature=00"),
		authorization("ODPS OPEN/CLOSED/20261102/cn-hangzhou/odps/aliyun_v4_request:c2ln"),
		query("X-Amz-Credential=OPEN%2FCLOSED%2F20261102%2Fus-east-1%2Fs3%2Faws4_request"),
		query("x-oss-credential=OPEN/CLOSED/20261102/cn-hangzhou/oss/aliyun_v4_request"),
		// a version of a known family that may read its id anywhere
		authorization("ACS5-HMAC-SHA256 Credential=OPEN,Signature=00"),
		authorization("OSS3 OPEN:c2ln"),
		authorization("AWS3-HTTPS AWSAccessKeyId=OPEN,Algorithm=HmacSHA256,Signature=c2ln"),
		authorization("ACS33-HMAC-SHA256 Credential=OPEN,Signature=00"),
		authorization("LOG4 OPEN:c2ln"),
	}, disguises...) {
		t.Run(c.name, func(t *testing.T) {
			claim, outcome := find(c.target, c.headers...)
			require.Equal(t, credential.Unreadable, outcome)
			require.Empty(t, claim.AccessKeyID)
			require.NotEqual(t, credential.Nowhere, claim.Place)

			// A readable claim beside it changes nothing, the same nor another.
			for _, id := range []string{"OPEN", "CLOSED"} {
				_, outcome = find(c.target, append(c.headers[:len(c.headers):len(c.headers)], "Authorization: MNS "+id+":c2ln", "x-ots-accesskeyid: OPEN")...)
				require.Equal(t, credential.Unreadable, outcome)
			}
		})
	}
}

func TestUnreadableTellsWhereToLook(t *testing.T) {
	claim, outcome := find("/?AccessKeyId=a%20b&x-oss-credential=", "x-ots-accesskeyid: a b")
	require.Equal(t, credential.Unreadable, outcome)
	require.Equal(t, credential.Claim{Scheme: credential.SchemeOTS, Place: credential.HeaderOTSAccessKeyID}, claim)

	claim, _ = find("/", "Authorization: AWS4-HMAC-SHA256, OSS OPEN:c2ln")
	require.Equal(t, credential.Claim{Scheme: credential.SchemeAWS4, Place: credential.HeaderAuthorization}, claim)

	claim, _ = find("/?AccessKeyId=OPEN", "Authorization: ACS9-HMAC-SHA256 Credential=OPEN")
	require.Equal(t, credential.Claim{Scheme: credential.SchemeUnknown, Place: credential.HeaderAuthorization}, claim)
}

func TestWhatAServiceMightStillAcceptIsAClaim(t *testing.T) {
	for _, value := range []string{
		"oss CLOSED:c2ln",
		"Oss CLOSED:c2ln",
		"  OSS CLOSED:c2ln",
		"\u00a0OSS CLOSED:c2ln",
		"\ufeffOSS CLOSED:c2ln",
		`"OSS CLOSED:c2ln`,
		"OSS\tCLOSED:c2ln",
		"OSS\r\n\vCLOSED\x7f:c2ln",
		"OSS   CLOSED : c2ln ",
		"OSS CLOSED:",
		", OSS CLOSED:c2ln,",
		"acs CLOSED:c2ln",
		"ACS CLOSED:c2ln",
		"SLS CLOSED:c2ln",
		"acs3-hmac-sha256 credential=CLOSED,signature=00",
		"ACS3-HMAC-SHA256 Credential=CLOSED",
		"ACS3-HMAC-SHA256\tCredential = CLOSED , Signature = 00",
		"ACS3-HMAC-SHA256 Credential:CLOSED",
		"ACS3-HMAC-SHA256 SignedHeaders=host,Signature=00,Credential=CLOSED",
		"ACS3-RSA-SHA256 Credential=CLOSED,Signature=00",
		"ACS3 Credential=CLOSED",
		"OSS2 accesskeyid=CLOSED,signature=c2ln",
		"AWS4-HMAC-SHA256 Credential=CLOSED/20261102/r/s3/aws4_request,SignedHeaders=host,Signature=00",
		"AWS4-HMAC-SHA256 Credential=CLOSED/20261102/r/s3/aws4_request SignedHeaders=host Signature=00",
		"AWS4-HMAC-SHA256 Credential=CLOSED/20261102/r/s3/aws4_request;SignedHeaders=host",
		"AWS4-HMAC-SHA256 xCredential=CLOSED/20261102/r/s3/aws4_request",
		"AWS4-HMAC-SHA256 credcredential=CLOSED/20261102/r/s3/aws4_request",
		"AWS4-HMAC-SHA256 Credential=CLOSED",
		"Bearer abc, OSS CLOSED:c2ln",
		"OSS CLOSED:c2ln, Bearer abc",
	} {
		t.Run(value, func(t *testing.T) {
			claim, outcome := find("/", "Authorization: "+value)
			require.Equal(t, credential.One, outcome)
			require.Equal(t, closed, claim.AccessKeyID)
			require.Equal(t, credential.HeaderAuthorization, claim.Place)
		})
	}
	for _, target := range []string{
		"/?AccessKeyId=CLOSED", // without a Signature, too: it may be in the body
		"?AccessKeyId=CLOSED",
		"*?AccessKeyId=CLOSED",
		"//?AccessKeyId=CLOSED",
		"/?&&AccessKeyId=CLOSED&&",
		"/?=&AccessKeyId=CLOSED",
		"/?accesskeyid=CLOSED",
		"/?ACCESSKEYID=CLOSED",
		"/?%41ccessKeyId=CLOSED",
		"/?AccessKeyI%64=CLOSED",
		"/?%01AccessKeyId%7F=CLOSED",
		"/?AccessKeyId%3dCLOSED",
		"/?AccessKeyId=%4cTAI5tExample%3000000000%32",
		"/?AccessKeyId=CLOSED#fragment",
		"/?AccessKeyId=CLOSED;jsessionid=1",
		"/?AccessKeyId=CLOSED/20261102/a/b/c",
		"/?OSSAccessKeyID=CLOSED",
		"/?awsaccesskeyid=CLOSED",
		"/?x-amz-credential=CLOSED%2f20261102%2fr%2fs3%2faws4_request",
		"/?X-OSS-Credential=CLOSED",
		"/#?AccessKeyId=CLOSED",
		"http://ecs.aliyuncs.com/?AccessKeyId=CLOSED",
		"http://ecs.aliyuncs.com?AccessKeyId=CLOSED",
	} {
		t.Run(target, func(t *testing.T) {
			claim, outcome := find(target)
			require.Equal(t, credential.One, outcome)
			require.Equal(t, closed, claim.AccessKeyID)
			require.True(t, claim.Place.InQuery())
		})
	}
	for _, value := range []string{"CLOSED", " CLOSED\t", "CLOSED, CLOSED", ",CLOSED,"} {
		t.Run("x-ots-accesskeyid: "+value, func(t *testing.T) {
			claim, outcome := find("/", "X-OTS-ACCESSKEYID: "+value)
			require.Equal(t, credential.One, outcome)
			require.Equal(t, closed, claim.AccessKeyID)
		})
	}
}

func TestOrdinaryRequestsClaimNothing(t *testing.T) {
	for _, c := range []headerCase{
		{"no query and no header", "/", nil},
		{"no target at all", "", nil},
		{"a query of nothing", "/?", nil},
		{"a query of separators", "/?&;?#=", nil},
		{"other parameters", "/?Action=DescribeRegions&a=&x&x-oss-process=image/resize,w_100&x-amz-acl=private", nil},
		{"names that hold a name", "/?UserAccessKeyId=CLOSED&AccessKeyIds=CLOSED&MyX-Amz-Credential=CLOSED", nil},
		{"names that a name starts", "/?AccessKey=CLOSED&AccessKeyId.1=CLOSED&x-oss-cred=CLOSED", nil},
		{"names beyond ASCII", "/?%E5%90%8D%E7%A7%B0=CLOSED&\u540d\u79f0=CLOSED&%C2%A0=CLOSED&%E2%84%AAey=CLOSED&AccessKeyIds%C3%A4=CLOSED&%C3%84rger=CLOSED&a%C3%A9roport=CLOSED&Acc%C3%A8s=CLOSED", nil},
		{"many arrays", "/?" + strings.Repeat("attendees[0]=CLOSED&", 300), nil},
		{"names with a bad escape", "/?%z1Access=CLOSED&100%=CLOSED&AccessKeyId.%1=CLOSED&order[0]=CLOSED&AccessKeys[AccessKeyId]=CLOSED&AccessKeyIds[0]=CLOSED&a%00b=CLOSED", nil},
		{"a signature without an id", "/?Signature=c2ln&SignatureNonce=1", nil},
		{"a name as a value", "/?Key=AccessKeyId&Value=CLOSED", nil},
		{"a presigned URL inside a value", "/?ImageURL=https%3A%2F%2Fb.oss-cn-hangzhou.aliyuncs.com%2Fo%3FOSSAccessKeyId%3DCLOSED%26Expires%3D1", nil},
		{"an id in the path", "/AccessKeyId=CLOSED;AccessKeyId=CLOSED", nil},
		{"a question mark encoded in the path", "/what%3FAccessKeyId=CLOSED", nil},
		{"a fragment without a query", "/#AccessKeyId=CLOSED", nil},
		{"an empty Authorization", "/", []string{"Authorization: "}},
		{"Bearer", "/", []string{"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln"}},
		{"Basic", "/", []string{"Authorization: Basic dXNlcjpwYXNzd29yZA=="}},
		{"Digest", "/", []string{`Authorization: Digest username="Mufasa", realm="http-auth@example.org", uri="/dir/index.html", algorithm=MD5, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", nc=00000001, cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", qop=auth, response="8ca523f5e9506fed4657c9700eebdbec", opaque="acs"`}},
		{"OAuth 1", "/", []string{`Authorization: OAuth realm="Photos", oauth_consumer_key="dpf43f3p2l4k3l03", oauth_signature="74KNZJeDHnMBp0EMJ9ZHt%2FXKycU%3D"`}},
		{"HTTP message signatures", "/", []string{`Authorization: Signature keyId="rsa-key-1",algorithm="hs2019",headers="(request-target) host date",signature="Base64(RSA-SHA512(signing string))"`}},
		{"Negotiate", "/", []string{"Authorization: Negotiate YIIJvwYGKwYBBQUCoIIJszCCCa+gJDAi"}},
		{"words that start like a scheme", "/", []string{"Authorization: Login abc:def", "Authorization: OSS-Token abc:def", "Authorization: awsome a:b", "Authorization: ACS_JWT a:b", "Authorization: Logger a:b", "Authorization: datahubs a:b"}},
		{"words beyond ASCII", "/", []string{"Authorization: Gr\u00fc\u00dfe CLOSED:c2ln", "Authorization: LO\u017fE CLOSED:c2ln", `Authorization: Digest realm="Santa, F\u00e9"`, `Authorization: Digest realm="x, l\u00e0", nonce="Lisboa, S\u00e9"`, "Authorization: \u540d CLOSED:c2ln"}},
		{"words that a scheme ends", "/", []string{"Authorization: XOSS CLOSED:c2ln", "Authorization: 4AWS CLOSED:c2ln"}},
		{"another cloud", "/", []string{"Authorization: TC3-HMAC-SHA256 Credential=AKIDEXAMPLE/2026-11-02/cvm/tc3_request, SignedHeaders=host, Signature=00"}},
		{"other headers", "/", []string{"x-acs-signature-nonce: 1", "x-ots-instancename: i", "Proxy-Authorization: OSS CLOSED:c2ln", "x-ots-accesskeyids: CLOSED", "x_ots_instancename: i", "authorisation.: OSS CLOSED:c2ln"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim, outcome := find(c.target, c.headers...)
			require.Equal(t, credential.None, outcome)
			require.Zero(t, claim)
		})
	}
}

func TestAnIdMayHave128Bytes(t *testing.T) {
	longest, tooLong := strings.Repeat("a", abi.MaxAccessKeyID), strings.Repeat("a", abi.MaxAccessKeyID+1)
	encoded := func(id string) string { return strings.ReplaceAll(id, "a", "%61") }
	for name, request := range map[string]func(id string) (string, []string){
		"query":           func(id string) (string, []string) { return "/?AccessKeyId=" + id, nil },
		"encoded query":   func(id string) (string, []string) { return "/?AccessKeyId=" + encoded(id), nil },
		"encoded scope":   func(id string) (string, []string) { return "/?x-oss-credential=" + encoded(id) + "%2f20261102", nil },
		"header":          func(id string) (string, []string) { return "/", []string{"x-ots-accesskeyid: " + id} },
		"id:signature":    func(id string) (string, []string) { return "/", []string{"Authorization: OSS " + id + ":c2ln"} },
		"with parameters": func(id string) (string, []string) { return "/", []string{"Authorization: ACS3-X Credential=" + id} },
	} {
		t.Run(name, func(t *testing.T) {
			target, headers := request(longest)
			claim, outcome := find(target, headers...)
			require.Equal(t, credential.One, outcome)
			require.Equal(t, longest, claim.AccessKeyID)

			target, headers = request(tooLong)
			_, outcome = find(target, headers...)
			require.Equal(t, credential.Unreadable, outcome)
		})
	}
}

func TestTheMarksOfAnIdAreReadInEveryPlace(t *testing.T) {
	const marks = "AZaz09._-"
	for name, c := range map[string]struct{ target, header string }{
		"encoded query": {"/?AccessKeyId=AZaz09.%5F-", "x: y"},
		"header":        {"/", "x-ots-accesskeyid: " + marks},
		"id:signature":  {"/", "Authorization: AWS " + marks + ":c2ln"},
	} {
		t.Run(name, func(t *testing.T) {
			claim, outcome := find(c.target, c.header)
			require.Equal(t, credential.One, outcome)
			require.Equal(t, marks, claim.AccessKeyID)
		})
	}
	claim, outcome := find("/", "x-ots-accesskeyid: a=b", "Authorization: AWS a=b:c2ln")
	require.Equal(t, credential.One, outcome)
	require.Equal(t, "a=b", claim.AccessKeyID, "an equals sign, where nothing is cut at one")
}

func TestOfEqualIdsTheFirstPlaceIsReportedWhateverTheOrder(t *testing.T) {
	ots, v3, oss := "x-ots-accesskeyid: OPEN", "Authorization: ACS3-HMAC-SHA256 Credential=OPEN", "Authorization: OSS OPEN:c2ln"
	want := credential.Claim{AccessKeyID: open, Scheme: credential.SchemeACS3, Place: credential.HeaderAuthorization}
	for _, order := range [][]string{{ots, v3, oss}, {oss, v3, ots}, {v3, ots, oss}, {oss, ots, v3}} {
		claim, outcome := find("/?AccessKeyId=OPEN", order...)
		require.Equal(t, credential.One, outcome)
		require.Equal(t, want, claim)
	}
}

func TestAFinderTakesThePartsInAnyOrder(t *testing.T) {
	var f credential.Finder
	_, outcome := f.Result()
	require.Equal(t, credential.None, outcome)

	f.Header("authorization", "OSS "+open+":c2ln")
	claim, outcome := f.Result()
	require.Equal(t, credential.One, outcome)
	require.Equal(t, open, claim.AccessKeyID)

	f.Target("/?AccessKeyId=" + closed)
	_, outcome = f.Result()
	require.Equal(t, credential.Ambiguous, outcome)

	f.Header("x-ots-accesskeyid", "")
	_, outcome = f.Result()
	require.Equal(t, credential.Unreadable, outcome)
}

func TestHostileLengthIsReadInOnePass(t *testing.T) {
	// Read in quadratic time, each of these would take minutes.
	const size = 2 << 20
	many := func(s string) string { return strings.Repeat(s, size/len(s)) }
	for _, c := range []struct {
		target, authorization string
		want                  credential.Outcome
	}{
		{"/", many(","), credential.None},
		{"/", many(" "), credential.None},
		{"/", many("a"), credential.None},
		{"/", many("=:"), credential.None},
		{"/", many("ACS3,"), credential.Unreadable},
		{"/", many("OSS OPEN:c2ln,"), credential.One},
		{"/", "OSS " + many(":"), credential.Unreadable},
		{"/", "ACS3 " + many("Credential="), credential.Unreadable},
		{"/", "ACS3 " + many("Credential=OPEN/20261102"), credential.Unreadable},
		{"/", "ACS3 " + many("Credential:OPEN "), credential.Unreadable},
		{"/", "ACS3 " + many("Credential=OPEN,"), credential.One},
		{"/", "ACS3 Credential=OPEN," + many("l     ="), credential.One},
		{"/", "ACS3 Credential=OPEN," + many("credential"), credential.One},
		{"/", "ACS3 Credentia l" + many(" ") + "=OPEN", credential.One},
		{"/?" + many("&"), "", credential.None},
		{"/?" + many("%"), "", credential.None},
		{"/?" + many("%E2%84%AA"), "", credential.None},
		{"/?AccessKeyId" + many("\xa0") + "=OPEN", "", credential.Unreadable},
		{"/", many("\u212a"), credential.None},
		{"/", "ACS3 Credential=OPEN," + many("dl\xa0\xa0\xa0="), credential.One},
		{"/?" + many("+"), "", credential.None},
		{"/?" + many("a="), "", credential.None},
		{"/?" + many("AccessKeyId=OPEN&"), "", credential.One},
		{"/?" + many("AccessKeyId=%4cTAI5tExample0000000001&"), "", credential.One},
		{"/?" + many("AccessKeyId=&"), "", credential.Unreadable},
		{"/?x-oss-credential=" + many("%2F"), "", credential.Unreadable},
		{"/?x-oss-credential=" + many("x"), "", credential.Unreadable},
	} {
		_, outcome := find(c.target, "Authorization: "+c.authorization)
		require.Equal(t, c.want, outcome, "%.40s %.40s", c.target, c.authorization)
	}
}
