package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/keymoat/keymoat/plugin/envoy/envoytest"
)

// script makes wrk sign each request with the next of 100 keys.
const script = `local n = 0
local requests = {}
function init()
  for i = 1, 100 do
    requests[i] = wrk.format("GET", "/", {
      ["Host"] = "ecs.example.com",
      ["X-Acs-Action"] = "DescribeRegions",
      ["X-Acs-Version"] = "2014-05-26",
      ["Authorization"] = string.format("ACS3-HMAC-SHA256 Credential=LTAI5tExample%010d,SignedHeaders=host;x-acs-action;x-acs-version,Signature=4d5ee1b6b6a4dc6b3a1fd2c4d5ee1b6b6a4dc6b3a1fd2c4d5ee1b6b6a4dc6b3a", i),
    })
  end
end
function request()
  n = n % 100 + 1
  return requests[n]
end
`

// figures are what one run of the client has measured.
type figures struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       time.Duration // of Envoy, for each request
}

var (
	requestsLine = regexp.MustCompile(`(\d+) requests in`)
	rateLine     = regexp.MustCompile(`Requests/sec:\s+([\d.]+)`)
	latencyLine  = regexp.MustCompile(`(?m)^\s+(50|99)%\s+(\S+)$`)
)

// load runs the client against an Envoy. A request that fails is an error.
func load(ctx context.Context, e *envoytest.Envoy, address string, o options, duration time.Duration) (f figures, err error) {
	before, err := cpuTime(e.PID)
	if err != nil {
		return f, err
	}
	out, err := exec.CommandContext(ctx, "wrk", "--latency", "-t1", "-c", strconv.Itoa(o.connections),
		"-d", strconv.Itoa(max(1, int(duration.Seconds())))+"s", "-s", o.script, "http://"+address+"/").CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		return f, errors.New("wrk is not installed: apt-get install wrk")
	}
	text := string(out)
	if err != nil {
		return f, fmt.Errorf("wrk: %w\n%s", err, text)
	}
	if strings.Contains(text, "Non-2xx") || strings.Contains(text, "Socket errors") {
		return f, fmt.Errorf("some requests failed:\n%s", text)
	}
	after, err := cpuTime(e.PID)
	if err != nil {
		return f, err
	}
	rate, requests := rateLine.FindStringSubmatch(text), requestsLine.FindStringSubmatch(text)
	if rate == nil || requests == nil {
		return f, fmt.Errorf("wrk says something else:\n%s", text)
	}
	f.perSecond, _ = strconv.ParseFloat(rate[1], 64)
	n, _ := strconv.Atoi(requests[1])
	f.cpu = (after - before) / time.Duration(max(n, 1))
	for _, m := range latencyLine.FindAllStringSubmatch(text, -1) {
		d, err := time.ParseDuration(m[2])
		if err != nil {
			return f, fmt.Errorf("wrk: %w", err)
		}
		if m[1] == "50" {
			f.p50 = d
		} else {
			f.p99 = d
		}
	}
	return f, nil
}

// cpuTime is what all threads of a process have used so far.
func cpuTime(pid int) (sum time.Duration, err error) {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	if err != nil {
		return 0, err
	}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // the thread has ended
		}
		first, _, _ := strings.Cut(string(b), " ")
		n, _ := strconv.ParseInt(first, 10, 64)
		sum += time.Duration(n)
	}
	return sum, nil
}

// resident is the memory of a process, in MiB.
func resident(pid int) (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(b))
	pages, err := strconv.ParseFloat(fields[1], 64)
	return pages * float64(os.Getpagesize()) / (1 << 20), err
}
