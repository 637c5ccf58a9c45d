package main

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

func main() {
	wasm := flag.String("wasm", "/tmp/kb/keymoat-envoy.wasm", "")
	d := flag.String("d", "4s", "")
	which := flag.String("which", "none,rbac,keymoat", "")
	flag.Parse()
	ctx := context.Background()
	keys := []any{}
	for i := 1; i <= 100; i++ {
		ips := []string{"127.0.0.1"}
		for j := range 49 {
			ips = append(ips, fmt.Sprintf("203.%d.%d.0/24", i, j))
		}
		st := []any{map[string]any{"Type": "ClassicWhiteList", "IPList": ips}}
		for v := range 7 {
			ips := []string{}
			for j := range 50 {
				ips = append(ips, fmt.Sprintf("10.%d.%d.%d", i, v, j*3))
			}
			st = append(st, map[string]any{"Type": "VPCWhiteList", "Value": fmt.Sprintf("vpc-%dx%d", i, v), "IPList": ips})
		}
		keys = append(keys, map[string]any{"AccessKeyId": fmt.Sprintf("LTAI5tExample%010d", i), "AccessKeyPolicy": map[string]any{"Status": "Active", "Statements": st}})
	}
	set, _ := json.Marshal(map[string]any{"policy_set": map[string]any{"Accounts": []any{map[string]any{"AccountId": "1000000000000001", "AccessKeys": keys}}}})
	var allow []any
	for j := range 49 {
		allow = append(allow, envoytest.Object{"remote_ip": envoytest.Object{"address_prefix": fmt.Sprintf("203.1.%d.0", j), "prefix_len": 24}})
	}
	allow = append(allow, envoytest.Object{"remote_ip": envoytest.Object{"address_prefix": "127.0.0.1", "prefix_len": 32}})
	rbac := envoytest.Object{"name": "envoy.filters.http.rbac", "typed_config": envoytest.Object{
		"@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
		"rules": envoytest.Object{"action": "ALLOW", "policies": envoytest.Object{"p": envoytest.Object{
			"permissions": []any{envoytest.Object{"any": true}}, "principals": []any{envoytest.Object{"or_ids": envoytest.Object{"ids": allow}}}}}}}}
	lua := `local n = 0
request = function()
  n = n % 100 + 1
  wrk.headers["Authorization"] = string.format("ACS3-HMAC-SHA256 Credential=LTAI5tExample%010d,SignedHeaders=content-type;host;x-acs-action;x-acs-content-sha256;x-acs-date;x-acs-signature-nonce;x-acs-version,Signature=4d5ee1b6b6a4dc6b3a1fd2c4d5ee1b6b6a4dc6b3a1fd2c4d5ee1b6b6a4dc6b3a", n)
  return wrk.format("GET", "/")
end`
	os.WriteFile("/tmp/x/w.lua", []byte(lua), 0o600)
	for _, w := range strings.Split(*which, ",") {
		l := envoytest.Listener{Name: "l", Body: "ok"}
		switch w {
		case "rbac":
			l.Filters = []any{rbac}
		case "keymoat":
			l.Wasm, l.Configuration = *wasm, string(set)
		}
		b, err := envoytest.Bootstrap(l)
		if err != nil {
			panic(err)
		}
		dir, _ := os.MkdirTemp("", "b")
		e, err := envoytest.Start(ctx, envoytest.Options{Bootstrap: b, Dir: dir})
		if err != nil {
			panic(err)
		}
		a, _ := e.Address(ctx, "l")
		exec.Command("wrk", "-t1", "-c8", "-d1s", "-s", "/tmp/x/w.lua", "http://"+a+"/").Run()
		cpu := func() (n int) {
			ts, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", e.PID))
			for _, f := range ts {
				b, _ := os.ReadFile(f)
				var x int
				fmt.Sscan(string(b), &x)
				n += x
			}
			return n
		}
		before := cpu()
		out, err := exec.Command("wrk", "-t1", "-c8", "-d"+*d, "--latency", "-s", "/tmp/x/w.lua", "http://"+a+"/").CombinedOutput()
		if err != nil {
			panic(string(out))
		}
		used := cpu() - before
		reqs := 0
		for _, line := range strings.Split(string(out), "\n") {
			if i := strings.Index(line, " requests in"); i > 0 {
				fmt.Sscan(strings.TrimSpace(line[:i]), &reqs)
			}
		}
		keep := []string{fmt.Sprintf("%.2f us/req CPU", float64(used)/1000/float64(reqs))}
		for _, line := range strings.Split(string(out), "\n") {
			if strings.Contains(line, "50%") || strings.Contains(line, "99%") || strings.Contains(line, "Requests/sec") || strings.Contains(line, "Non-2xx") {
				keep = append(keep, strings.TrimSpace(line))
			}
		}
		rss, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.PID))
		i := bytes.Index(rss, []byte("VmRSS"))
		fmt.Println(w, strings.Join(keep, " | "), strings.SplitN(string(rss[i:]), "\n", 2)[0])
		e.Close()
		os.RemoveAll(dir)
	}
}
