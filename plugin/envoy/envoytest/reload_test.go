package envoytest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// rules lets the key closed in from one of two addresses in turn, so that the
// answer to a request tells which rules it was judged by.
func rules(number int) string {
	allowed := []netip.Addr{office, stranger}[number%2]
	return fmt.Sprintf(`{"policy_set": {"Accounts": [{"AccountId": "%d", "AccessKeys": [{"AccessKeyId": %q,
		"AccessKeyPolicy": {"Status": "Active", "Statements": [{"Type": "ClassicWhiteList", "IPList": [%q]}]}}]}]}}`,
		1000000000000001+number, closed, allowed)
}

func TestReload(t *testing.T) {
	const workers = 2
	wasm, dir := filter(t, ""), t.TempDir()
	live, late := filepath.Join(dir, "live.json"), filepath.Join(dir, "late.json")
	require.NoError(t, envoytest.Watch(live, wasm, rules(0)))
	require.NoError(t, envoytest.Watch(late, wasm, `{"policy_set": {}}`))
	s := start(t, envoytest.Options{Workers: workers}, nil,
		envoytest.Listener{Name: "live", Update: live, ProxyProtocol: true},
		envoytest.Listener{Name: "late", Update: late, ProxyProtocol: true})

	t.Run("under a steady stream of requests", func(t *testing.T) { testReloadUnderLoad(t, s, live, wasm, workers) })

	t.Run("a bad configuration is rejected and the former rules stay", func(t *testing.T) {
		update := func(configuration string) (place int) {
			place = len(s.Log())
			require.NoError(t, envoytest.Watch(live, wasm, configuration))
			return place
		}
		require.NoError(t, envoytest.Watch(live, wasm, rules(0)))
		require.NoError(t, s.Wait(t.Context(), "the first rules", func() bool {
			return s.from(t, "live", office, signed(closed)).passed
		}))
		for pointer, bad := range map[string]string{
			"/policy_set/Accounts/0/AccessKeys/0/AccessKeyPolicy/Statements/0/IPList/0": strings.Replace(rules(1), "203.0.113.9", "203.0.113.256", 1),
			"/mod":                 strings.Replace(rules(1), `{"policy_set"`, `{"mod": "enforce", "policy_set"`, 1),
			"/vpc_id":              strings.Replace(rules(1), `{"policy_set"`, `{"vpc_id": {"from": "header", "name": "x"}, "policy_set"`, 1),
			"(whole document)":     "",
			"/policy_set/Accounts": rules(1)[:len(rules(1))-20],
		} {
			line, _, err := s.NextLine(t.Context(), update(bad), "configuration rejected: ")
			require.NoError(t, err)
			require.Contains(t, line, "configuration rejected: "+pointer)
			requireAllowed(t, s.from(t, "live", office, signed(closed)))
			requireRefused(t, s.from(t, "live", stranger, signed(closed)), "203.0.113.9")
		}
		update(rules(1)) // and the next good one takes effect
		require.NoError(t, s.Wait(t.Context(), "the new rules", func() bool {
			return s.from(t, "live", stranger, signed(closed)).passed
		}))
	})

	t.Run("before the first valid configuration nothing gets through", func(t *testing.T) {
		for range 4 * workers {
			for _, call := range []string{signed(closed), signed(open), request("/")} {
				a := s.from(t, "late", office, call)
				require.False(t, a.passed, a.body)
				require.GreaterOrEqual(t, a.status, 400)
			}
		}
		require.NoError(t, envoytest.Watch(late, wasm, rules(0)))
		require.NoError(t, s.Wait(t.Context(), "the first rules", func() bool {
			return s.from(t, "late", office, signed(closed)).passed
		}))
		requireRefused(t, s.from(t, "late", stranger, signed(closed)))
	})
}

