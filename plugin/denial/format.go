package denial

import "github.com/keymoat/keymoat/abi"

// Format is the form of an answer's body.
type Format uint8

// The formats.
const (
	JSON    Format = iota // a JSON object of keymoat's own
	OpenAPI               // the error of the cloud's RPC and ROA APIs
	OSSXML                // the error of the cloud's object storage
	Plain                 // one line of text
)

type properties struct {
	name, contentType string
	status            int
}

var formats = [...]properties{
	JSON:    {"json", "application/json", 403},
	OpenAPI: {"openapi", "application/json", 400},
	OSSXML:  {"oss_xml", "application/xml", 403},
	Plain:   {"plain", "text/plain; charset=utf-8", 403},
}

// Formats lists every format in the order of its number.
func Formats() []Format { return []Format{JSON, OpenAPI, OSSXML, Plain} }

// String returns the name that configurations use.
func (f Format) String() string { return f.known().name }

// ContentType returns the value of the header Content-Type.
func (f Format) ContentType() string { return f.known().contentType }

// Headers returns the headers that go with the body. Of an answer without one,
// to a gRPC call, the first does not apply.
func (f Format) Headers() []abi.HTTPHeader {
	return []abi.HTTPHeader{
		{Name: "content-type", Value: f.ContentType()},
		{Name: "cache-control", Value: "no-store"},         // from another network the answer is another
		{Name: "x-content-type-options", Value: "nosniff"}, // parts of the body are the caller's
	}
}

// Status returns the HTTP status that goes with the format where no other is configured: the cloud's.
func (f Format) Status() int { return f.known().status }

func (f Format) known() *properties {
	if int(f) < len(formats) {
		return &formats[f]
	}
	return &formats[Plain]
}

// Object storage has codes of its own for a denial by policy.
const (
	ossCode = "InvalidAccessKeyId"
	ossEC   = "0002-00000904"
)

// Append appends the body of the answer.
func (f Format) Append(b []byte, d *Denial) []byte {
	switch f {
	case JSON:
		b = append(b, `{"Code":"`...)
		b = append(b, d.Code()...)
		b = append(b, `","Message":"`...)
		b = d.appendMessage(b, escapeJSON)
		b = append(b, '"')
		b = appendField(b, `,"SourceIp":"`, d.SourceIP)
		b = appendField(b, `,"VpcId":"`, d.VPCID)
		b = appendField(b, `,"RequestId":"`, d.RequestID)
		return append(b, "}\n"...)
	case OpenAPI:
		// Clients of the cloud expect both ids, empty or not.
		b = append(b, `{"RequestId":"`...)
		b = appendEscaped(b, d.RequestID, escapeJSON)
		b = append(b, `","HostId":"`...)
		b = appendEscaped(b, d.Host, escapeJSON)
		b = append(b, `","Code":"`...)
		b = append(b, d.Code()...)
		b = append(b, `","Message":"`...)
		b = d.appendMessage(b, escapeJSON)
		b = append(b, `","Recommend":"`...)
		b = append(b, d.recommendation()...)
		return append(b, "\"}\n"...)
	case OSSXML:
		code, denied := d.Code(), d.Code() == abi.DenialCode
		if denied {
			code = ossCode
		}
		b = append(b, `<?xml version="1.0" encoding="UTF-8"?>`+"\n<Error><Code>"...)
		b = append(b, code...)
		b = append(b, "</Code><Message>"...)
		b = d.appendMessage(b, escapeXML)
		b = append(b, "</Message><RequestId>"...)
		b = appendEscaped(b, d.RequestID, escapeXML)
		b = append(b, "</RequestId><HostId>"...)
		b = appendEscaped(b, d.Host, escapeXML)
		b = append(b, "</HostId>"...)
		if denied {
			b = append(b, "<EC>"+ossEC+"</EC>"...)
		}
		return append(b, "</Error>\n"...)
	}
	b = append(b, d.Code()...)
	b = append(b, ": "...)
	b = d.appendMessage(b, escapeNothing)
	return append(b, '\n')
}

// appendField appends a string member of a JSON object unless it is empty.
func appendField(b []byte, before, value string) []byte {
	if value == "" {
		return b
	}
	b = append(b, before...)
	b = appendEscaped(b, value, escapeJSON)
	return append(b, '"')
}
