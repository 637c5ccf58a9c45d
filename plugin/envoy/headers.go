package main

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
)

// appendHeaders reads the headers in the form that Envoy hands them over: the
// number of headers, for each the lengths of its name and its value, then for
// each its name and its value, each followed by a zero byte. Numbers have 32
// bits, little-endian. The strings alias b.
func appendHeaders(headers []abi.HTTPHeader, b []byte) (_ []abi.HTTPHeader, ok bool) {
	if len(b) == 0 {
		return headers, true
	}
	count, ok := number(b, 0)
	lengths, at := 4, 4+8*uint64(count)
	if !ok || at > uint64(len(b)) {
		return nil, false
	}
	text := unsafe.String(unsafe.SliceData(b), len(b))
	for range count {
		name, _ := number(b, lengths)
		value, _ := number(b, lengths+4)
		lengths += 8
		valueAt := at + uint64(name) + 1
		end := valueAt + uint64(value)
		if end >= uint64(len(b)) {
			return nil, false
		}
		headers = append(headers, abi.HTTPHeader{Name: text[at : valueAt-1], Value: text[valueAt:end]})
		at = end + 1
	}
	return headers, true
}

func number(b []byte, at int) (n uint32, ok bool) {
	if len(b) < at+4 {
		return 0, false
	}
	b = b[at : at+4]
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24, true
}

// headerNamed returns the value of the header of that name, which is in lower
// case as all names are in Envoy, and how many there are.
func headerNamed(headers []abi.HTTPHeader, name string) (value string, count int) {
	for i := range headers {
		if headers[i].Name == name {
			value = headers[i].Value
			count++
		}
	}
	return value, count
}
