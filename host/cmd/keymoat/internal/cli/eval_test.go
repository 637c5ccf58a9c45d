package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/host"
)

const policies = "testdata/policies.yaml"

func TestEvalDecidesOneRequest(t *testing.T) {
	for _, engine := range []string{engineNative, engineWasm} {
		for _, test := range []struct {
			flags  string
			status int
			out    string
		}{
			{"--access-key-id LTAI5tExample0000000001 --source-ip 203.0.113.1", 0,
				`{"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"203.0.113.1/32"}`},
			{"--access-key-id LTAI5tExample0000000001 --source-ip ::ffff:203.0.113.1", 0,
				`{"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"203.0.113.1/32"}`},
			{"--access-key-id LTAI5tExample0000000001 --source-ip 203.0.113.2", 1,
				`{"Effect":"Deny","Reason":"SourceIPNotListed","Level":"Account","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}`},
			{"--access-key-id LTAI5tExample0000000001 --source-ip 192.168.0.1 --vpc-id " + vpc, 0,
				`{"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"VPC","Statement":1,"Entry":"192.168.0.0/16"}`},
			{"--access-key-id LTAI5tExample0000000001 --source-ip 203.0.113.1 --account-id 2", 1,
				`{"Effect":"Deny","Reason":"AccountMismatch","Level":"None","Network":"Public","Code":"InvalidAccessKeyId.AccessPolicyDenied"}`},
			{"--access-key-id LTAI5tExample0000000001 --source-ip ::1 --service Cms --action PutCustomEvent --protocol HTTP", 0,
				`{"Effect":"Allow","Reason":"ExemptService","Level":"None","Network":"Public"}`},
		} {
			args := append([]string{"eval", "--engine", engine, "--policies", policies}, strings.Fields(test.flags)...)
			require.Equal(t, result{test.status, test.out + "\n", ""}, run(t, "", args...), test.flags)
		}
	}
}

func TestEvalAnswersAFileOfRequests(t *testing.T) {
	args := []string{"eval", "--policies", policies, "--requests", "testdata/requests.ndjson"}
	r := run(t, "", args...)
	require.Equal(t, 1, r.status)
	require.Empty(t, r.err)
	golden(t, "eval.ndjson", r.out)
	require.Equal(t, r, run(t, "", append(args, "--engine", "wasm")...))

	r = run(t, "", append(args, "-o", "table")...)
	require.Equal(t, 1, r.status)
	golden(t, "eval.table", r.out)
}

func TestEvalEndsWithZeroOnlyIfAllIsAllowed(t *testing.T) {
	const (
		allowed = `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}` + "\n"
		denied  = `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.2"}` + "\n"
		faulty  = `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":""}` + "\n"
	)
	for requests, status := range map[string]int{
		allowed: 0, allowed + allowed: 0, denied: 1, faulty: 1,
		allowed + denied: 1, denied + allowed: 1, allowed + faulty + allowed: 1,
	} {
		require.Equal(t, status, run(t, requests, "eval", "--policies", policies, "--requests", "-").status, requests)
	}
}