func testReloadUnderLoad(t *testing.T, s *site, file, wasm string, workers int) {
	const reloads, clients = 10, 8
	var (
		written, settled atomic.Int64 // numbers of rules: handed to Envoy; known to be the only ones in force
		sent             atomic.Int64
		seen             [clients]atomic.Int64 // by each client
		wg               sync.WaitGroup
	)
	ctx, stop := context.WithCancel(t.Context())
	failures := make(chan error, clients)
	for i := range clients {
		// Each client keeps one connection, which belongs to one worker, and so
		// must not see old rules once it has seen the new ones.
		source := []netip.Addr{office, stranger}[i%2]
		client := newClient(source)
		wg.Go(func() {
			defer client.CloseIdleConnections()
			for ctx.Err() == nil {
				least := max(settled.Load(), seen[i].Load())
				allowed, err := ask(client, s.addresses["live"])
				if err != nil {
					failures <- fmt.Errorf("client %d: %w", i, err)
					return
				}
				sent.Add(1)
				number := least // of the rules that this answer belongs to
				if (source == office) == (number%2 == 0) != allowed {
					number++
				}
				if most := written.Load(); number > most {
					failures <- fmt.Errorf("client %d: the answer allowed=%t belongs to none of the rules %d to %d", i, allowed, least, most)
					return
				}
				seen[i].Store(number)
			}
		})
	}
	failed := func() error {
		select {
		case err := <-failures:
			return err
		default:
			return nil
		}
	}
	all := func(number int64) bool {
		for i := range seen {
			if seen[i].Load() < number {
				return false
			}
		}
		return true
	}
	var took []time.Duration
	for number := int64(1); number <= reloads; number++ {
		before, place := sent.Load(), len(s.Log())
		written.Store(number)
		began := time.Now()
		require.NoError(t, envoytest.Watch(file, wasm, rules(int(number))))
		var err error
		require.NoError(t, s.Wait(ctx, "new answers", func() bool {
			err = failed()
			return err != nil || all(number)
		}))
		require.NoError(t, err)
		took = append(took, time.Since(began))
		_, err = s.Accepted(ctx, place)
		require.NoError(t, err)
		settled.Store(number)
		require.Greater(t, sent.Load(), before)
		for range 4 * workers { // new connections know nothing else either
			allowed, refused := office, stranger
			if number%2 == 1 {
				allowed, refused = stranger, office
			}
			requireAllowed(t, s.from(t, "live", allowed, signed(closed)))
			a := s.from(t, "live", refused, signed(closed))
			require.Equal(t, 403, a.status, a.body)
			require.Contains(t, a.body, "The source address is "+refused.String())
		}
	}
	stop()
	wg.Wait()
	require.NoError(t, failed())
	slices.Sort(took)
	t.Logf("%d reloads under %d requests of %d clients: from the rename until every client saw the new rules %v at least, %v in the middle, %v at most",
		reloads, sent.Load(), clients, took[0].Round(time.Millisecond), took[len(took)/2].Round(time.Millisecond), took[len(took)-1].Round(time.Millisecond))
}

// newClient is a client that keeps a connection by way of a load balancer.
func newClient(source netip.Addr) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		MaxConnsPerHost: 1,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				_, err = c.Write(envoytest.ProxyHeader(source))
			}
			return c, err
		}}}
}

// ask makes one request with the key closed. Any answer but that of the
// upstream and the filter's own refusal is an error.
func ask(client *http.Client, address string) (allowed bool, err error) {
	req, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Authorization", "acs "+closed+":c2ln")
	res, err := client.Do(req)
	if err != nil {
		return false, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return false, err
	}
	var refusal struct{ Code string }
	switch {
	case res.StatusCode == http.StatusOK && res.Header.Get("X-Upstream") == "reached":
		return true, nil
	case res.StatusCode == http.StatusForbidden && json.Unmarshal(body, &refusal) == nil && refusal.Code == "InvalidAccessKeyId.AccessPolicyDenied":
		return false, nil
	}
	return false, fmt.Errorf("%s: %s", res.Status, body)
}

func TestABadStaticConfigurationFailsValidation(t *testing.T) {
	wasm, binary := filter(t, ""), envoytest.Require(t)
	validate := func(configuration string) (string, error) {
		bootstrap, err := envoytest.Bootstrap(envoytest.Listener{Name: "static", Wasm: wasm, Configuration: configuration})
		require.NoError(t, err)
		b, err := json.Marshal(bootstrap)
		require.NoError(t, err)
		file := filepath.Join(t.TempDir(), "envoy.json")
		require.NoError(t, os.WriteFile(file, b, 0o600))
		ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
		defer cancel()
		out, err := exec.CommandContext(ctx, binary, "--mode", "validate", "--config-path", file).CombinedOutput()
		require.NoError(t, ctx.Err())
		return string(out), err
	}
	out, err := validate(rules(0))
	require.NoError(t, err, out)

	bad := strings.Replace(rules(0), "198.51.100.7", "198.51.100.07", 1)
	bad = strings.Replace(bad, `{"policy_set"`, `{"denial": {"format": "yaml"}, "policy_set"`, 1)
	out, err = validate(bad)
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit)
	require.NotZero(t, exit.ExitCode())
	require.Contains(t, out, "configuration rejected: /denial/format: ")
	require.Contains(t, out, "configuration rejected: /policy_set/Accounts/0/AccessKeys/0/AccessKeyPolicy/Statements/0/IPList/0: ")
}
