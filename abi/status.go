package abi

import "strconv"

// Status is the outcome of a call into the guest: one byte, zero for success.
// Every other value is an error, and every host turns an error into a refusal.
//
// A Status is itself an error, so errors.Is(err, abi.StatusNotLoaded) works on
// whatever a host returns.
type Status uint8

// The numbers are part of the interface and never change their meaning.
const (
	StatusOK                 Status = 0
	StatusNotLoaded          Status = 1 // no policy set has been loaded
	StatusInvalidRequest     Status = 2 // the request's layout or JSON is wrong, or a field is too long
	StatusInvalidAccessKeyID Status = 3 // AccessKeyId missing or not readable
	StatusInvalidSourceIP    Status = 4 // SourceIp missing or not readable
	StatusInvalidDocument    Status = 5 // the policy set breaks a rule; the result is a Report
	StatusInvalidImage       Status = 6 // the image is damaged or of another version
	StatusInvalidArgument    Status = 7 // a pointer or length lies outside the guest's buffers
	StatusTooLarge           Status = 8 // the input is larger than the guest can hold
	StatusInternal           Status = 9 // the guest recovered from a fault of its own
)

var statusNames = [...]string{
	StatusOK:                 "OK",
	StatusNotLoaded:          "NotLoaded",
	StatusInvalidRequest:     "InvalidRequest",
	StatusInvalidAccessKeyID: "InvalidAccessKeyId",
	StatusInvalidSourceIP:    "InvalidSourceIp",
	StatusInvalidDocument:    "InvalidDocument",
	StatusInvalidImage:       "InvalidImage",
	StatusInvalidArgument:    "InvalidArgument",
	StatusTooLarge:           "TooLarge",
	StatusInternal:           "Internal",
}

var statusTexts = [...]string{
	StatusOK:                 "no error",
	StatusNotLoaded:          "no policy set is loaded",
	StatusInvalidRequest:     "the request is malformed",
	StatusInvalidAccessKeyID: "the request has no readable AccessKeyId",
	StatusInvalidSourceIP:    "the request has no readable SourceIp",
	StatusInvalidDocument:    "the policy set is not valid",
	StatusInvalidImage:       "the policy image is damaged or of another version",
	StatusInvalidArgument:    "a pointer or length lies outside the guest's buffers",
	StatusTooLarge:           "the input is too large",
	StatusInternal:           "internal fault in the evaluator",
}

// Statuses lists every status in numerical order.
func Statuses() []Status { return enumerate[Status](len(statusNames), 0) }

// String returns the code that documents and JSON use, such as "NotLoaded".
func (s Status) String() string { return nameOf(statusNames[:], uint8(s), "Status") }

// Error returns a sentence for people.
func (s Status) Error() string {
	if int(s) < len(statusTexts) {
		return statusTexts[s]
	}
	return s.String()
}

// Error is a Status with what is known about the particular case. It unwraps
// to its Status.
type Error struct {
	Status  Status
	Message string  // what is wrong, where, and what to do; empty if the status says it all
	Report  *Report // the findings, for StatusInvalidDocument
}

func (e *Error) Error() string { return "keymoat: " + e.Text() }

// Text is Error without the name of the program in front.
func (e *Error) Text() string {
	if e.Message == "" {
		return e.Status.Error()
	}
	return e.Message
}

// Unwrap returns the status, for errors.Is.
func (e *Error) Unwrap() error { return e.Status }

// enumerate returns the n values that follow first, first included.
func enumerate[T ~uint8](n int, first T) []T {
	all := make([]T, 0, n)
	for v := int(first); v < n; v++ {
		all = append(all, T(v))
	}
	return all
}

// nameOf prints a value that has no name as Kind(7), so that a log line about
// a newer guest is still readable.
func nameOf(names []string, v uint8, kind string) string {
	if int(v) < len(names) && names[v] != "" {
		return names[v]
	}
	return kind + "(" + strconv.Itoa(int(v)) + ")"
}

// BatchError tells which requests of a batch could not be decided. Their
// decisions are zero, which denies; all others stand.
type BatchError struct {
	Items []BatchItem // in ascending order of Index, never empty
}

// BatchItem is one request of a batch that could not be decided.
type BatchItem struct {
	Index  int
	Status Status
}

func (e *BatchError) Error() string {
	first := e.Items[0]
	text := "keymoat: request " + strconv.Itoa(first.Index) + " of the batch: " + first.Status.Error()
	if more := len(e.Items) - 1; more > 0 {
		text += " (and " + strconv.Itoa(more) + " more)"
	}
	return text
}

// Unwrap returns the status of the first request in error.
func (e *BatchError) Unwrap() error { return e.Items[0].Status }
