package denial_test

import (
	"encoding/json"
	"encoding/xml"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/denial"
)

var update = flag.Bool("update", false, "write the golden files anew")

// hostile is what a caller might send in the hope to be copied as it is.
const hostile = `"},"Code":"OK"</Message><Code>&amp;` + "\\\r\nX: 1\x00\x7f\u0085\u2028\xff\xed\xa0\x80\ufffe…"

var denials = []struct {
	name   string
	denial denial.Denial
}{
	{"a public call from an address that is not listed", denial.Denial{Reason: abi.ReasonSourceIPNotListed, SourceIP: "203.0.113.9", RequestID: "8906582E-0001", Host: "ecs.example.com"}},
	{"a call from a VPC", denial.Denial{Reason: abi.ReasonVPCNotListed, SourceIP: "192.168.0.7", VPCID: "vpc-m5ekxe1zi8zwgqrtc1234", RequestID: "8906582E-0001", Host: "ecs.example.com"}},
	{"an IPv6 address and nothing else known", denial.Denial{Reason: abi.ReasonNoPublicPolicy, SourceIP: "2001:db8::1"}},
	{"no access key", denial.Denial{Reason: abi.ReasonNoAccessKey, SourceIP: "203.0.113.9"}},
	{"two access keys", denial.Denial{Reason: abi.ReasonAmbiguousAccessKey, SourceIP: "203.0.113.9"}},
	{"an access key that cannot be read", denial.Denial{Problem: denial.InvalidAccessKeyID, SourceIP: "203.0.113.9"}},
	{"an address that cannot be read", denial.Denial{Problem: denial.InvalidSourceIP, SourceIP: "010.0.0.1"}},
	{"an address that is not known", denial.Denial{Problem: denial.InvalidSourceIP}},
	{"a VPC id that cannot be read", denial.Denial{Problem: denial.InvalidVPCID, SourceIP: "192.168.0.7", VPCID: "vpc-?"}},
	{"nothing loaded", denial.Denial{Problem: denial.NotLoaded, SourceIP: "203.0.113.9"}},
	{"an internal fault", denial.Denial{Problem: denial.Internal}},
	{"hostile values", denial.Denial{SourceIP: hostile, VPCID: hostile, RequestID: hostile, Host: hostile}},
}

