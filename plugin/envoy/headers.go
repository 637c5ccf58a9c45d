package main

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/plugin/credential"
)

// headerReader walks headers in the form that Envoy hands them over: the
// number of headers, for each the lengths of its name and of its value, then
// for each its name and its value, each followed by a zero byte. Numbers have
// 32 bits, little-endian. The strings that it returns alias the headers.
type headerReader struct {
	b        []byte
	sizes    int // where the lengths of the next header are
	sizesEnd int
	at       int // where its name is
}

func readHeaders(b []byte) headerReader {
	r := headerReader{b: b, sizes: 4, sizesEnd: 4}
	if len(b) == 0 {
		return r
	}
	if len(b) < 4 || number(b, 0) > (len(b)-4)/8 {
		r.at = -1 // malformed
		return r
	}
	r.sizesEnd += 8 * number(b, 0)
	r.at = r.sizesEnd
	return r
}

// next returns the next header that may be one of those wanted, or false if
// there is none.
func (r *headerReader) next(wanted names) (name, value string, ok bool) {
	b, at := r.b, r.at
	for sizes := r.sizes; sizes < r.sizesEnd; sizes += 8 {
		n, v := number(b, sizes), number(b, sizes+4)
		end := at + n + v + 2 // zero bytes
		if end > len(b) {
			r.sizes, r.at = sizes, at
			return "", "", false // and malformed tells why
		}
		if wanted.has(n, b[at]) {
			r.sizes, r.at = sizes+8, end
			text := unsafe.String(&b[at], n+v+1)
			return text[:n], text[n+1:], true
		}
		at = end
	}
	r.sizes, r.at = r.sizesEnd, at
	return "", "", false
}

// malformed reports, after the last header, whether the headers did not end
// where they should.
func (r *headerReader) malformed() bool { return r.sizes != r.sizesEnd || r.at != len(r.b) }

// number reads 32 bits. int has 64, on WebAssembly too.
func number(b []byte, at int) int {
	b = b[at : at+4]
	return int(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
}

// names is a set of header names, in every spelling that credential.SameName
// takes for theirs, and of others that have the same bit: it goes by length and
// first letter, which tell most headers of a request from those of interest.
type names uint64

const allNames = ^names(0)

func (s *names) add(name string) {
	for first := range 0x80 { // nearly always it is one, a letter
		if name[0] == byte(first) || name[0] != ':' && credential.SameName(name[:1], string([]byte{byte(first)})) {
			*s |= nameBit(len(name), byte(first))
		}
	}
}

func (s names) has(length int, first byte) bool { return s&nameBit(length, first) != 0 }

func nameBit(length int, first byte) names { return 1 << ((length + int(first|0x20)) & 63) }

// appendHeaders appends headers in the form that readHeaders takes.
func appendHeaders(b []byte, headers []abi.HTTPHeader) []byte {
	b = appendNumber(b, len(headers))
	for _, h := range headers {
		b = appendNumber(b, len(h.Name))
		b = appendNumber(b, len(h.Value))
	}
	for _, h := range headers {
		b = append(b, h.Name...)
		b = append(b, 0)
		b = append(b, h.Value...)
		b = append(b, 0)
	}
	return b
}

func appendNumber(b []byte, n int) []byte {
	return append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
}

// headerNamed returns the first header of that name, which is in lower case as
// all names are in Envoy.
func headerNamed(headers []byte, name string) string {
	for r := readHeaders(headers); ; {
		n, value, ok := r.next(allNames)
		if !ok || n == name {
			return value
		}
	}
}

// allHeaders returns all headers.
func allHeaders(headers []byte) (all []abi.HTTPHeader) {
	for r := readHeaders(headers); ; {
		name, value, ok := r.next(allNames)
		if !ok {
			return all
		}
		all = append(all, abi.HTTPHeader{Name: name, Value: value})
	}
}
