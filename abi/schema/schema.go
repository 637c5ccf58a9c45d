// Package schema holds the JSON Schemas (draft 2020-12) of the documents that
// keymoat reads and writes. Its tests keep them in step with package abi.
//
// A schema describes the form of a document. What it cannot say, such as that
// a key id occurs once only or how many entries one string holds, is written
// in a description and checked by the evaluator alone.
package schema

import "embed"

// FS holds the schemas by file name: access-key-policy.json, decision.json,
// http-request.json, plugin-config.json, policy-set.json, report.json,
// request.json and trace.json. They refer to each other by these names.
//
//go:embed *.json
var FS embed.FS
