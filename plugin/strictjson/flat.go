//go:build !wasip1

package strictjson

import "bytes"

// flatArray returns where the array ends that begins at a bracket, if it holds
// nothing nested and no escapes, else 0. Lists of addresses are almost all of a
// large document, and this passes them as fast as memory can be read.
func flatArray(document []byte, at int) int {
	const most = 1 << 16 // so that a document without an end is not searched again and again
	if document[at] != '[' {
		return 0
	}
	inside := document[at+1 : min(len(document), at+1+most)]
	n := bytes.IndexByte(inside, ']')
	if n < 0 {
		return 0
	}
	inside = inside[:n]
	if bytes.Count(inside, []byte{'"'})%2 != 0 || // the bracket is part of a string
		bytes.IndexByte(inside, '[') >= 0 || bytes.IndexByte(inside, '{') >= 0 || bytes.IndexByte(inside, '\\') >= 0 {
		return 0
	}
	return at + 1 + n
}
