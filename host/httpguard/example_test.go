package httpguard_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"

	"github.com/keymoat/keymoat/host"
	"github.com/keymoat/keymoat/host/httpguard"
	"github.com/keymoat/keymoat/plugin/denial"
)

func Example() {
	defer slog.SetDefault(slog.Default())
	slog.SetDefault(slog.New(slog.DiscardHandler)) // refusals are logged; here that would go between the answers
	if err := run(context.Background()); err != nil {
		fmt.Println(err)
	}
	// Output:
	// from 198.51.100.7: 400 {"RequestId":"","HostId":"api.example.com","Code":"InvalidAccessKeyId.AccessPolicyDenied","Message":"Specified access key denied due to access policy. The source address is 198.51.100.7.","Recommend":"Call from a network that the policies for this access key list, or have the source address added to them."}
	// from 203.0.113.1: 200 welcome
}

func run(ctx context.Context) error {
	policySet := []byte(`{"Accounts": [{"AccountId": "1000000000000001", "AccessKeyPolicy":
		{"Status": "Active", "Statements": [{"Type": "ClassicWhiteList", "IPList": ["203.0.113.0/24"]}]}}]}`)
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "welcome") })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}

	evaluator, err := host.New(ctx) // or host.NewNative(), which has no sandbox
	if err != nil {
		return err
	}
	defer evaluator.Close(ctx)
	if _, err := evaluator.Load(ctx, policySet); err != nil {
		return err
	}
	guard, err := httpguard.New(evaluator,
		httpguard.WithForwardedFor(netip.MustParsePrefix("127.0.0.0/8")), // of our own proxies
		httpguard.WithDenial(denial.OpenAPI, 0),
	)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: guard.Handler(api), ConnContext: guard.ConnContext}
	go server.Serve(guard.Listener(listener))

	defer server.Close()
	for _, caller := range []string{"198.51.100.7", "203.0.113.1"} {
		r, err := http.NewRequestWithContext(ctx, "GET", "http://"+listener.Addr().String()+"/?AccessKeyId=LTAI5tExample0000000001", nil)
		if err != nil {
			return err
		}
		r.Host = "api.example.com"
		r.Header.Set("X-Forwarded-For", caller)
		a, err := http.DefaultClient.Do(r)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(a.Body)
		if err != nil {
			return err
		}
		fmt.Printf("from %s: %d %s", caller, a.StatusCode, body)
		_ = a.Body.Close()
	}
	return nil
}