func TestEachLineIsAnsweredOnItsLine(t *testing.T) {
	const request = `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}`
	const allowed = `{"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"203.0.113.1/32"}`
	failed := func(code, message string) string {
		return `{"Error":{"Code":"` + code + `","Message":"` + message
	}
	tooLong := failed("InvalidRequest", "the line is longer than 1,048,576 bytes; no request is")
	spaces := strings.Repeat(" ", maxLine)
	for name, test := range map[string]struct {
		in   string
		want []string
	}{
		"the last line has no end":      {request, []string{allowed}},
		"lines that end as on Windows":  {request + "\r\n" + request + "\r\n", []string{allowed, allowed}},
		"an empty line":                 {request + "\n\n" + request + "\n", []string{allowed, failed("InvalidRequest", "the line is empty"), allowed}},
		"a line of space":               {" \t\n", []string{failed("InvalidRequest", "the line is empty")}},
		"two requests in one line":      {request + request + "\n" + request, []string{failed("InvalidRequest", "the request is malformed"), allowed}},
		"a request over two lines":      {"{\n}\n", []string{failed("InvalidRequest", "the request is malformed"), failed("InvalidRequest", "the request is malformed")}},
		"no JSON":                       {"hello\n", []string{failed("InvalidRequest", "the request is malformed")}},
		"no address":                    {`{"AccessKeyId":"a"}`, []string{failed("InvalidSourceIp", "/SourceIp: missing")}},
		"no key":                        {`{"SourceIp":"::1"}`, []string{failed("InvalidAccessKeyId", "/AccessKeyId: missing")}},
		"a byte order mark":             {"\ufeff" + request + "\n" + request, []string{failed("InvalidRequest", "the request is malformed"), allowed}},
		"bytes that are not UTF-8":      {"\"\xff\"\n" + request, []string{failed("InvalidRequest", "the request is malformed"), allowed}},
		"a long line":                   {spaces[:maxLine-len(request)-1] + request + "\n" + request, []string{allowed, allowed}},
		"a line that is too long":       {spaces[:maxLine-len(request)+1] + request + "\n" + request, []string{tooLong, allowed}},
		"a line that is much too long":  {request + "\n" + strings.Repeat(spaces, 3) + "\n" + request + "\n", []string{allowed, tooLong, allowed}},
		"a last line that is too long":  {request + "\n" + strings.Repeat(spaces, 2), []string{allowed, tooLong}},
		"a line that just fills memory": {spaces + "\n" + request, []string{tooLong, allowed}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, in := range []io.Reader{strings.NewReader(test.in), iotest.DataErrReader(strings.NewReader(test.in)), iotest.HalfReader(strings.NewReader(test.in))} {
				r := runOn(t, &Console{In: in}, "eval", "--policies", policies, "--requests", "-")
				require.Empty(t, r.err)
				lines := strings.Split(strings.TrimSuffix(r.out, "\n"), "\n")
				require.Len(t, lines, len(test.want))
				for i, want := range test.want {
					require.True(t, strings.HasPrefix(lines[i], want), "%s", lines[i])
					require.True(t, json.Valid([]byte(lines[i])), "%s", lines[i])
				}
			}
		})
	}
}

func TestARequestIsAnsweredBeforeTheNextIsAsked(t *testing.T) {
	for _, format := range []string{formatJSON, formatTable} {
		in, ask := io.Pipe()
		answers, out := io.Pipe()
		c := &Console{In: in, Out: out, Err: io.Discard}
		done := make(chan int)
		go func() {
			done <- Run(context.Background(), c, []string{"eval", "--policies", policies, "--requests", "-", "-o", format})
			out.Close()
		}()
		lines := bufio.NewScanner(answers)
		for i, effect := range []string{"Allow", "Deny", "Allow"} {
			address := "203.0.113.1"
			if effect == "Deny" {
				address = "203.0.113.2"
			}
			_, err := io.WriteString(ask, `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"`+address+"\"}\n")
			require.NoError(t, err)
			if i == 0 && format == formatTable {
				require.True(t, lines.Scan())
			}
			require.True(t, lines.Scan())
			require.Contains(t, lines.Text(), effect)
		}
		require.NoError(t, ask.Close())
		require.Equal(t, 1, <-done)
	}
}

func TestAnInputThatBreaksOffEndsWithTwoAfterItsAnswers(t *testing.T) {
	in := io.MultiReader(strings.NewReader(`{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}`+"\n"), iotest.ErrReader(errors.New("device gone")))
	r := runOn(t, &Console{In: in}, "eval", "--policies", policies, "--requests", "-")
	require.Equal(t, 2, r.status)
	require.Contains(t, r.out, `"Allow"`)
	require.Equal(t, "keymoat: standard input: device gone\n", r.err)
}

