package credential

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// plainValues are values that plain has to read, with the id and the scheme that
// they claim, and near misses of it that may be left to the reader of all spellings.
var plainValues = []struct {
	value, id string
	scheme    Scheme
}{
	{"ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host;x-acs-action,Signature=00ff", "LTAI5tExample0000000001", SchemeACS3},
	{"OSS4-HMAC-SHA256 Credential=LTAI5tExample0000000001/20261102/cn-hangzhou/oss/aliyun_v4_request,AdditionalHeaders=host,Signature=00ff", "LTAI5tExample0000000001", SchemeOSS4},
	{"SLS4-HMAC-SHA256 Credential=STS.Example00000000000001/20261102/cn-hangzhou/sls/aliyun_v4_request,Signature=00ff", "STS.Example00000000000001", SchemeSLS4},
	{"AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE000000001/20261102/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-date, Signature=00ff", "AKIAEXAMPLE000000001", SchemeAWS4},
	{"acs LTAI5tExample0000000001:D9uFJAJgLL+dryjBfQK+YeqGtoY=", "LTAI5tExample0000000001", SchemeACS},
	{"OSS LTAI5tExample0000000001:D9uFJAJgLL+dryjBfQK+YeqGtoY=", "LTAI5tExample0000000001", SchemeOSS},
	{"LOG LTAI5tExample0000000001:D9uFJAJgLL+dryjBfQK+YeqGtg==", "LTAI5tExample0000000001", SchemeLOG},
	{"MNS LTAI5tExample0000000001:D9uFJAJgLL+dryjBfQK+YeqGtoY=", "LTAI5tExample0000000001", SchemeMNS},
	{"AWS AKIAEXAMPLE000000001:D9uFJAJgLL+dryjBfQK+YeqGtoY=", "AKIAEXAMPLE000000001", SchemeAWS},
}

func TestWhatTheSDKsWriteIsReadTheShortWay(t *testing.T) {
	for _, v := range plainValues {
		var f Finder
		require.True(t, f.plain(v.value), v.value)
		claim, outcome := f.Result()
		require.Equal(t, One, outcome)
		require.Equal(t, Claim{v.id, v.scheme, HeaderAuthorization}, claim)
	}
}

func TestWhatMayHideASecondIdIsNotReadTheShortWay(t *testing.T) {
	for _, v := range []string{
		"ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,Credential=LTAI5tExample0000000002,Signature=00ff",
		"ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host Credential=LTAI5tExample0000000002,Signature=00ff",
		"ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host,OSS LTAI5tExample0000000002:c2lnbmF0dXJl",
		"ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host, OSS LTAI5tExample0000000002:c2lnbmF0dXJl",
		"ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,Signature=host:LTAI5tExample0000000002",
		"OSS4-HMAC-SHA256 Credential=LTAI5tExample0000000001/LTAI5tExample0000000002/20261102/a/b/c,Signature=00ff",
		"OSS4-HMAC-SHA256 Credential=LTAI5tExample0000000001%2fLTAI5tExample0000000002,Signature=00ff",
		"OSS4-HMAC-SHA256 Credential=LTAI5tExample0000000001,\xe2\x84\xaa=LTAI5tExample0000000002,Signature=00ff",
		"OSS LTAI5tExample0000000001:LTAI5tExample0000000002:c2lnbmF0dXJl",
		"OSS LTAI5tExample0000000001:c2lnbmF0dXJl,OSS LTAI5tExample0000000002:c2lnbmF0dXJl",
		"ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,ACS3-x Signature=00ff",
		"OSS " + strings.Repeat("a", 129) + ":c2lnbmF0dXJl",
	} {
		var f Finder
		require.False(t, f.plain(v), v)
		require.Zero(t, f)
	}
}

// Every plain value, with something put in at every place or in place of what is there.
func TestBothWaysFindTheSame(t *testing.T) {
	pieces := []string{"", ",", "=", ":", " ", "%", "%2f", "/", ";", ".", "\x00", "\u212a", "\xff", "S", "Si", "Ad", "s=", "e=", "l=", "Credential=", " Credential=b",
		",Credential:b", "OSS", ",OSS b:c", ", OSS b:c", ",Sig", ", ", ",,", ",fc ", "/20261102", "20261102/"}
	short := 0
	for _, v := range plainValues {
		for at := range len(v.value) + 1 {
			for _, piece := range pieces {
				for _, rest := range []int{at, min(at+1, len(v.value)), min(at+len(piece), len(v.value))} {
					value := v.value[:at] + piece + v.value[rest:]
					var quick, long Finder
					if !quick.plain(value) {
						require.Zero(t, quick, value)
						continue
					}
					short++
					long.authorizations(value)
					require.Equal(t, long, quick, value)
				}
			}
		}
	}
	require.Greater(t, short, 10_000, "most of what was put in must have left the value plain for this to test anything")
}

// FuzzPlain holds the short way to the reader of all spellings.
func FuzzPlain(f *testing.F) {
	for _, v := range plainValues {
		f.Add(v.value)
		f.Add(v.value + "," + v.value)
		f.Add(strings.ToLower(v.value))
		f.Add(strings.Replace(v.value, v.id, v.id+"/"+v.id, 1))
		f.Add(strings.Replace(v.value, "=", " = ", 1))
	}
	f.Fuzz(func(t *testing.T, value string) {
		var short, long Finder
		if short.plain(value) {
			long.authorizations(value)
			require.Equal(t, long, short)
		} else {
			require.Zero(t, short)
		}
	})
}
