package main

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
	"github.com/keymoat/keymoat/plugin/policy"
	"github.com/keymoat/keymoat/plugin/strictjson"
)

// config is a plugin configuration. It does not change.
type config struct {
	evaluator   *policy.Evaluator
	candidate   *policy.Evaluator // nil for none
	reportOnly  bool
	vpc         vpcSource
	service     string
	accountID   string
	denyMissing bool // refuse a request that claims no key
	denyForms   bool // refuse a request whose body is a form
	format      denial.Format
	status      int      // of a denial
	fault       response // to a request that the filter fails on
	headers     names    // of the names of the headers that a decision may need
}

// unconfigured stands for the configuration of a plugin that has no valid one.
// Envoy gives such a plugin no requests; should it ever, they are refused.
var unconfigured = func() (c config) {
	c.status = c.format.Status()
	c.prepareFault()
	c.headers.add(":method")
	return c
}()

// parseConfig reads a plugin configuration, which abi/schema/plugin-config.json
// describes. What is returned does not alias the document. The configuration
// counts only if there are no errors.
func parseConfig(document []byte) (c *config, errors, warnings []abi.Finding) {
	r := configReader{strictjson.New(document, deepest)}
	c = r.config()
	r.End()
	return c, r.Errors.List(), r.Warnings.List()
}

// deepest is how deep a configuration may be nested: as deep as a policy set,
// which lies in it.
const deepest = abi.MaxDepth + 1

type configReader struct{ *strictjson.Reader }

func (r configReader) config() *config {
	const (
		policySet = iota
		policyImage
		mode
		candidatePolicySet
		vpcID
		service
		accountID
		onMissingAccessKey
		onFormBody
		denied
	)
	fields := []string{"policy_set", "policy_image", "mode", "candidate_policy_set", "vpc_id",
		"service", "account_id", "on_missing_access_key", "on_form_body", "denial"}
	c := &config{}
	w := r.Object(fields, 0)
	for w.Next() {
		switch w.I {
		case policySet:
			c.evaluator = r.policySet()
		case policyImage:
			c.evaluator = r.policyImage()
		case mode:
			c.reportOnly = r.choice("enforce", "report_only") == 1
		case candidatePolicySet:
			c.candidate = r.policySet()
		case vpcID:
			c.vpc = r.vpcSource()
		case service:
			c.service = r.check(func(s string) bool { return s != "" && len(s) <= abi.MaxField }, "must have 1 to 255 bytes")
		case accountID:
			c.accountID = r.check(abi.ValidID, "must have 1 to 128 letters, digits and . _ = -")
		case onMissingAccessKey:
			c.denyMissing = r.choice("allow", "deny") == 1
		case onFormBody:
			c.denyForms = r.choice("allow", "deny") == 1
		case denied:
			c.format, c.status = r.denial()
		}
	}
	switch {
	case !w.Done():
	case w.Saw(policySet) && w.Saw(policyImage):
		r.Error(abi.CodeInvalidValue, "has both policy_set and policy_image; one of them must go")
	case !w.Saw(policySet) && !w.Saw(policyImage):
		r.Error(abi.CodeMissingField, "the field policy_set is missing, or policy_image in its place")
	}
	if c.status == 0 {
		c.status = c.format.Status()
	}
	c.prepareFault()
	c.headers.add(":path")
	c.headers.add(":method")
	for _, name := range credential.HeaderNames() {
		c.headers.add(name)
	}
	if c.vpc.from == vpcHeader && c.vpc.header != "" {
		c.headers.add(c.vpc.header)
	}
	return c
}

// check reads a string that must meet a condition.
func (r configReader) check(valid func(string) bool, what string) string {
	s, ok := r.Text()
	if ok && !valid(s) {
		r.Error(abi.CodeInvalidValue, what)
	}
	return strings.Clone(s)
}

// choice reads one of several strings and returns its place among them.
func (r configReader) choice(options ...string) int {
	s, ok := r.Text()
	if !ok {
		return -1
	}
	i := slices.Index(options, s)
	if i < 0 {
		r.Error(abi.CodeInvalidValue, "must be one of "+strings.Join(options, ", "))
	}
	return i
}

