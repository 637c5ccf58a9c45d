package httpguard_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"maps"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/host/httpguard"
)

// Bytes of the PROXY protocol, written by hand so that no library reads what
// it has written itself.
const (
	signature   = "\r\n\r\n\x00\r\nQUIT\n"
	commandV2   = "\x21"
	localV2     = "\x20"
	tcpOverIPv4 = "\x11"
	tcpOverIPv6 = "\x21"
)

func withLength(s string) string { return string([]byte{byte(len(s) >> 8), byte(len(s))}) + s }

func tlv(kind byte, value string) string { return string([]byte{kind}) + withLength(value) }

// vpcTLV is the TLV that the cloud's load balancers send.
func vpcTLV(id string) string { return "\xe1" + withLength("\x01"+id) }

// proxied is the header of a connection from an address, with these TLVs.
func proxied(source string, tlvs ...string) string {
	return header(commandV2, source, strings.Join(tlvs, ""))
}

func header(command, source, rest string) string {
	ip := netip.MustParseAddr(source)
	family := tcpOverIPv6
	to := netip.MustParseAddr("2001:db8::1").AsSlice()
	if ip.Is4() {
		family, to = tcpOverIPv4, []byte{10, 0, 0, 1}
	}
	return signature + command + family + withLength(string(ip.AsSlice())+string(to)+"\xc3\x50\x01\xbb"+rest)
}

// unixSocket is the header of a connection from a socket of that path.
func unixSocket(path string) string {
	const longest = 108
	padded := path + strings.Repeat("\x00", longest-len(path))
	return signature + commandV2 + "\x31" + withLength(padded+padded)
}

var balancer = httpguard.WithProxyProtocol(networks("127.0.0.0/8")...)

func TestTheProxyProtocolNamesTheCaller(t *testing.T) {
	s := serve(t, native(t, policySet), balancer)
	for source, status := range map[string]int{
		"203.0.113.1":        200,
		"198.51.100.7":       403,
		"2001:db8::7":        200,
		"2001:dead::7":       403,
		"::ffff:203.0.113.1": 200, // mapped addresses are IPv4 here, too
	} {
		a := s.get(t, proxied(source), "/", signedBy(closed))
		require.Equal(t, status, a.StatusCode, source)
		if status == 403 {
			require.Contains(t, a.body, "The source address is "+source+".")
		}
	}
}

func TestTheProxyProtocolNamesTheVPC(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol())
	a := s.get(t, proxied("192.168.0.7", vpcTLV(vpc)), "/", signedBy(closed))
	require.Equal(t, 200, a.StatusCode)

	a = s.get(t, proxied("203.0.113.1", vpcTLV(vpc)), "/", signedBy(closed))
	require.Equal(t, 403, a.StatusCode, "the public list is not about calls from a VPC")
	require.Contains(t, a.body, `"VpcId":"`+vpc+`"`)

	require.Equal(t, 403, s.get(t, proxied("192.168.0.7", vpcTLV("vpc-other")), "/", signedBy(closed)).StatusCode)
	require.Equal(t, 403, s.get(t, proxied("192.168.0.7"), "/", signedBy(closed)).StatusCode)
	require.Equal(t, 200, s.get(t, proxied("203.0.113.1"), "/", signedBy(closed)).StatusCode)
}