// randomRequests returns lines of which most are requests.
func randomRequests(seed uint64, n int) string {
	rng := rand.New(rand.NewPCG(seed, 1))
	pick := func(choices ...string) string { return choices[rng.IntN(len(choices))] }
	var b strings.Builder
	for range n {
		fields := map[string]string{
			"AccessKeyId": pick(key1, key1, "LTAI5tExample0000000002", key3, "LTAI5tExample0000000004", "LTAI5tExample0000000009", "STS.Example1", "", "a b"),
			"SourceIp":    pick("203.0.113.1", "203.0.113.2", "192.168.7.7", "198.51.100.9", "2001:db8::5", "2001:db9::5", "::ffff:203.0.113.1", "0.0.0.0", "x"),
		}
		for name, choices := range map[string][]string{
			"VpcId":     {vpc, "vpc-other", "", "vpc-" + strings.Repeat("a", rng.IntN(300))},
			"AccountId": {"1000000000000001", "1000000000000002", ""},
			"Service":   {"Oss", "eventbridge", "Cms", "\"<é>\""},
			"Action":    {"PutCustomEvent", "GetObject"},
			"Protocol":  {"HTTP", "HTTPS"},
			"Unknown":   {""},
		} {
			if odds := 4; name == "Unknown" && rng.IntN(30) == 0 || name != "Unknown" && rng.IntN(odds) == 0 {
				fields[name] = pick(choices...)
			}
		}
		line, _ := json.Marshal(fields)
		if rng.IntN(50) == 0 {
			line = line[:rng.IntN(len(line))]
		}
		b.Write(line)
		b.WriteByte('\n')
	}
	return b.String()
}

func TestBothEnginesAnswerAlike(t *testing.T) {
	for seed := range uint64(3) {
		requests := randomRequests(seed, 10_000)
		native := run(t, requests, "eval", "--policies", policies, "--requests", "-")
		wasm := run(t, requests, "eval", "--policies", policies, "--requests", "-", "--engine", "wasm")
		require.Equal(t, native.status, wasm.status)
		require.Equal(t, native.err, wasm.err)
		require.True(t, native.out == wasm.out, "the answers differ")
		require.Equal(t, 10_000, strings.Count(native.out, "\n"))
		for _, sign := range []string{`"Allow"`, `"Deny"`, `"Error"`, `"Matched"`, `"AccountMismatch"`, `"VPCNotListed"`} {
			require.Contains(t, native.out, sign)
		}
	}
}

// FuzzEachLineHasOneAnswer checks that however the input is cut into pieces,
// each line of it has one answer, and the same.
func FuzzEachLineHasOneAnswer(f *testing.F) {
	requests, err := os.ReadFile("testdata/requests.ndjson")
	require.NoError(f, err)
	f.Add(requests, 7)
	f.Add([]byte("\n\n{}\r\n"), 1)
	f.Add([]byte(randomRequests(5, 30)), 1000)
	document, err := os.ReadFile("testdata/policy.json")
	require.NoError(f, err)
	native := host.NewNative()
	_, err = native.Load(context.Background(), document)
	require.NoError(f, err)
	answer := func(t *testing.T, in io.Reader) string {
		var out bytes.Buffer
		c := &Console{Out: &out, Err: io.Discard}
		s := stream{ev: native, out: answerWriter{c: c}, progress: progress{c: c}}
		require.NoError(t, s.run(t.Context(), in))
		require.Equal(t, strings.Count(out.String(), "\n"), s.lines)
		return out.String()
	}
	f.Fuzz(func(t *testing.T, in []byte, piece int) {
		whole := answer(t, bytes.NewReader(in))
		lines := bytes.Count(in, []byte{'\n'})
		if len(in) > 0 && in[len(in)-1] != '\n' {
			lines++
		}
		require.Equal(t, lines, strings.Count(whole, "\n"))
		for line := range strings.Lines(whole) {
			require.True(t, json.Valid([]byte(line)), "%s", line)
		}
		require.Equal(t, whole, answer(t, &pieces{in, max(1, piece%4096)}))
	})
}

// pieces reads at most n bytes at a time.
type pieces struct {
	rest []byte
	n    int
}