func TestAnswersAreThoseOfTheGoldenFiles(t *testing.T) {
	for _, format := range denial.Formats() {
		t.Run(format.String(), func(t *testing.T) {
			var got []byte
			for _, c := range denials {
				got = append(got, "# "+c.name+"\n"...)
				got = format.Append(got, &c.denial)
			}
			golden := filepath.Join("testdata", format.String()+".golden")
			if *update {
				require.NoError(t, os.WriteFile(golden, got, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			require.Equal(t, string(want), string(got))
		})
	}
}

type ossError struct {
	XMLName   xml.Name `xml:"Error"`
	Code      string
	Message   string
	RequestID string `xml:"RequestId"`
	HostID    string `xml:"HostId"`
	EC        string
	Others    []struct{ XMLName xml.Name } `xml:",any"`
}

func TestOpenAPIIsTheCloudsError(t *testing.T) {
	d := denial.Denial{Reason: abi.ReasonSourceIPNotListed, SourceIP: "203.0.113.9", RequestID: "8906582E-0001", Host: "ecs.example.com"}
	require.Equal(t, 400, denial.OpenAPI.Status())

	var e struct{ RequestId, HostId, Code, Message, Recommend string }
	require.NoError(t, json.Unmarshal(denial.OpenAPI.Append(nil, &d), &e))
	require.Equal(t, "8906582E-0001", e.RequestId)
	require.Equal(t, "ecs.example.com", e.HostId)
	require.Equal(t, "InvalidAccessKeyId.AccessPolicyDenied", e.Code)
	require.True(t, strings.HasPrefix(e.Message, "Specified access key denied due to access policy."))
	require.Contains(t, e.Message, "203.0.113.9")
	require.NotEmpty(t, e.Recommend)
}

func TestOSSXMLIsTheObjectStoragesError(t *testing.T) {
	d := denial.Denial{Reason: abi.ReasonSourceIPNotListed, SourceIP: "203.0.113.9", RequestID: "8906582E0001", Host: "bucket.example.com"}
	require.Equal(t, 403, denial.OSSXML.Status())

	var e ossError
	require.NoError(t, xml.Unmarshal(denial.OSSXML.Append(nil, &d), &e))
	require.Equal(t, "InvalidAccessKeyId", e.Code)
	require.Equal(t, "0002-00000904", e.EC)
	require.Equal(t, "8906582E0001", e.RequestID)
	require.Equal(t, "bucket.example.com", e.HostID)
	require.Contains(t, e.Message, "203.0.113.9")

	d.Problem = denial.InvalidAccessKeyID
	e = ossError{}
	require.NoError(t, xml.Unmarshal(denial.OSSXML.Append(nil, &d), &e))
	require.Empty(t, e.EC, "that code is about policies, and here no policy decided")
}

func TestNoAnswerTellsWhichRuleRefused(t *testing.T) {
	policies := []abi.Reason{abi.ReasonAccountMismatch, abi.ReasonUnknownAccount, abi.ReasonNoVPCPolicy, abi.ReasonVPCNotListed,
		abi.ReasonNoPublicPolicy, abi.ReasonSourceIPNotListed}
	for _, format := range denial.Formats() {
		first := format.Append(nil, &denial.Denial{Reason: policies[0], SourceIP: "203.0.113.9"})
		for _, reason := range policies[1:] {
			require.Equal(t, string(first), string(format.Append(nil, &denial.Denial{Reason: reason, SourceIP: "203.0.113.9"})))
		}
	}
}

func TestLongValuesAreCutAndNotWithinACharacter(t *testing.T) {
	for pad := range 4 {
		long := strings.Repeat("x", pad) + strings.Repeat("…", 5000)
		for _, format := range denial.Formats() {
			body := format.Append(nil, &denial.Denial{SourceIP: long, VPCID: long, RequestID: long, Host: long})
			require.Less(t, len(body), 6*256+600)
			require.NotContains(t, string(body), "\uFFFD")
		}
	}
}

func TestAValueIsCutAt255BytesAndNotWithinACharacter(t *testing.T) {
	require.Equal(t, strings.Repeat("x", 255), denial.Cut(strings.Repeat("x", 255)))
	require.Equal(t, strings.Repeat("x", 255), denial.Cut(strings.Repeat("x", 256)))
	require.Equal(t, strings.Repeat("…", 85), denial.Cut(strings.Repeat("…", 86)))
	require.Equal(t, "x"+strings.Repeat("…", 84), denial.Cut("x"+strings.Repeat("…", 85)))
}

// An answer that a cache kept would be shown to callers from other networks,
// and one whose type a browser guessed could be a page of the caller's making.
func TestAnAnswerIsNotKeptAndItsTypeNotGuessed(t *testing.T) {
	for _, format := range denial.Formats() {
		require.Equal(t, []abi.HTTPHeader{{Name: "content-type", Value: format.ContentType()}, {Name: "cache-control", Value: "no-store"},
			{Name: "x-content-type-options", Value: "nosniff"}}, format.Headers())
	}
}

func TestEveryStatusThatIsNoSuccessIsAProblem(t *testing.T) {
	for _, status := range abi.Statuses() {
		problem := denial.ProblemOf(status)
		require.Equal(t, status == abi.StatusOK, problem == denial.NoProblem, status.String())
		if problem != denial.NoProblem && problem != denial.Internal {
			require.Equal(t, status.String(), problem.String())
		}
	}
	require.Equal(t, denial.Internal, denial.ProblemOf(200))
	for _, problem := range denial.Problems() {
		require.NotEmpty(t, problem.String())
	}
	require.Equal(t, "Internal", denial.Problem(200).String())
}

func TestOnlyADenialHasTheStatusThatIsConfigured(t *testing.T) {
	require.Equal(t, 400, (&denial.Denial{Reason: abi.ReasonSourceIPNotListed}).Status(400))
	for _, problem := range denial.Problems() {
		require.Equal(t, 403, (&denial.Denial{Problem: problem}).Status(400), problem)
	}
}

func TestAFaultIsWhatNoRequestCausesByItself(t *testing.T) {
	for problem, fault := range map[denial.Problem]bool{
		denial.NoProblem: false, denial.InvalidAccessKeyID: false, denial.InvalidSourceIP: false, denial.InvalidVPCID: false,
		denial.NotLoaded: true, denial.Internal: true, denial.Internal + 1: true,
	} {
		require.Equal(t, fault, problem.IsFault(), "%v", problem)
	}
}

func TestAnUnknownFormatIsPlain(t *testing.T) {
	d := denial.Denial{SourceIP: "203.0.113.9"}
	unknown := denial.Format(200)
	require.Equal(t, "plain", unknown.String())
	require.Equal(t, 403, unknown.Status())
	require.Equal(t, denial.Plain.Append(nil, &d), unknown.Append(nil, &d))
}

// Whatever a caller sends, the answer is well formed and holds only the members
// that it should.
func FuzzAppend(f *testing.F) {
	f.Add(uint8(0), uint8(0), "203.0.113.9", "vpc-m5ekxe1zi8zwgqrtc1234", "8906582E-0001", "ecs.example.com")
	f.Add(uint8(2), uint8(11), hostile, hostile, hostile, hostile)
	f.Fuzz(func(t *testing.T, problem, reason uint8, source, vpc, requestID, host string) {
		d := denial.Denial{Problem: denial.Problem(problem), Reason: abi.Reason(reason), SourceIP: source, VPCID: vpc, RequestID: requestID, Host: host}
		for _, format := range denial.Formats() {
			body := format.Append([]byte("before"), &d)
			require.True(t, strings.HasPrefix(string(body), "before"))
			body = body[len("before"):]
			require.True(t, utf8.Valid(body))
			require.Equal(t, byte('\n'), body[len(body)-1])
			for _, c := range body[:len(body)-1] {
				if c < ' ' && format != denial.OSSXML || c == 0x7f || c == '\r' {
					t.Fatalf("a control character in %q", body)
				}
			}
			switch format {
			case denial.JSON, denial.OpenAPI:
				var object map[string]string
				require.NoError(t, json.Unmarshal(body, &object))
				require.Equal(t, d.Code(), object["Code"])
				delete(object, "Code")
				for name := range object {
					require.Contains(t, []string{"Message", "SourceIp", "VpcId", "RequestId", "HostId", "Recommend"}, name)
				}
			case denial.OSSXML:
				var e ossError
				require.NoError(t, xml.Unmarshal(body, &e))
				require.Empty(t, e.Others)
			}
		}
	})
}

func TestAppendingAllocatesNothing(t *testing.T) {
	d := denials[1].denial
	buffer := make([]byte, 0, 1024)
	for _, format := range denial.Formats() {
		require.Zero(t, testing.AllocsPerRun(100, func() { buffer = format.Append(buffer[:0], &d) }), format.String())
	}
}

func BenchmarkAppend(b *testing.B) {
	d := denials[1].denial
	buffer := make([]byte, 0, 1024)
	for _, format := range denial.Formats() {
		b.Run(format.String(), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				buffer = format.Append(buffer[:0], &d)
			}
		})
	}
}