func TestATLVIsAVPCIDOnlyIfItIsOne(t *testing.T) {
	const other, service = "\x02ep-m5ekxe1zi8zwgqrtc1234", "\x03epsrv-m5ekxe1zi8zwgqrtc1234"
	s := serve(t, native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol())
	for _, c := range []struct {
		name, tlvs string
		vpc        string // "" for a refusal
	}{
		{"the id alone", vpcTLV(vpc), vpc},
		{"among others", tlv(0x02, "ecs.example.com") + tlv(0x04, "\x00\x00") + vpcTLV(vpc) + tlv(0xea, "\x01vpce-1"), vpc},
		{"twice the same", vpcTLV(vpc) + vpcTLV(vpc), vpc},
		{"beside an endpoint", "\xe1" + withLength(other) + vpcTLV(vpc) + "\xe1" + withLength(service), vpc},
		{"a long id", vpcTLV("vpc-" + strings.Repeat("z", 64)), "vpc-" + strings.Repeat("z", 64)},

		{"two ids", vpcTLV(vpc) + vpcTLV("vpc-other"), ""},
		{"only an endpoint", "\xe1" + withLength(other), ""},
		{"only an endpoint service", "\xe1" + withLength(service), ""},
		{"an unknown subtype", "\xe1" + withLength("\x7f"+vpc), ""},
		{"no subtype", "\xe1" + withLength(vpc), ""},
		{"a subtype that is a digit", "\xe1" + withLength("1"+vpc), ""},
		{"an empty TLV", "\xe1" + withLength(""), ""},
		{"an empty TLV beside the id", vpcTLV(vpc) + "\xe1" + withLength(""), ""},
		{"a subtype alone", "\xe1" + withLength("\x01"), ""},
		{"no id", vpcTLV("m5ekxe1zi8zwgqrtc1234"), ""},
		{"an endpoint under the subtype", vpcTLV("ep-m5ekxe1zi8zwgqrtc1234"), ""},
		{"the word for any VPC", vpcTLV("AllowAllVPC"), ""},
		{"capitals", vpcTLV(strings.ToUpper(vpc)), ""},
		{"a zero byte behind", vpcTLV(vpc + "\x00"), ""},
		{"spaces", vpcTLV(" " + vpc), ""},
		{"bytes that are no text", vpcTLV("vpc-\xff\xfe"), ""},
		{"too long an id", vpcTLV("vpc-" + strings.Repeat("z", 65)), ""},
		{"a bad id beside a good one", vpcTLV(vpc) + vpcTLV("vpc-"), ""},
		{"a TLV that is cut off", "\xe1\x00\x20\x01vpc-a", ""},
		{"a length that is cut off", "\xe1\x00", ""},
		{"a type alone", "\xe1", ""},
		{"another TLV that is cut off", vpcTLV(vpc) + "\x02\xff\xff", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := s.get(t, proxied("192.168.0.7", c.tlvs), "/", signedBy(open))
			if c.vpc != "" {
				require.Equal(t, 200, a.StatusCode)
				require.Contains(t, s.log.String(), `"vpc_id":"`+c.vpc+`"`)
				return
			}
			require.Equal(t, 403, a.StatusCode, "even of a key that may be used from everywhere")
			require.Contains(t, a.body, `"Code":"InvalidVpcId"`)
			require.Contains(t, a.body, "192.168.0.7")
		})
	}
}

func TestALocalConnectionIsTheLoadBalancersOwn(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol())
	for _, local := range []string{
		signature + localV2 + "\x00\x00\x00",
		header(localV2, "203.0.113.1", ""),
		header(localV2, "192.168.0.7", vpcTLV(vpc)), // neither address nor VPC count
		header(localV2, "203.0.113.1", "\xe1\xff"),
		strings.Replace(unixSocket("203.0.113.1:80"), commandV2, localV2, 1),
	} {
		a := s.get(t, local, "/", signedBy(closed))
		require.Equal(t, 403, a.StatusCode)
		require.Contains(t, a.body, "The source address is 127.0.0.1.")
		require.Equal(t, 200, s.get(t, local, "/health").StatusCode)
	}
}

