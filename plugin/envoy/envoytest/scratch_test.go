package envoytest

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestScratch(t *testing.T) {
	Require(t)
	ctx := context.Background()
	dir := t.TempDir()
	conf := `{"policy_set":{"Accounts":[{"AccountId":"1000000000000001","AccessKeyPolicy":{"Status":"Active","Statements":[{"Type":"ClassicWhiteList","IPList":["127.0.0.0/8"]},{"Type":"VPCWhiteList","Value":"vpc-abc","IPList":["10.0.0.0/8"]}]}}]},"vpc_id":{"from":"proxy_protocol_tlv","key":"vpc_id"}}`
	b, err := Bootstrap(Listener{Name: "plain", Wasm: "/tmp/kb/keymoat-envoy.wasm", Configuration: conf, Body: "ok"},
		Listener{Name: "pp", Wasm: "/tmp/kb/keymoat-envoy.wasm", Configuration: conf, ProxyProtocol: true, Body: "ok"})
	require.NoError(t, err)
	e, err := Start(ctx, Options{Bootstrap: b, Dir: dir, Log: os.Stderr, Debug: true})
	require.NoError(t, err)
	defer e.Close()
	a, err := e.Address(ctx, "plain")
	require.NoError(t, err)
	get := func(auth string, xff string) {
		req, _ := http.NewRequest("GET", "http://"+a+"/?x=1", nil)
		req.Header.Set("Authorization", auth)
		if xff != "" {
			req.Header.Set("X-Forwarded-For", xff)
		}
		res, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		body, _ := io.ReadAll(res.Body)
		fmt.Println(res.Status, res.Header, string(body))
	}
	get("ACS3-HMAC-SHA256 Credential=LTAI5tExample0000000001,SignedHeaders=host,Signature=00", "")
	get("acs", "")
	pp, _ := e.Address(ctx, "pp")
	for _, tl := range [][]TLV{nil, {VPC("vpc-abc")}, {VPC("vpc-abd")}, {{0xe1, "\x02ep-1"}}, {{0xe1, ""}}, {{0xe1, "\x01vpc-\xff"}}} {
		c, err := net.Dial("tcp", pp)
		require.NoError(t, err)
		c.Write(ProxyHeader(netip.MustParseAddr("10.1.2.3"), tl...))
		c.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: acs LTAI5tExample0000000001:x\r\n\r\n"))
		b, _ := io.ReadAll(c)
		fmt.Println(tl, string(b))
	}
	st, err := e.Stats(ctx, "keymoat|wasm")
	require.NoError(t, err)
	for k, v := range st {
		fmt.Println(k, v)
	}
}
