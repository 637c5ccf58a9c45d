package main

// filter is the state of one VM. Each of Envoy's workers has a VM of its own
// and calls it from one thread, so nothing here is ever used twice at once.
type filter struct {
	host     host
	counters counters
	plugins  []plugin
	log      eventLog

	// The stream that was created last and the configuration of its plugin.
	// Envoy creates a stream's context right before it hands over the headers,
	// so there is never more than one to remember. The filter does not ask to
	// be told when a stream is done: that would cost each request a call.
	stream uint32
	config *config

	request request // at hand; kept here so that none has to be allocated
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
			f.host.log(levelError, "configuration rejected: fault in the filter: "+causeText(cause))
			ok = false
		}
	}()
	if f.counters.passed == 0 && !f.counters.define(f.host) {
		f.host.log(levelError, "configuration rejected: Envoy has no room for the counters")
		return false
	}
	f.log.verbose = f.host.verbose()
	f.forgetPlugins(context)
	document, ok := f.host.configuration(size)
	if !ok {
		f.host.log(levelError, "configuration rejected: Envoy did not hand it over")
		return false
	}
	c, errors, warnings := parseConfig(document)
	if f.log.verbose {
		f.log.report(f.host, errors, warnings)
	}
	if len(errors) > 0 {
		logRejected(f.host, errors)
		return false
	}
	f.plugin(context).config = c
	f.host.tick()
	logAccepted(f.host, c, warnings)
	return true
}

// tick is called about once a second for each plugin.
func (f *filter) tick(context uint32) {
	defer func() {
		if cause := recover(); cause != nil {
			f.log.fault(f.host, cause)
		}
	}()
	f.counters.flush(f.host)
	f.log.verbose = f.host.verbose()
	f.forgetPlugins(context)
}

// forgetPlugins drops the plugins that Envoy has dropped since. The current one
// is the one that Envoy has just called for.
func (f *filter) forgetPlugins(current uint32) {
	kept := f.plugins[:0]
	for _, p := range f.plugins {
		if p.context == current || f.host.exists(p.context) {
			kept = append(kept, p)
		}
	}
	clear(f.plugins[len(kept):])
	f.plugins = kept
	f.host.exists(current) // Envoy takes what follows to be about the one asked for last
}

// requestHeaders decides whether a request goes on. If not, it has been answered.
//
// The way of an allowed request is short on purpose: between two requests the
// processor's caches have forgotten this code, so its size counts as much as
// its speed. Whatever is uncommon is done elsewhere.
func (f *filter) requestHeaders(stream uint32) (goOn bool) {
	c, r := f.config, &f.request
	if stream != f.stream || c == nil {
		c = &unconfigured
	}
	defer func() {
		if cause := recover(); cause != nil {
			f.fault(c, cause)
			goOn = false
		}
	}()
	f.judge(c, r)
	allowed := f.counters.count(f.host, r)
	if allowed && c.candidate == nil && !f.log.verbose {
		return true
	}
	return f.settle(c, r, allowed)
}