func TestAConnectionWithoutAHeaderIsNotServed(t *testing.T) {
	request := message("/", signedBy(open))
	for name, raw := range map[string]string{
		"no header":                   request,
		"version 1":                   "PROXY TCP4 203.0.113.1 10.0.0.1 50000 443\r\n" + request,
		"an unknown version":          strings.Replace(proxied("203.0.113.1"), commandV2, "\x31", 1) + request,
		"an unknown command":          strings.Replace(proxied("203.0.113.1"), commandV2, "\x2f", 1) + request,
		"an unknown family":           strings.Replace(proxied("203.0.113.1"), tcpOverIPv4, "\x51", 1) + request,
		"a UNIX socket":               unixSocket("203.0.113.1:80") + request,
		"a UNIX datagram socket":      strings.Replace(unixSocket("203.0.113.1:80"), "\x31", "\x32", 1) + request,
		"UDP over IPv4":               strings.Replace(proxied("203.0.113.1"), tcpOverIPv4, "\x12", 1) + request,
		"UDP over IPv6":               strings.Replace(proxied("2001:db8::7"), commandV2+tcpOverIPv6, commandV2+"\x22", 1) + request,
		"no family":                   signature + commandV2 + "\x00\x00\x00" + request,
		"an address that is cut off":  signature + commandV2 + tcpOverIPv4 + "\x00\x04\xcb\x00\x71\x01" + request,
		"a length of much more":       signature + commandV2 + tcpOverIPv4 + "\xff\xff" + request,
		"a header that is cut off":    signature + commandV2,
		"a signature that is damaged": "\r\n\r\n\x00\r\nQUIT" + request,
	} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, native(t, policySet), balancer)
			c, err := net.Dial("tcp", s.address)
			require.NoError(t, err)
			defer c.Close()
			_, err = io.WriteString(c, raw)
			require.NoError(t, err)
			_ = c.(*net.TCPConn).CloseWrite() // it may be reset already
			require.NoError(t, c.SetDeadline(time.Now().Add(30*time.Second)))
			got, _ := io.ReadAll(c) // a reset is as good an answer as an end
			require.NotContains(t, string(got), "200 OK")
			n, _ := s.served()
			require.Zero(t, n)
			require.Eventually(t, func() bool {
				return s.counts.all()["keymoat.connections.dropped{keymoat.cause=NoHeader}"] == 1
			}, waitLong, waitShort)
			require.Contains(t, s.log.String(), "connection dropped")
		})
	}
}

func TestOnlyLoadBalancersConnect(t *testing.T) {
	s := serve(t, native(t, policySet), httpguard.WithProxyProtocol(networks("10.0.0.0/8", "2001:db8::/32")...))
	_, err := s.exchange(t, proxied("203.0.113.1")+message("/", signedBy(open)))
	require.ErrorIs(t, err, errNoAnswer)
	require.Eventually(t, func() bool { // it is counted once it is closed
		return maps.Equal(map[string]int64{"keymoat.connections.dropped{keymoat.cause=Untrusted}": 1}, s.counts.all())
	}, waitLong, waitShort)
	_, err = s.exchange(t, message("/"))
	require.ErrorIs(t, err, errNoAnswer, "and the next one is not served either")
}

func TestAnUnreadableOrSilentConnectionHoldsUpNobody(t *testing.T) {
	s := serve(t, native(t, policySet), balancer)
	for range 3 {
		silent, err := net.Dial("tcp", s.address)
		require.NoError(t, err)
		defer silent.Close()
	}
	require.Equal(t, 200, s.get(t, proxied("203.0.113.1"), "/", signedBy(closed)).StatusCode)
}

func TestEveryRequestOfAConnectionHasItsVPC(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol())
	c, err := net.Dial("tcp", s.address)
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, proxied("192.168.0.7", vpcTLV(vpc))+strings.Repeat(message("/", signedBy(closed)), 3))
	require.NoError(t, err)
	answers := bufio.NewReader(c)
	for range 3 {
		a, err := readAnswer(answers)
		require.NoError(t, err)
		require.Equal(t, 200, a.StatusCode)
	}
}

