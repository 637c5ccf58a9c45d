package conformance

import (
	"fmt"
	"path"
	"strings"
)

// Exception declares that a host cannot express some cases, and why. It is no
// excuse for a wrong answer: such cases are not put to the host at all, and
// the matrix shows the reason.
type Exception struct {
	Cases  string // an id, or a pattern with * for any part of one
	Reason string // a sentence
}

// ReadExceptions reads a JSON array of exceptions.
func ReadExceptions(document []byte) ([]Exception, error) {
	var all []Exception
	if err := strictly(document, &all); err != nil {
		return nil, fmt.Errorf("conformance: exceptions: %w", err)
	}
	return all, nil
}

// reasonsByID tells for each case that is excepted why it is.
func reasonsByID(cases []Case, exceptions []Exception) (map[string]string, error) {
	reasons := map[string]string{}
	for _, x := range exceptions {
		if strings.TrimSpace(x.Reason) == "" {
			return nil, fmt.Errorf("conformance: the exception for %s gives no reason", x.Cases)
		}
		found := false
		for _, c := range cases {
			match, err := path.Match(x.Cases, c.ID)
			if err != nil {
				return nil, fmt.Errorf("conformance: the exception for %s: %w", x.Cases, err)
			}
			if match {
				found = true
				reasons[c.ID] = x.Reason
			}
		}
		if !found {
			return nil, fmt.Errorf("conformance: the exception for %s is about no case", x.Cases)
		}
	}
	return reasons, nil
}
