package main

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
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

// next returns the next header whose name has one of the wanted lengths, or
// false if there is none.
func (r *headerReader) next(wanted lengths) (name, value string, ok bool) {
	for r.sizes < r.sizesEnd {
		n, v := number(r.b, r.sizes), number(r.b, r.sizes+4)
		if rest := len(r.b) - r.at; n > rest || v > rest-n-2 { // 2 zero bytes
			return "", "", false // and malformed tells why
		}
		start := r.at
		r.sizes += 8
		r.at += n + v + 2
		if wanted.has(n) {
			text := unsafe.String(&r.b[start], n+v+1)
			return text[:n], text[n+1:], true
		}
	}
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

// lengths is a set of lengths of header names. Most headers of a request are
// of no interest, and most of those can be told by the length of their name.
type lengths uint64

const allLengths = ^lengths(0)

// longest stands for itself and every greater length.
const longest = 63

func (l *lengths) add(name string)    { *l |= 1 << min(len(name), longest) }
func (l lengths) has(length int) bool { return l>>min(length, longest)&1 != 0 }

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
		n, value, ok := r.next(allLengths)
		if !ok || n == name {
			return value
		}
	}
}

// allHeaders returns all headers.
func allHeaders(headers []byte) (all []abi.HTTPHeader) {
	for r := readHeaders(headers); ; {
		name, value, ok := r.next(allLengths)
		if !ok {
			return all
		}
		all = append(all, abi.HTTPHeader{Name: name, Value: value})
	}
}