func TestTheVPCIsFoundBehindTLSAndHTTP2(t *testing.T) {
	srv := &http.Server{TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate(t)}}}
	s := serveWith(t, srv, native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol())
	for _, http2 := range []bool{false, true} {
		transport := &http.Transport{
			ForceAttemptHTTP2: http2,
			TLSClientConfig:   &tls.Config{InsecureSkipVerify: true}, // of a certificate made a moment ago
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				c, err := new(net.Dialer).DialContext(ctx, "tcp", s.address)
				if err == nil {
					_, err = io.WriteString(c, proxied("192.168.0.7", vpcTLV(vpc)))
				}
				return c, err
			},
		}
		for _, id := range []string{open, closed} {
			r, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+s.address, nil)
			require.NoError(t, err)
			r.Header.Set("Authorization", strings.TrimPrefix(signedBy(id), "Authorization: "))
			a, err := transport.RoundTrip(r)
			require.NoError(t, err)
			require.Equal(t, 200, a.StatusCode)
			require.Equal(t, http2, a.ProtoMajor == 2)
			require.NoError(t, a.Body.Close())
		}
		transport.CloseIdleConnections()
	}
	require.NotContains(t, s.log.String(), `"network":"Public"`)
}

func certificate(t *testing.T) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestAServerWithoutConnContextRefuses(t *testing.T) {
	log := &records{}
	guard, err := httpguard.New(native(t, policySet), balancer, httpguard.WithVPCFromProxyProtocol(), log.logger())
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	srv := &http.Server{Handler: guard.Handler(http.NotFoundHandler())}
	go func() { _ = srv.Serve(guard.Listener(listener)) }()
	defer srv.Close()
	a := (&server{address: listener.Addr().String()}).get(t, proxied("192.168.0.7", vpcTLV(vpc)), "/", signedBy(open))
	require.Equal(t, 403, a.StatusCode)
	require.Contains(t, log.String(), "lacks Guard.ConnContext")
}

func TestXForwardedForIsWalkedFromTheCallerThatTheProxyProtocolNames(t *testing.T) {
	s := serve(t, native(t, policySet), balancer, httpguard.WithForwardedFor(networks("10.0.0.0/8")...))
	require.Equal(t, 200, s.get(t, proxied("10.0.0.9"), "/", signedBy(closed), "X-Forwarded-For: 203.0.113.1").StatusCode)
	require.Equal(t, 403, s.get(t, proxied("198.51.100.7"), "/", signedBy(closed), "X-Forwarded-For: 203.0.113.1").StatusCode)
}

// Whatever bytes open a connection, no request gets further than the header allows.
func FuzzProxyProtocol(f *testing.F) {
	f.Add([]byte(proxied("192.168.0.7", vpcTLV(vpc))))
	f.Add([]byte(proxied("2001:db8::7", vpcTLV("vpc-a"), tlv(0x04, "xx"))))
	f.Add([]byte(header(localV2, "203.0.113.1", "")))
	f.Add([]byte(proxied("192.168.0.7", "\xe1\x00\x20\x01vpc-a")))
	f.Add([]byte("PROXY TCP4 203.0.113.1 10.0.0.1 50000 443\r\n"))
	f.Add([]byte(message("/")))
	evaluator := native(f, policySet)
	f.Fuzz(func(t *testing.T, prefix []byte) {
		s := serve(t, evaluator, balancer, httpguard.WithVPCFromProxyProtocol())
		c, err := net.Dial("tcp", s.address)
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		_, _ = io.WriteString(c, string(prefix)+message("/", signedBy(closed), "Connection: close"))
		_ = c.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, c)
		// What went through did so for a reason.
		for _, record := range s.log.all(t) {
			if record["msg"] == "keymoat: request allowed" {
				require.Contains(t, []any{"Matched", "NoAccessKey"}, record["reason"])
				if record["reason"] == "Matched" {
					require.True(t, record["network"] == "VPC" && record["vpc_id"] == vpc || record["network"] == "Public" && record["vpc_id"] == nil)
				}
			}
		}
	})
}
