package workload

import (
	"io"
	"net/netip"
	"strconv"

	"github.com/keymoat/keymoat/abi"
)

// WritePolicySet writes the policy set as JSON, one key a line. It holds the
// text of each list once and no key for longer than its line: a million keys
// make a document of some 1.6 GB and need a few megabytes to write.
func (w *Workload) WritePolicySet(out io.Writer) error {
	lists := make([][]byte, len(w.lists))
	for i, entries := range w.lists {
		lists[i] = appendList(nil, entries)
	}
	const enough = 1 << 16 // to be worth a write
	b := make([]byte, 0, 2*enough)
	b = append(b, `{"Version":1,"Accounts":[{"AccountId":"`+Account+`",`...)
	if w.account != nil {
		b = append(b, `"AccessKeyPolicy":`...)
		b = append(appendPolicy(b, w.account, lists), ',')
	}
	b = append(b, `"AccessKeys":[`...)
	for key := range w.Keys {
		if key > 0 {
			b = append(b, ',')
		}
		b = append(b, "\n"+`{"AccessKeyId":"`...)
		b = append(b, keyID(key)...)
		b = append(b, `","AccessKeyPolicy":`...)
		b = append(appendPolicy(b, w.ofKey(key), lists), '}')
		if len(b) >= enough {
			if _, err := out.Write(b); err != nil {
				return err
			}
			b = b[:0]
		}
	}
	_, err := out.Write(append(b, "]}]}\n"...))
	return err
}

func appendPolicy(b []byte, statements []Statement, lists [][]byte) []byte {
	b = append(b, `{"Version":1,"Status":"`+abi.StatusActive+`","Statements":[`...)
	for i, s := range statements {
		if i > 0 {
			b = append(b, ',')
		}
		if s.VPCID == "" {
			b = append(b, `{"Type":"`+abi.TypeClassic+`"`...)
		} else {
			b = append(b, `{"Type":"`+abi.TypeVPC+`","Value":`...)
			b = strconv.AppendQuote(b, s.VPCID)
		}
		b = append(b, `,"IPList":`...)
		b = append(append(b, lists[s.List]...), '}')
	}
	return append(b, `]}`...)
}

// appendList writes a single address without its length, as people do.
func appendList(b []byte, entries []netip.Prefix) []byte {
	b = append(b, '[')
	for i, entry := range entries {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, '"')
		if entry.IsSingleIP() {
			b = entry.Addr().AppendTo(b)
		} else {
			b = entry.AppendTo(b)
		}
		b = append(b, '"')
	}
	return append(b, ']')
}
