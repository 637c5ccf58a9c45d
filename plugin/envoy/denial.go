package main

import (
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/keymoat/keymoat/abi"
)

// denial is what a refused caller sees.
type denial struct {
	format format
	status int
}

// format is the form of a denial's body.
type format uint8

const (
	formatJSON    format = iota
	formatOpenAPI        // the error of the cloud's RPC and ROA APIs
	formatOSS            // the error of the object storage service
	formatPlain
)

// status is the HTTP status that goes with a format: those of the cloud.
func (f format) status() int {
	if f == formatOpenAPI {
		return 400
	}
	return 403
}

func (f format) contentType() string {
	return [...]string{"application/json", "application/json", "application/xml", "text/plain"}[f]
}

// Codes of the object storage service, which has its own for a denial by policy.
const (
	ossDenied   = "InvalidAccessKeyId"
	ossDeniedEC = "0002-00000904"
)

// faultResponse answers when the filter itself has failed. It is made up
// beforehand, since what failed may be the making of an answer.
var faultResponse = response{
	status:      403,
	contentType: formatPlain.contentType(),
	body:        []byte("The request could not be judged.\n"),
	details:     "keymoat_" + internalFault.String(),
}

// refuse answers a request that may not go on.
func (f *filter) refuse(c *config, j *judgement) {
	r := response{status: c.denial.status, details: "keymoat_" + j.decision.Reason.String()}
	if j.problem != noProblem {
		r.status, r.details = 403, "keymoat_"+j.problem.String()
	}
	form := c.denial.format
	if contentType, _ := headerNamed(f.headers, "content-type"); strings.HasPrefix(contentType, "application/grpc") {
		form = formatPlain // Envoy makes it the status message
	}
	r.contentType = form.contentType()
	r.body = f.body(form, j)
	f.host.respond(&r)
}

// body tells the caller which address was seen. Which rule refused it is for
// the log alone: it would tell a stranger which keys exist.
func (f *filter) body(form format, j *judgement) []byte {
	requestID, _ := headerNamed(f.headers, "x-request-id")
	host, _ := headerNamed(f.headers, ":authority")
	code, message := j.code(), j.message()
	switch form {
	case formatJSON:
		b := append([]byte(nil), '{')
		b = appendField(b, "Code", code)
		b = appendField(b, "Message", message)
		b = appendField(b, "SourceIp", j.source.seen)
		b = appendField(b, "VpcId", j.vpcID)
		b = appendField(b, "RequestId", requestID)
		return append(b, "}\n"...)
	case formatOpenAPI:
		b := append([]byte(nil), '{')
		b = appendField(b, "RequestId", requestID)
		b = appendField(b, "HostId", host)
		b = appendField(b, "Code", code)
		b = appendField(b, "Message", message)
		return append(b, "}\n"...)
	case formatOSS:
		b := []byte(`<?xml version="1.0" encoding="UTF-8"?>` + "\n<Error>")
		if code == abi.DenialCode {
			code = ossDenied
		}
		b = appendElement(b, "Code", code)
		b = appendElement(b, "Message", message)
		b = appendElement(b, "RequestId", requestID)
		b = appendElement(b, "HostId", host)
		if code == ossDenied {
			b = appendElement(b, "EC", ossDeniedEC)
		}
		return append(b, "</Error>\n"...)
	}
	return []byte(code + ": " + message + "\n")
}

// code is the cloud's for a denial and the ABI's for a request in error.
func (j *judgement) code() string {
	if j.problem != noProblem {
		return j.problem.String()
	}
	return abi.DenialCode
}

func (j *judgement) message() string {
	text := "Specified access key denied due to access policy."
	switch {
	case j.problem == badAccessKeyID:
		text = "The access key of the request cannot be read."
	case j.problem == badSourceIP:
		text = "The source address of the request cannot be read."
	case j.problem == badVPCID:
		text = "The VPC of the request cannot be read."
	case j.problem != noProblem:
		text = "The request could not be judged."
	case j.decision.Reason == abi.ReasonNoAccessKey:
		text = "The request names no access key."
	case j.decision.Reason == abi.ReasonAmbiguousAccessKey:
		text = "The request names two different access keys."
	}
	if j.source.seen != "" {
		text += " The source address is " + j.source.seen
		if j.vpcID != "" && j.problem == noProblem {
			text += " in " + j.vpcID
		}
		text += "."
	}
	return text
}

// appendField appends a field of a JSON object unless it is empty.
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
	b, _ = jsontext.AppendQuote(b, value) // invalid UTF-8 is replaced
	return b
}

// appendElement appends an element of an XML document unless it is empty.
func appendElement(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, '<')
	b = append(b, name...)
	b = append(b, '>')
	for _, c := range strings.ToValidUTF8(value, "?") {
		switch {
		case c == '<':
			b = append(b, "&lt;"...)
		case c == '>':
			b = append(b, "&gt;"...)
		case c == '&':
			b = append(b, "&amp;"...)
		case c < ' ' || c == 0x7f || c == 0xfffe || c == 0xffff: // no XML has these
			b = append(b, '?')
		default:
			b = append(b, string(c)...)
		}
	}
	b = append(b, "</"...)
	b = append(b, name...)
	return append(b, '>')
}
