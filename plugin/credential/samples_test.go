package credential_test

import (
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

// The ids of the tests: the caller may use open from here, and closed not.
const (
	open   = "LTAI5tExample0000000001"
	closed = "LTAI5tExample0000000002"
)

// sample is the head of a request as it stands on the wire.
type sample struct {
	name   string
	head   string
	id     string
	scheme credential.Scheme
	place  credential.Place
}

// samples holds at least one request for each scheme and each place, in the
// shape that the clouds document.
var samples = []sample{
	{"RPC in the query", `
GET /?Action=DescribeRegions&Format=JSON&Version=2014-05-26&AccessKeyId=LTAI5tExample0000000001&Signature=OLeaidS1JvxuMvnyHOwuJ%2BuX5qY%3D&SignatureMethod=HMAC-SHA1&SignatureNonce=3ee8c1b8-83d3-44af-a94f-4e0ad82fd6cf&SignatureVersion=1.0&Timestamp=2026-02-23T12%3A46%3A24Z HTTP/1.1
Host: ecs.aliyuncs.com
User-Agent: AlibabaCloud (linux; amd64)`,
		open, credential.SchemeRPC, credential.QueryAccessKeyID},
	{"RPC with a security token", `
POST /?AccessKeyId=STS.Example00000000000001&Action=ListUsers&SecurityToken=CAIS%2FwF1q6Ft5B2yfSjIr5b&Signature=x%3D&SignatureNonce=1&Timestamp=2026-02-23T12%3A46%3A24Z HTTP/1.1
Host: ram.aliyuncs.com`,
		"STS.Example00000000000001", credential.SchemeRPC, credential.QueryAccessKeyID},
	{"ROA", `
GET /clusters HTTP/1.1
Host: cs.aliyuncs.com
Accept: application/json
Authorization: acs LTAI5tExample0000000001:D9uFJAJgLL+dryjBfQK+YeqGtoY=
Date: Mon, 02 Nov 2026 08:00:00 GMT
x-acs-signature-method: HMAC-SHA1
x-acs-signature-nonce: 1324fd0e-e2bb-4bb1-917c-bd6e437f1710
x-acs-signature-version: 1.0`,
		open, credential.SchemeACS, credential.HeaderAuthorization},
	{"V3", `
POST /?ImageId=win2019_1809_x64_dtc_zh-cn_40G_alibase_20230811.vhd&RegionId=cn-shanghai HTTP/1.1
Authorization: ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=06563a9e1b43f5dfe96b81484da74bceab24a1d853912eee15083a6f0f3283c0
x-acs-action: RunInstances
host: ecs.cn-shanghai.aliyuncs.com
x-acs-date: 2026-10-26T09:01:01Z
x-acs-version: 2014-05-26
x-acs-content-sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855
x-acs-signature-nonce: d410180a5abf7fe235dd9b74aca91fc0`,
		open, credential.SchemeACS3, credential.HeaderAuthorization},
	{"V3 with the national hash", `
POST / HTTP/1.1
Authorization: ACS3-HMAC-SM3 Credential=LTAI5tExample0000000001,SignedHeaders=host;x-acs-date,Signature=5d41402abc4b2a76b9719d911017c592
host: kms.cn-hangzhou.aliyuncs.com`,
		open, credential.SchemeACS3, credential.HeaderAuthorization},
	{"V3 with a security token, the id in two places", `
POST / HTTP/1.1
host: ecs.cn-hangzhou.aliyuncs.com
x-acs-accesskey-id: STS.Example00000000000001
x-acs-security-token: CAISexample
Authorization: ACS3-HMAC-SHA256 Credential=STS.Example00000000000001,SignedHeaders=host;x-acs-accesskey-id;x-acs-security-token,Signature=00ff`,
		"STS.Example00000000000001", credential.SchemeACS3, credential.HeaderAuthorization},
	{"the id header of the V3 SDKs alone", `
POST /api/v1/apps HTTP/1.1
host: bailian.cn-beijing.aliyuncs.com
x-acs-accesskey-id: LTAI5tExample0000000001`,
		open, credential.SchemeACS3, credential.HeaderACSAccessKeyID},
	{"V4 of the POP gateway", `
POST / HTTP/1.1
host: esa.cn-hangzhou.aliyuncs.com
Authorization: ACS4-HMAC-SHA256 Credential=LTAI5tExample0000000001/20261102/cn-hangzhou/esa/aliyun_v4_request,SignedHeaders=host;x-acs-date,Signature=00ff`,
		open, credential.SchemeACS4, credential.HeaderAuthorization},
	{"OSS V1", `
PUT /nelson HTTP/1.1
Content-MD5: eB5eJF1ptWaXm4bijSPyxw==
Content-Type: text/html
Date: Thu, 17 Nov 2026 18:49:58 GMT
Host: oss-example.oss-cn-hangzhou.aliyuncs.com
X-OSS-Meta-Author: foo@bar.com
Authorization: OSS LTAI5tExample0000000001:kSHKmLxlyEAKtZPkJhG9bZb5k7M=`,
		open, credential.SchemeOSS, credential.HeaderAuthorization},
	{"OSS V1 URL", `
GET /oss-api.pdf?OSSAccessKeyId=LTAI5tExample0000000001&Expires=1141889120&Signature=EwaNTn1erJGkimiJ9WmXgwnANLc%3D&security-token=CAIS HTTP/1.1
Host: oss-example.oss-cn-hangzhou.aliyuncs.com`,
		open, credential.SchemeOSS, credential.QueryOSSAccessKeyID},
	{"OSS V2", `
PUT /object HTTP/1.1
Host: oss-example.oss-cn-hangzhou.aliyuncs.com
Authorization: OSS2 AccessKeyId:LTAI5tExample0000000001,AdditionalHeaders:content-length;host,Signature:i+KSDYpwZ+HeaTzIpKVkU0pr5Pn6tJ9OcVR3Vj3/hn8=`,
		open, credential.SchemeOSS2, credential.HeaderAuthorization},
	{"OSS V2 URL", `
GET /media.m3u8?x-oss-access-key-id=LTAI5tExample0000000001&x-oss-additional-headers=referer&x-oss-expires=1635728391&x-oss-signature=vtn97WYur6I94eV4Dw2chYSV%2Bp9bErY%3D&x-oss-signature-version=OSS2 HTTP/1.1
Host: oss-example.oss-cn-hangzhou.aliyuncs.com`,
		open, credential.SchemeOSS2, credential.QueryOSSAccessKeyIDV2},
	{"OSS V4", `
PUT /exampleobject HTTP/1.1
Host: examplebucket.oss-cn-hangzhou.aliyuncs.com
Authorization: OSS4-HMAC-SHA256 Credential=LTAI5tExample0000000001/20261203/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=host,Signature=066868da18ba193f7b2ca8d1a3f7e3d5cba1ed9cb86d3f4f4c9d8b6a1e2d3c4b
x-oss-content-sha256: UNSIGNED-PAYLOAD
x-oss-date: 20261203T121212Z`,
		open, credential.SchemeOSS4, credential.HeaderAuthorization},
	{"OSS V4 URL", `
GET /exampleobject?x-oss-signature-version=OSS4-HMAC-SHA256&x-oss-date=20261203T121212Z&x-oss-expires=86400&x-oss-credential=LTAI5tExample0000000001%2F20261203%2Fcn-hangzhou%2Foss%2Faliyun_v4_request&x-oss-signature=2c6c9f10d8950fb150290ef6f42570e33cbde4c3e7bf4f8b4d8d6d8f9d9d0e1f HTTP/1.1
Host: examplebucket.oss-cn-hangzhou.aliyuncs.com`,
		open, credential.SchemeOSS4, credential.QueryOSSCredential},
	{"OSS V4 URL with bare slashes and the misspelt version", `
GET /exampleobject.txt?x-oss-date=20261112T092756Z&x-oss-expires=3599&x-oss-signature-verion=OSS4-HMAC-SHA256&x-oss-credential=LTAI5tExample0000000001/20261112/cn-hangzhou/oss/aliyun_v4_request&x-oss-signature=ed5a HTTP/1.1
Host: examplebucket.oss-cn-hangzhou.aliyuncs.com`,
		open, credential.SchemeOSS4, credential.QueryOSSCredential},
	{"SLS V1", `
GET /logstores?logstoreName=&offset=0&size=1000 HTTP/1.1
Host: ali-test-project.cn-hangzhou.log.aliyuncs.com
Authorization: LOG LTAI5tExample0000000001:jEYOTCJs2e88o+y5F4/S5IsnBJQ=
x-log-apiversion: 0.6.0
x-log-signaturemethod: hmac-sha1`,
		open, credential.SchemeLOG, credential.HeaderAuthorization},
	{"SLS V4", `
POST /logstores HTTP/1.1
Host: ali-test-project.cn-hangzhou.log.aliyuncs.com
Authorization: SLS4-HMAC-SHA256 Credential=LTAI5tExample0000000001/20261108/cn-hangzhou/sls/aliyun_v4_request,Signature=a98f5632e93836e63839cd836a54055f480020a9364ca944e2d34f2eb9bf1bed`,
		open, credential.SchemeSLS4, credential.HeaderAuthorization},
	{"SLS V4 with the time in the scope", `
POST /logstores HTTP/1.1
Host: ali-test-project.cn-shanghai.log.aliyuncs.com
Authorization: SLS4-HMAC-SHA256 Credential=LTAI5tExample0000000001/20261108T014928Z/cn-shanghai/sls/aliyun_v4_request,SignedHeaders=x-log-content-sha256;x-log-date,Signature=9074743df84d12aa71714c238bff987c`,
		open, credential.SchemeSLS4, credential.HeaderAuthorization},
	{"MNS", `
POST /queues/MyQueue/messages HTTP/1.1
Host: 1000000000000001.mns.cn-hangzhou.aliyuncs.com
Authorization: MNS LTAI5tExample0000000001:6+ouwVzzmCPrkuTNqOCMuZQOKRo=
x-mns-version: 2015-06-06`,
		open, credential.SchemeMNS, credential.HeaderAuthorization},
	{"MNS V4", `
PUT /queues/MyQueue HTTP/1.1
Host: 1000000000000001.mns.eu-west-1.aliyuncs.com
Authorization: MNS4-HMAC-SHA256 Credential=LTAI5tExample0000000001/20261124/eu-west-1/mns/aliyun_v4_request,Signature=1fc6013f158d4c3aba09570895a2a93c`,
		open, credential.SchemeMNS4, credential.HeaderAuthorization},
	{"OTS", `
POST /ListTable HTTP/1.1
Host: myinstance.cn-hangzhou.ots.aliyuncs.com
x-ots-accesskeyid: LTAI5tExample0000000001
x-ots-apiversion: 2015-12-31
x-ots-contentmd5: 1B2M2Y8AsgTpgAmY7PhCfg==
x-ots-date: 2026-11-13T10:22:07.000Z
x-ots-instancename: myinstance
x-ots-signature: BHqfBPbXBYVJGfVjkMKnJNdJq8A=`,
		open, credential.SchemeOTS, credential.HeaderOTSAccessKeyID},
	{"MaxCompute", `
GET /api/projects/example HTTP/1.1
Host: service.cn-hangzhou.maxcompute.aliyun.com
Authorization: ODPS LTAI5tExample0000000001:n8xkQbFYZd5uUcLmoPDPG3X4Y0o=`,
		open, credential.SchemeODPS, credential.HeaderAuthorization},
	{"MaxCompute with a scope", `
GET /api/projects/example HTTP/1.1
Host: service.cn-hangzhou.maxcompute.aliyun.com
Authorization: ODPS LTAI5tExample0000000001/20261102/cn-hangzhou/odps/aliyun_v4_request:n8xkQbFYZd5uUcLmoPDPG3X4Y0o=`,
		open, credential.SchemeODPS, credential.HeaderAuthorization},
	{"DataHub", `
GET /projects HTTP/1.1
Host: dh-cn-hangzhou.aliyuncs.com
Authorization: DATAHUB LTAI5tExample0000000001:n8xkQbFYZd5uUcLmoPDPG3X4Y0o=`,
		open, credential.SchemeDataHub, credential.HeaderAuthorization},
	{"Function Compute", `
GET /2016-08-15/services HTTP/1.1
Host: 1000000000000001.cn-hangzhou.fc.aliyuncs.com
Authorization: FC LTAI5tExample0000000001:eoyUIDnxIBHQBkHzYqNMgzRFqDyFL1kEUcj0GeLh5hA=`,
		open, credential.SchemeFC, credential.HeaderAuthorization},
	{"AWS Signature Version 2", `
GET /photos/puppy.jpg HTTP/1.1
Host: awsexamplebucket1.us-west-1.s3.amazonaws.com
Date: Tue, 27 Mar 2007 19:36:42 +0000
Authorization: AWS AKIAIOSFODNN7EXAMPLE:qgk2+6Sv9/oM7G3qLEjTH1a1l1g=`,
		"AKIAIOSFODNN7EXAMPLE", credential.SchemeAWS, credential.HeaderAuthorization},
	{"AWS Signature Version 2 URL", `
GET /photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620 HTTP/1.1
Host: awsexamplebucket1.us-west-1.s3.amazonaws.com`,
		"AKIAIOSFODNN7EXAMPLE", credential.SchemeAWS, credential.QueryAWSAccessKeyID},
	{"AWS Signature Version 4", `
GET /?Action=ListUsers&Version=2010-05-08 HTTP/1.1
Host: iam.amazonaws.com
X-Amz-Date: 20150830T123600Z
Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20150830/us-east-1/iam/aws4_request, SignedHeaders=content-type;host;x-amz-date, Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7`,
		"AKIAIOSFODNN7EXAMPLE", credential.SchemeAWS4, credential.HeaderAuthorization},
	{"AWS Signature Version 4A, without a region", `
GET / HTTP/1.1
Host: mrap.accesspoint.s3-global.amazonaws.com
X-Amz-Region-Set: *
Authorization: AWS4-ECDSA-P256-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20150830/s3/aws4_request, SignedHeaders=host;x-amz-date;x-amz-region-set, Signature=3045022031b9`,
		"AKIAIOSFODNN7EXAMPLE", credential.SchemeAWS4, credential.HeaderAuthorization},
	{"AWS Signature Version 4 URL", `
GET /test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404 HTTP/1.1
Host: examplebucket.s3.amazonaws.com`,
		"AKIAIOSFODNN7EXAMPLE", credential.SchemeAWS4, credential.QueryAmazonCredential},
}

// parse splits the head of a request into what Find takes.
func (s sample) parse() (target string, headers []abi.HTTPHeader) {
	lines := strings.Split(strings.TrimPrefix(s.head, "\n"), "\n")
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ":")
		headers = append(headers, abi.HTTPHeader{Name: name, Value: strings.TrimSpace(value)})
	}
	return strings.Fields(lines[0])[1], headers
}