func (p *pieces) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), p.n)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// faulty is an evaluator that some requests, or all, make fail.
type faulty struct {
	host.Evaluator
	err error
}

func (f faulty) EvaluateBatch(context.Context, []abi.Request, []abi.Decision) error { return f.err }

func TestAnErrorOfTheEvaluatorIsNeverADecision(t *testing.T) {
	const line = `{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}` + "\n"
	var out bytes.Buffer
	c := &Console{Out: &out}
	s := stream{out: answerWriter{c: c}, progress: progress{c: c}, ev: faulty{err: &abi.BatchError{Items: []abi.BatchItem{
		{Index: 0, Status: abi.StatusInvalidSourceIP}, {Index: 1, Status: abi.StatusInternal},
	}}}}
	require.NoError(t, s.run(t.Context(), strings.NewReader(line+"x\n"+line+line)))
	lines := strings.Split(out.String(), "\n")
	require.Equal(t, `{"Error":{"Code":"InvalidSourceIp","Message":"the request has no readable SourceIp"}}`, lines[0])
	require.Contains(t, lines[1], `{"Error":{"Code":"InvalidRequest",`)
	require.Equal(t, `{"Error":{"Code":"Internal","Message":"internal fault in the evaluator"}}`, lines[2])
	require.NotContains(t, lines[3], `"Allow"`, "a decision that the evaluator did not make denies")
	require.Equal(t, 3, s.out.failed)
	require.Equal(t, 1, s.out.denied)

	out.Reset()
	s = stream{out: answerWriter{c: c}, progress: progress{c: c}, ev: faulty{err: errors.New("trapped")}}
	require.EqualError(t, s.run(t.Context(), strings.NewReader(line+"x\n"+line)), "requests 1 to 3: trapped")
	require.Empty(t, out.String())
}

func TestALongEvaluationShowsItsProgressOnATerminal(t *testing.T) {
	var err bytes.Buffer
	p := progress{c: &Console{Err: &err, ErrTerminal: true}, total: 1000}
	p.show(10, 100)
	require.Empty(t, err.String(), "short work needs no progress")
	p.next = time.Unix(1, 0)
	p.show(1234, 250)
	p.clear()
	require.Equal(t, "\r\x1b[K1,234 requests, 25%\r\x1b[K", err.String())

	err.Reset()
	for _, c := range []*Console{{Err: &err}, {Err: &err, ErrTerminal: true, OutTerminal: true}} {
		p := progress{c: c, next: time.Unix(1, 0)}
		p.show(1, 1)
		p.clear()
	}
	require.Empty(t, err.String(), "no terminal, or the answers are on it")

	c := &Console{Err: &err, ErrTerminal: true}
	c.stage(1<<20, "compiling x")()
	require.Empty(t, err.String())
	c.stage(100<<20, "compiling x")()
	require.Equal(t, "compiling x (100 MiB) …\r\x1b[K", err.String())
}

func BenchmarkEvalStream(b *testing.B) {
	for _, engine := range []string{engineNative, engineWasm} {
		b.Run(engine, func(b *testing.B) {
			requests := write(b, "requests.ndjson", strings.Repeat(`{"AccessKeyId":"LTAI5tExample0000000001","SourceIp":"203.0.113.1"}`+"\n", 100_000))
			b.ResetTimer()
			for b.Loop() {
				c := &Console{Out: io.Discard, Err: io.Discard}
				if status := Run(b.Context(), c, []string{"eval", "--policies", policies, "--requests", requests, "--engine", engine}); status != 0 {
					b.Fatal(status)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100_000, "ns/request")
		})
	}
}

func ExampleRun() {
	c := &Console{In: strings.NewReader(""), Out: os.Stdout, Err: os.Stderr}
	status := Run(context.Background(), c, []string{"eval", "--policies", policies, "--access-key-id", key1, "--source-ip", "203.0.113.1"})
	fmt.Println(status)
	// Output:
	// {"Effect":"Allow","Reason":"Matched","Level":"Account","Network":"Public","Statement":0,"Entry":"203.0.113.1/32"}
	// 0
}
