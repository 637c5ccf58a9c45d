package main

import (
	"encoding/xml"
	"io"
	"strings"

	"github.com/keymoat/keymoat/conformance"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	ClassName string        `xml:"classname,attr"`
	Name      string        `xml:"name,attr"`
	Failure   *junitMessage `xml:"failure"`
	Skipped   *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// writeJUnit writes one suite a host.
func (m *matrix) writeJUnit(out io.Writer) error {
	all := junitSuites{Name: "keymoat conformance"}
	for _, h := range m.Hosts {
		suite := junitSuite{Name: h.Name, Tests: h.Cases, Failures: h.Failed, Skipped: h.NotExpressible}
		for _, r := range h.results {
			c := junitCase{ClassName: h.Name + "." + r.Case.Group, Name: r.Case.ID}
			switch r.Outcome {
			case conformance.Failed:
				c.Failure = &junitMessage{Message: r.Case.Title, Text: failureText(r.Failures)}
			case conformance.NotExpressible:
				c.Skipped = &junitMessage{Message: r.Reason}
			}
			suite.Cases = append(suite.Cases, c)
		}
		all.Tests += suite.Tests
		all.Failures += suite.Failures
		all.Suites = append(all.Suites, suite)
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	encoder := xml.NewEncoder(out)
	encoder.Indent("", "  ")
	if err := encoder.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}

func failureText(failures []conformance.Failure) string {
	var all []string
	for _, f := range failures {
		all = append(all, f.String())
	}
	return strings.Join(all, "\n")
}
