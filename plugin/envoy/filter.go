package main

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
)

// filter is the state of one VM. Each of Envoy's workers has a VM of its own
// and calls it from one thread, so nothing here is ever used twice at once.
type filter struct {
	host     host
	counters counters
	plugins  []plugin

	// The stream that was created last and the configuration of its plugin.
	// Envoy creates a stream's context right before it hands over the headers,
	// so there is never more than one to remember. The filter does not ask to
	// be told when a stream is done: that would cost each request a call.
	stream uint32
	config *config

	// Of the request at hand, kept here so that none allocates them.
	headers []abi.HTTPHeader
	request abi.HTTPRequest

	log eventLog
}

// plugin is one configuration of the filter. Filters with the same code share
// a VM whatever their configurations, and while an update settles the old
// configuration and the new one are in force side by side.
type plugin struct {
	context uint32
	config  *config // nil until there is a valid one: every request is refused
}

// createContext is told of every new context: that of a plugin, which has no
// parent, or that of a stream, whose parent is its plugin's.
func (f *filter) createContext(context, parent uint32) {
	if parent == 0 {
		f.plugin(context)
		return
	}
	f.stream, f.config = context, nil
	for i := range f.plugins {
		if f.plugins[i].context == parent {
			f.config = f.plugins[i].config
			return
		}
	}
}

// plugin returns the plugin of that context, a new one if there is none.
func (f *filter) plugin(context uint32) *plugin {
	for i := range f.plugins {
		if f.plugins[i].context == context {
			return &f.plugins[i]
		}
	}
	f.plugins = append(f.plugins, plugin{context: context})
	return &f.plugins[len(f.plugins)-1]
}

// configure reads the configuration of a plugin. Envoy keeps the former one if
// it returns false.
func (f *filter) configure(context, size uint32) (ok bool) {
	defer func() {
		if cause := recover(); cause != nil {
			f.host.log(levelError, "keymoat: configuration rejected: fault in the filter: "+causeText(cause))
			ok = false
		}
	}()
	if f.counters == (counters{}) {
		f.counters = newCounters(f.host)
	}
	f.log.verbose = f.host.verbose()
	f.forgetPlugins(context)
	document, ok := f.host.configuration(size)
	if !ok {
		f.host.log(levelError, "keymoat: configuration rejected: Envoy did not hand it over")
		return false
	}
	c, errors, warnings := parseConfig(document)
	if len(errors) > 0 {
		logRejected(f.host, errors)
		return false
	}
	f.plugin(context).config = c
	logAccepted(f.host, c, warnings)
	return true
}

// forgetPlugins drops the plugins that Envoy has dropped since, but not the
// one that is about to be configured.
func (f *filter) forgetPlugins(except uint32) {
	kept := f.plugins[:0]
	for _, p := range f.plugins {
		if p.context == except || f.host.exists(p.context) {
			kept = append(kept, p)
		}
	}
	clear(f.plugins[len(kept):])
	f.plugins = kept
	f.host.exists(except) // last, since Envoy takes what follows to be about the one asked for last
}

// requestHeaders decides whether a request goes on. If not, it has been answered.
func (f *filter) requestHeaders(stream uint32) (goOn bool) {
	defer func() {
		if cause := recover(); cause != nil {
			goOn = f.fault(cause)
		}
	}()
	c := f.config
	if stream != f.stream || c == nil {
		c = &unconfigured
	}
	var j judgement
	f.judge(c, &j)

	f.count(f.counters.of(&j))
	if c.candidate != nil && j.candidate.Allowed() != j.allowed() {
		f.differs(&j)
	}
	if f.log.verbose {
		f.log.decided(f.host, f.headers, &j)
	}
	if j.allowed() {
		return true
	}
	f.log.refused(f.host, c, f.headers, &j)
	if c.reportOnly {
		f.count(f.counters.passed)
		return true
	}
	f.refuse(c, &j)
	return false
}

// judgement is what became of one request. Its strings last as long as the request's.
type judgement struct {
	source   source
	vpcID    string
	key      string  // the AccessKey id that the request claims, if it claims one
	problem  problem // stands in place of a decision
	decision abi.Decision
	// candidate is what the candidate policy set decides, zero if it cannot.
	candidate abi.Decision
}

func (j *judgement) allowed() bool { return j.problem == noProblem && j.decision.Allowed() }

// judge finds out what the evaluator needs to know of the request and asks it.
// At the first thing that cannot be read it stops: the zero decision refuses.
func (f *filter) judge(c *config, j *judgement) {
	f.headers, f.request = f.headers[:0], abi.HTTPRequest{}
	raw, ok := f.host.requestHeaders()
	if ok {
		f.headers, ok = appendHeaders(f.headers, raw)
	}
	if !ok {
		j.problem = internalFault
		return
	}
	injectFault(f.headers)
	if address, found := f.host.property(sourcePath); found == present {
		j.source = parseSource(unsafe.String(unsafe.SliceData(address), len(address)))
	}
	if c == &unconfigured {
		j.problem = notConfigured
		return
	}
	if j.vpcID, ok = f.vpcID(c, j.source); !ok {
		j.problem = badVPCID
		return
	}

	r := &f.request
	r.Target, _ = headerNamed(f.headers, ":path")
	r.Headers = f.headers
	r.SourceIP, r.VPCID = j.source.ip, j.vpcID
	r.AccountID, r.Service = c.accountID, c.service
	r.DenyMissingAccessKey = c.denyMissing
	var (
		word   abi.Word
		status abi.Status
	)
	word, j.key = c.evaluator.Authorize(r)
	j.decision, status = word.Decision(r.SourceIP)
	j.problem = problemOf(status)
	if c.candidate != nil {
		word, _ = c.candidate.Authorize(r)
		j.candidate, _ = word.Decision(r.SourceIP)
	}
}

// differs tells that the candidate policy set would decide otherwise.
func (f *filter) differs(j *judgement) {
	counter := f.counters.candidateDenies
	if j.candidate.Allowed() {
		counter = f.counters.candidateAllows
	}
	f.count(counter)
	f.log.differs(f.host, f.headers, j)
}

// fault ends a request that the filter failed on. It calls nothing that could
// fail in the same way.
func (f *filter) fault(cause any) (goOn bool) {
	f.count(f.counters.errors[internalFault])
	f.log.fault(f.host, cause)
	if f.config != nil && f.config.reportOnly {
		return true
	}
	f.host.respond(&faultResponse)
	return false
}

func (f *filter) count(counter uint32) {
	if counter != 0 {
		f.host.increment(counter)
	}
}