// integer reads a whole number between two bounds.
func (r configReader) integer(least, most int) int {
	v := r.Value()
	if v == nil {
		return 0
	}
	n, err := strconv.Atoi(string(v))
	if err != nil || n < least || n > most {
		r.Error(abi.CodeInvalidValue, "must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n
}

func (r configReader) policySet() *policy.Evaluator {
	document := r.Value()
	if document == nil {
		return nil
	}
	image, report, _ := policy.Compile(document)
	at := r.Here()
	for _, f := range report.Errors {
		r.Errors.Add(f.Code, at+f.Pointer, f.Message)
	}
	for _, f := range report.Warnings {
		r.Warnings.Add(f.Code, at+f.Pointer, f.Message)
	}
	if !report.Valid {
		return nil
	}
	return r.evaluator(image)
}

func (r configReader) policyImage() *policy.Evaluator {
	text, ok := r.Text()
	if !ok {
		return nil
	}
	image, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		r.Error(abi.CodeInvalidValue, "is not base64")
		return nil
	}
	return r.evaluator(image)
}

func (r configReader) evaluator(image []byte) *policy.Evaluator {
	e, err := policy.Open(image)
	if err != nil {
		r.Error(abi.CodeInvalidValue, err.Error())
	}
	return e
}

func (r configReader) vpcSource() (s vpcSource) {
	const from, key, value, name, trustedPeers = 0, 1, 2, 3, 4
	fields := []string{"from", "key", "value", "name", "trusted_peers"}
	needs := [...][]int{vpcStatic: {value}, vpcTLV: {key}, vpcHeader: {name, trustedPeers}}
	w := r.Object(fields, 1<<from)
	for w.Next() {
		switch w.I {
		case from:
			s.from = vpcFrom(1 + r.choice("static", "proxy_protocol_tlv", "header"))
		case key:
			s.path = tlvPath + r.check(validKey, "must be the key that the rule of Envoy's PROXY protocol filter names")
		case value:
			s.value = r.check(abi.ValidVPCID, "must be a VPC id: vpc- and 1 to 64 lower-case letters or digits")
		case name:
			s.header = strings.ToLower(r.check(validVPCHeader, "must be the name of a header that means nothing else"))
		case trustedPeers:
			s.trusted = r.blocks()
		}
	}
	if !w.Done() || s.from == vpcNone {
		return s
	}
	for i, field := range fields {
		switch needed := slices.Contains(needs[s.from], i); {
		case needed && !w.Saw(i):
			r.Error(abi.CodeMissingField, "the field "+field+" is missing")
		case !needed && w.Saw(i) && i != from:
			r.Error(abi.CodeUnknownField, "the field "+field+" belongs to another from")
		}
	}
	return s
}

func (r configReader) blocks() (blocks []ip.Prefix) {
	w := r.Array()
	for w.Next() {
		if s, ok := r.Text(); ok {
			block, masked, err := ip.ParsePrefix(s)
			if err != nil {
				r.Error(abi.CodeInvalidEntry, err.Error())
			} else if masked {
				r.Warnings.Add(abi.CodeHostBits, r.Here(), "host bits are set; read as "+block.String())
			}
			blocks = append(blocks, block)
		}
	}
	if w.Done() && w.I == 0 {
		r.Error(abi.CodeInvalidValue, "must name at least one peer")
	}
	return blocks
}

func (r configReader) denial() (f denial.Format, status int) {
	const format = 0
	for w := r.Object([]string{"format", "status"}, 0); w.Next(); {
		if w.I != format {
			status = r.integer(400, 599)
			continue
		}
		var names []string
		for _, format := range denial.Formats() {
			names = append(names, format.String())
		}
		f = denial.Format(max(0, r.choice(names...)))
	}
	return f, status
}

func validKey(s string) bool { return s != "" && strings.IndexByte(s, 0) < 0 }

// validVPCHeader reports whether s is a token of RFC 9110, as names of headers
// are, and not one that Envoy keeps elsewhere or that tells of a key id.
func validVPCHeader(s string) bool {
	if credential.SameName(s, "host") || credential.Reads(s) {
		return false
	}
	for _, c := range []byte(s) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
