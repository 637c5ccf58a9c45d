package main

import (
	"encoding/base64"
	"slices"
	"strings"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
	"github.com/keymoat/keymoat/plugin/credential"
	"github.com/keymoat/keymoat/plugin/denial"
	"github.com/keymoat/keymoat/plugin/policy"
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
	format      denial.Format
	status      int      // of a denial
	fault       response // to a request that the filter fails on
	headers     lengths  // of the names of the headers that a decision may need
}

// unconfigured stands for the configuration of a plugin that has no valid one.
// Envoy gives such a plugin no requests; should it ever, they are refused.
var unconfigured = func() (c config) {
	c.status = c.format.Status()
	c.prepareFault()
	return c
}()

// parseConfig reads a plugin configuration, which abi/schema/plugin-config.json
// describes. What is returned does not alias the document. The configuration
// counts only if there are no errors.
func parseConfig(document []byte) (c *config, errors, warnings []abi.Finding) {
	r := configReader{newReader(document)}
	c = r.config()
	r.end()
	return c, r.errors, r.warnings
}

type configReader struct{ *reader }

func (r configReader) config() *config {
	c := &config{}
	fields := []string{"policy_set", "policy_image", "mode", "candidate_policy_set", "vpc_id",
		"service", "account_id", "on_missing_access_key", "denial"}
	seen, ok := r.object(fields, func(name string) {
		switch name {
		case "policy_set":
			c.evaluator = r.policySet()
		case "policy_image":
			c.evaluator = r.policyImage()
		case "candidate_policy_set":
			c.candidate = r.policySet()
		case "mode":
			c.reportOnly = r.choice("enforce", "report_only") == 1
		case "vpc_id":
			c.vpc = r.vpcSource()
		case "service":
			c.service = r.check(func(s string) bool { return s != "" && len(s) <= abi.MaxField }, "must have 1 to 255 bytes")
		case "account_id":
			c.accountID = r.check(abi.ValidID, "must have 1 to 128 letters, digits and . _ = -")
		case "on_missing_access_key":
			c.denyMissing = r.choice("allow", "deny") == 1
		case "denial":
			c.format, c.status = r.denial()
		}
	})
	set, image := slices.Contains(seen, "policy_set"), slices.Contains(seen, "policy_image")
	switch {
	case !ok:
	case set && image:
		r.error(abi.CodeInvalidValue, "has both policy_set and policy_image; one of them must go")
	case !set && !image:
		r.error(abi.CodeMissingField, "the field policy_set is missing, or policy_image in its place")
	}
	if c.status == 0 {
		c.status = c.format.Status()
	}
	c.prepareFault()
	c.headers.add(":path")
	for _, name := range credential.HeaderNames() {
		c.headers.add(name)
	}
	if c.vpc.from == vpcHeader {
		c.headers.add(c.vpc.header)
	}
	return c
}

// check reads a string that must meet a condition.
func (r configReader) check(valid func(string) bool, what string) string {
	s, ok := r.text()
	if ok && !valid(s) {
		r.error(abi.CodeInvalidValue, what)
	}
	return s
}

func (r configReader) policySet() *policy.Evaluator {
	document := r.value()
	if document == nil {
		return nil
	}
	image, report, _ := policy.Compile(document)
	at := r.here()
	r.errors = appendBelow(r.errors, at, report.Errors)
	r.warnings = appendBelow(r.warnings, at, report.Warnings)
	if !report.Valid {
		return nil
	}
	return r.evaluator(image)
}

// appendBelow appends findings whose pointers count from the place at.
func appendBelow(all []abi.Finding, at string, below []abi.Finding) []abi.Finding {
	for _, f := range below {
		f.Pointer = at + f.Pointer
		all = append(all, f)
	}
	return all
}

func (r configReader) policyImage() *policy.Evaluator {
	text, ok := r.text()
	if !ok {
		return nil
	}
	image, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		r.error(abi.CodeInvalidValue, "is not base64")
		return nil
	}
	return r.evaluator(image)
}

func (r configReader) evaluator(image []byte) *policy.Evaluator {
	e, err := policy.Open(image)
	if err != nil {
		r.error(abi.CodeInvalidValue, err.Error())
	}
	return e
}

func (r configReader) vpcSource() (s vpcSource) {
	key := ""
	seen, ok := r.object([]string{"from", "key", "value", "name", "trusted_peers"}, func(name string) {
		switch name {
		case "from":
			s.from = vpcFrom(1 + r.choice("static", "proxy_protocol_tlv", "header"))
		case "key":
			key = r.check(validKey, "must be the key that the rule of Envoy's PROXY protocol filter names")
		case "value":
			s.value = r.check(abi.ValidVPCID, "must be a VPC id: vpc- and 1 to 64 lower-case letters or digits")
		case "name":
			s.header = strings.ToLower(r.check(validHeaderName, "must be the name of a header"))
		case "trusted_peers":
			s.trusted = r.blocks()
		}
	})
	s.path = tlvPath + key
	if !ok {
		return s
	}
	r.require(seen, "from")
	needs := map[vpcFrom][]string{vpcStatic: {"value"}, vpcTLV: {"key"}, vpcHeader: {"name", "trusted_peers"}}
	if fields, known := needs[s.from]; known {
		r.require(seen, fields...)
		for _, name := range seen {
			if name != "from" && !slices.Contains(fields, name) {
				r.error(abi.CodeUnknownField, "the field "+name+" belongs to another from; here it is "+strings.Join(fields, " and "))
			}
		}
	}
	return s
}

func (r configReader) blocks() (blocks []ip.Prefix) {
	n, ok := r.array(func() {
		if s, ok := r.text(); ok {
			block, _, err := ip.ParsePrefix(s)
			if err != nil {
				r.error(abi.CodeInvalidEntry, err.Error())
			}
			blocks = append(blocks, block)
		}
	})
	if ok && n == 0 {
		r.error(abi.CodeInvalidValue, "must name at least one peer")
	}
	return blocks
}

func (r configReader) denial() (f denial.Format, status int) {
	r.object([]string{"format", "status"}, func(name string) {
		switch name {
		case "format":
			var names []string
			for _, format := range denial.Formats() {
				names = append(names, format.String())
			}
			f = denial.Format(max(0, r.choice(names...)))
		case "status":
			status = r.integer(400, 599)
		}
	})
	return f, status
}

func validKey(s string) bool { return s != "" && strings.IndexByte(s, 0) < 0 }

// validHeaderName reports whether s is a token of RFC 9110, as names of headers are.
func validHeaderName(s string) bool {
	for _, c := range []byte(s) {
		if (c|0x20 < 'a' || c|0x20 > 'z') && (c < '0' || c > '9') && strings.IndexByte("!#$%&'*+-.^_`|~", c) < 0 {
			return false
		}
	}
	return s != ""
}
