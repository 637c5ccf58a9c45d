package main

import (
	"strconv"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
	"github.com/keymoat/keymoat/plugin/policy"
	"github.com/keymoat/keymoat/plugin/strictjson"
)

// eventLog writes what became of requests to Envoy's log, one JSON object a
// line. A key id is always shortened. Whoever can send requests could fill the
// disk with refusals, so of each kind only so many lines a second are written.
type eventLog struct {
	// verbose is set when Envoy's log takes lines of the level debug. Every
	// decision is then logged, and every finding about a configuration, without
	// a limit.
	verbose bool

	throttles [fault + 1]throttle
}

// event is a kind of line. Each has a throttle of its own, so that a flood of
// one does not hide another.
type event uint8

const (
	refused event = iota
	wouldRefuse
	candidateWouldAllow
	candidateWouldRefuse
	fault
)

var events = [...]struct {
	name  string
	level level
}{
	refused:              {"Refused", levelWarn},
	wouldRefuse:          {"WouldRefuse", levelWarn},
	candidateWouldAllow:  {"CandidateWouldAllow", levelInfo},
	candidateWouldRefuse: {"CandidateWouldRefuse", levelInfo},
	fault:                {"Fault", levelError},
}

// tell tells what became of a request.
func (l *eventLog) tell(h host, e event, r *request) {
	if suppressed, ok := l.throttles[e].admit(h.now()); ok {
		h.log(events[e].level, line(events[e].name, r, suppressed))
	}
}

func (l *eventLog) decided(h host, r *request) {
	h.log(levelDebug, line("Decided", r, 0))
}

// report tells all findings about a configuration.
func (l *eventLog) report(h host, errors, warnings []abi.Finding) {
	b := appendField([]byte("{"), "Event", "Report")
	report := policy.AppendReport(nil, &abi.Report{Valid: len(errors) == 0, Errors: errors, Warnings: warnings})
	b = append(b, ',')
	h.log(levelDebug, string(append(b, report[1:]...)))
}

func (l *eventLog) fault(h host, cause any) {
	if suppressed, ok := l.throttles[fault].admit(h.now()); ok {
		b := appendField([]byte("{"), "Event", events[fault].name)
		b = appendField(b, "Cause", causeText(cause))
		h.log(events[fault].level, string(appendSuppressed(b, suppressed)))
	}
}

func causeText(cause any) string {
	switch cause := cause.(type) {
	case error:
		return cause.Error()
	case string:
		return cause
	}
	return "unknown"
}

// line describes a request. Its path is left out: the query may hold signatures.
func line(event string, r *request, suppressed int) string {
	b := appendField([]byte("{"), "Event", event)
	if decision, status := r.word.Decision(r.source.addr()); r.problem != denial.NoProblem || status != abi.StatusOK {
		b = appendField(b, "Error", r.problem.String())
	} else {
		fields := decision.AppendJSON(nil)
		b = append(b, ',')
		b = append(b, fields[1:len(fields)-1]...)
	}
	if id := r.claim.AccessKeyID; id != "" {
		b = appendField(b, "AccessKeyId", abi.ShortID(id))
	}
	switch {
	case r.form:
		b = appendField(b, "Place", "form body")
	case r.claim.Place != credential.Nowhere:
		b = appendField(b, "Scheme", r.claim.Scheme.String())
		b = appendField(b, "Place", r.claim.Place.String())
	}
	b = appendField(b, "SourceIp", denial.Cut(r.source.seen))
	b = appendField(b, "VpcId", denial.Cut(r.vpcID))
	b = appendField(b, "RequestId", denial.Cut(headerNamed(r.headers, "x-request-id")))
	return string(appendSuppressed(b, suppressed))
}

// appendField appends a member of a JSON object unless it is empty.
func appendField(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	if b[len(b)-1] != '{' {
		b = append(b, ',')
	}
	b = append(b, '"')
	b = append(b, name...)
	b = append(b, `":`...)
	return strictjson.AppendQuoted(b, value)
}

func appendSuppressed(b []byte, n int) []byte {
	if n > 0 {
		b = append(b, `,"Suppressed":`...)
		b = strconv.AppendInt(b, int64(n), 10)
	}
	return append(b, '}')
}

// throttle admits a number of events a second.
type throttle struct {
	second     uint64
	admitted   int
	suppressed int // since the last one that was admitted
}

const (
	admittedPerSecond = 10
	nanoseconds       = 1_000_000_000
)

func (t *throttle) admit(now uint64) (suppressed int, ok bool) {
	if second := now / nanoseconds; second != t.second {
		t.second, t.admitted = second, 0
	}
	if t.admitted == admittedPerSecond {
		t.suppressed++
		return 0, false
	}
	t.admitted++
	suppressed, t.suppressed = t.suppressed, 0
	return suppressed, true
}

// mostLogged is how many errors of a configuration the log tells.
const mostLogged = 20

func logRejected(h host, errors []abi.Finding) {
	for i, f := range errors {
		if i == mostLogged {
			h.log(levelError, "configuration rejected: and "+strconv.Itoa(len(errors)-i)+" more")
			return
		}
		h.log(levelError, "configuration rejected: "+findingText(f))
	}
}

// logAccepted tells what is now in force. It is one line, as each worker says it.
func logAccepted(h host, c *config, warnings []abi.Finding) {
	mode := "enforce"
	if c.reportOnly {
		mode = "report_only"
	}
	text := "configuration accepted: revision " + c.evaluator.Revision() + ", mode " + mode
	if c.candidate != nil {
		text += ", candidate " + c.candidate.Revision()
	}
	l := levelInfo
	if n := len(warnings); n > 0 {
		l = levelWarn
		text += "; " + strconv.Itoa(n) + " warnings, first: " + findingText(warnings[0])
	}
	h.log(l, text)
}

func findingText(f abi.Finding) string {
	at := f.Pointer
	if at == "" {
		at = "(whole document)"
	}
	return at + ": " + f.Message + " (" + string(f.Code) + ")"
}