func TestEachSchemeIsReadInTheShapeThatItsDocumentationGives(t *testing.T) {
	for _, s := range samples {
		t.Run(s.name, func(t *testing.T) {
			claim, outcome := credential.Find(s.parse())
			require.Equal(t, credential.One, outcome)
			require.Equal(t, credential.Claim{AccessKeyID: s.id, Scheme: s.scheme, Place: s.place}, claim)
		})
	}
}

func TestEverySchemeAndPlaceHasASampleAndARowInTheREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	schemes, places := map[credential.Scheme]bool{}, map[credential.Place]bool{}
	for _, s := range samples {
		schemes[s.scheme], places[s.place] = true, true
	}
	for s := credential.SchemeRPC; !strings.HasPrefix(s.String(), "Scheme("); s++ {
		require.True(t, schemes[s], "no sample of %s", s)
		require.Contains(t, string(readme), "| "+s.String()+" |")
	}
	for p := credential.HeaderAuthorization; !strings.HasPrefix(p.String(), "Place("); p++ {
		require.True(t, places[p], "no sample of %s", p)
		require.Contains(t, string(readme), "`"+p.Name()+"`")
	}
}

func TestASampleNeedsOnlyTheHeadersThatHeaderNamesLists(t *testing.T) {
	forwarded := map[string]bool{}
	for _, name := range credential.HeaderNames() {
		require.Equal(t, strings.ToLower(name), name)
		forwarded[name] = true
	}
	for _, s := range samples {
		target, headers := s.parse()
		want, _ := credential.Find(target, headers)
		var kept []abi.HTTPHeader
		for _, h := range headers {
			if forwarded[strings.ToLower(h.Name)] {
				kept = append(kept, h)
			}
		}
		claim, outcome := credential.Find(target, kept)
		require.Equal(t, credential.One, outcome, s.name)
		require.Equal(t, want, claim, s.name)
	}
}

func TestEnumsPrintTheirNames(t *testing.T) {
	require.Equal(t, "One", credential.One.String())
	require.Equal(t, "Outcome(9)", credential.Outcome(9).String())
	require.Equal(t, "ACS3", credential.SchemeACS3.String())
	require.Equal(t, "Scheme(200)", credential.Scheme(200).String())
	require.Equal(t, "query x-oss-credential", credential.QueryOSSCredential.String())
	require.Equal(t, "header authorization", credential.HeaderAuthorization.String())
	require.Equal(t, "nowhere", credential.Nowhere.String())
	require.Equal(t, "Place(200)", credential.Place(200).String())
	require.Empty(t, credential.Place(200).Name())
	require.True(t, credential.QueryAccessKeyID.InQuery())
	require.False(t, credential.HeaderAuthorization.InQuery())
	require.False(t, credential.Place(200).InQuery())
	require.Equal(t, credential.Unreadable, credential.Outcome(0), "an outcome that nobody set must refuse")
}

func TestThePackageStaysSmallEnoughForTheGuest(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		require.NoError(t, err)
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			require.Contains(t, []string{"math/bits", "strings", "strconv", "unicode/utf8", "github.com/keymoat/keymoat/abi"}, path, name)
		}
	}
}
