package policy

import (
	"math/bits"
	"net/netip"
	"slices"
	"strings"

	"github.com/keymoat/keymoat/abi"
)

// Compile compiles a policy set, or a bare access key policy, to its image.
// The same set gives the same bytes, whatever the order of its accounts and
// keys and the layout of its document. The report tells the warnings too; the
// error of a document that is not valid is an *abi.Error with
// abi.StatusInvalidDocument.
func Compile(document []byte) (image []byte, report abi.Report, err error) {
	s, report := read(document)
	if !report.Valid {
		return nil, report, &abi.Error{Status: abi.StatusInvalidDocument, Message: summary(&report), Report: &report}
	}
	image, what := build(s)
	if what != "" {
		report.Valid = false
		report.Errors = []abi.Finding{{Code: abi.CodeTooLarge, Message: what}}
		return nil, report, &abi.Error{Status: abi.StatusInvalidDocument, Message: summary(&report), Report: &report}
	}
	return image, report, nil
}

// Load returns the evaluator of a policy set given as JSON or as an image. Of
// an image it keeps the slice, which must not change afterwards.
func Load(policySet []byte) (*Evaluator, error) {
	if IsImage(policySet) {
		return Open(policySet)
	}
	image, _, err := Compile(policySet)
	if err != nil {
		return nil, err
	}
	return Open(image)
}

// summary names the first error and counts the rest.
func summary(r *abi.Report) string {
	first := r.Errors[0]
	text := "the policy set is not valid: "
	if first.Pointer != "" {
		text += first.Pointer + ": "
	}
	text += first.Message + " (" + string(first.Code) + ")"
	if more := len(r.Errors) - 1; more > 0 {
		text += ", and " + decimal(more) + " more"
	}
	return text
}

// builder writes the sections of an image. Lists, texts and policies that are
// equal are stored once.
type builder struct {
	lists, texts, policies section
	none                   policy // of whoever has none
}

// section is a run of records. Offsets in it count from its own start until
// the image is put together.
type section struct {
	bytes []byte
	known map[string]uint32 // offset of each record, by its bytes
}

// intern returns the offset of a record in the section.
func (s *section) intern(record []byte) uint32 {
	for len(record)%8 != 0 {
		record = append(record, 0)
	}
	if at, ok := s.known[string(record)]; ok {
		return at
	}
	at := uint32(len(s.bytes))
	s.known[string(record)] = at
	s.bytes = append(s.bytes, record...)
	return at
}

// build returns the image, or what limit the set exceeds.
func build(s *set) (image []byte, tooLarge string) {
	b := builder{none: policy{state: stateNone}}
	for _, section := range []*section{&b.lists, &b.texts, &b.policies} {
		section.known = make(map[string]uint32)
	}
	// Accounts and keys are put into the order of their index, and everything
	// else into the order of first use, so that equal sets give equal images.
	accounts := newIndex(len(s.accounts), func(i int) string { return s.accounts[i].id })
	keys := newIndex(len(s.keys), func(i int) string { return s.keys[i].id })
	exemptions := foldExemptions(s.exemptions)
	policies := make([]*policy, 0, len(s.accounts)+len(s.keys))
	for _, i := range accounts.order {
		policies = append(policies, s.accounts[i].policy)
	}
	for _, i := range keys.order {
		policies = append(policies, s.keys[i].policy)
	}

	for _, e := range exemptions {
		b.text(e.service)
		b.text(e.action)
		b.text(e.protocol)
	}
	for i, p := range policies {
		if p == nil {
			policies[i] = &b.none
		} else {
			b.parts(p)
		}
	}
	var base bases
	base.lists = headerSize
	base.texts = base.lists + uint32(len(b.lists.bytes))
	base.policies = base.texts + uint32(len(b.texts.bytes))
	for _, p := range policies {
		b.policy(p, base)
	}
	base.exemptions = base.policies + uint32(len(b.policies.bytes))
	base.accounts = base.exemptions + uint32(len(exemptions)*exemptSize)
	base.keys = base.accounts + uint32(accounts.size())
	base.end = base.keys + uint32(keys.size())
	size := uint64(headerSize) + uint64(len(b.lists.bytes)) + uint64(len(b.texts.bytes)) + uint64(len(b.policies.bytes)) +
		uint64(len(exemptions))*exemptSize + accounts.size() + keys.size()
	if accounts.size() > maxAccounts {
		return nil, "the policy set has too many accounts: their index would have " + decimal(int(accounts.size())) + " bytes; the limit is " + decimal(maxAccounts)
	}
	if size > maxImage {
		return nil, "the compiled policy set would have " + decimal(int(size)) + " bytes; the limit is " + decimal(maxImage)
	}

	image = make([]byte, 0, base.end)
	sole := uint32(0)
	if len(s.accounts) == 1 {
		sole = base.accounts + accounts.record(0)
	}
	image = append(image, imageMagic...)
	for _, v := range []uint32{imageVersion, base.end, 0, 0, base.texts, base.policies, base.exemptions, uint32(len(exemptions)),
		base.accounts, accounts.shift(), uint32(len(s.accounts)), sole, base.keys, keys.shift(), uint32(len(s.keys)), 0} {
		image = append32(image, v)
	}
	for len(image) < headerSize {
		image = append(image, 0)
	}
	image = append(image, b.lists.bytes...)
	image = append(image, b.texts.bytes...)
	image = append(image, b.policies.bytes...)
	for _, e := range exemptions {
		image = append32(image, hashFold(e.service))
		image = append32(image, base.texts+b.text(e.service))
		for _, any := range []string{e.action, e.protocol} {
			at := uint32(0)
			if any != "" {
				at = base.texts + b.text(any)
			}
			image = append32(image, at)
		}
	}
	places := make([]uint32, len(s.accounts)) // of each account's record in the index, by its index in the set
	for at, i := range accounts.order {
		places[i] = accounts.record(at)
	}
	image = accounts.appendTo(image, base.accounts, policies, func(int) (owner uint32) { return 0 })
	image = keys.appendTo(image, base.keys, policies[len(s.accounts):], func(i int) (owner uint32) { return places[s.keys[i].account] })
	put64(image[atChecksum:], checksum(image))
	return image, ""
}

// bases are the offsets of the sections.
type bases struct{ lists, texts, policies, exemptions, accounts, keys, end uint32 }

func (b *builder) text(s string) uint32 {
	record := make([]byte, textBytes, textBytes+len(s)+8)
	put32(record, uint32(len(s)))
	return b.texts.intern(append(record, s...))
}

// parts places the lists and texts of a policy. What an inactive policy lists is
// never looked at.
func (b *builder) parts(p *policy) {
	if p.state != stateActive {
		return
	}
	for _, s := range p.statements {
		if !s.list.placed {
			s.list.placed, s.list.at = true, b.lists.intern(appendList(nil, s.list.entries))
		}
		if s.vpc != "" && s.vpc != abi.AllowAllVPC {
			b.text(s.vpc)
		}
	}
}

// policy places a policy whose parts are placed.
func (b *builder) policy(p *policy, base bases) {
	record := make([]byte, policyStatement, policyStatement+abi.MaxStatements*vpcSize)
	for i := range abi.MaxStatements {
		record[policyTags+i] = tagNone
	}
	record[policyState] = p.state
	if p.state == stateActive {
		for i, s := range p.statements {
			list := base.lists + s.list.at | uint32(i)
			if s.vpc == "" {
				put32(record[policyPublic:], list)
				continue
			}
			tag, text := byte(tagAny), uint32(0)
			if s.vpc != abi.AllowAllVPC {
				tag, text = byte(tagOf(textOf(s.vpc))), base.texts+b.text(s.vpc)
			}
			record[policyTags+int(record[policyVPCs])] = tag
			record[policyVPCs]++
			record = append32(append32(record, text), list)
		}
	}
	p.at = base.policies + b.policies.intern(record)
}

// foldExemptions returns the exemptions in lower case, sorted, each once.
func foldExemptions(all []exemption) []exemption {
	folded := make([]exemption, len(all))
	for i, e := range all {
		folded[i] = exemption{foldString(e.service), foldString(e.action), foldString(e.protocol)}
	}
	var sorted []exemption
	for _, i := range indices(len(folded), func(i, j int) int { return compareExemptions(folded[i], folded[j]) }) {
		if n := len(sorted); n == 0 || sorted[n-1] != folded[i] {
			sorted = append(sorted, folded[i])
		}
	}
	return sorted
}

func compareExemptions(a, b exemption) int {
	if c := strings.Compare(a.service, b.service); c != 0 {
		return c
	}
	if c := strings.Compare(a.action, b.action); c != 0 {
		return c
	}
	return strings.Compare(a.protocol, b.protocol)
}

func foldString(s string) string {
	b := []byte(s)
	for i := range b {
		b[i] = lower(b[i])
	}
	return string(b)
}

// indexBuilder lays out an index of ids.
type indexBuilder struct {
	id      func(i int) string
	log2    int
	order   []int    // indices of the ids in the order of their records
	places  []uint32 // where each record lies behind the table, and where the last ends
	buckets []uint32 // number of records in front of each bucket, and of all
}

// newIndex sorts n ids into at least as many buckets, and within a bucket by
// the id itself.
func newIndex(n int, id func(i int) string) *indexBuilder {
	x := &indexBuilder{id: id, log2: bits.Len(uint(max(n, 2) - 1))}
	bucketOf := make([]uint32, n)
	x.buckets = make([]uint32, 1<<x.log2+1)
	for i := range bucketOf {
		bucketOf[i] = uint32(hashOf(textOf(id(i))) >> (64 - x.log2))
		x.buckets[bucketOf[i]+1]++
	}
	for b := range 1 << x.log2 {
		x.buckets[b+1] += x.buckets[b]
	}
	next := slices.Clone(x.buckets)
	x.order = make([]int, n)
	for i, b := range bucketOf {
		x.order[next[b]] = i
		next[b]++
	}
	for b := range 1 << x.log2 {
		sortIndices(x.order[x.buckets[b]:x.buckets[b+1]], func(i, j int) int { return strings.Compare(id(i), id(j)) })
	}
	x.places = make([]uint32, n+1)
	for at, i := range x.order {
		x.places[at+1] = x.places[at] + idText + align8(uint32(len(id(i))))
	}
	return x
}

// sortIndices is the one way in which this package sorts: each further element
// type would put another copy of the algorithm into the guest. The stable sort
// is the smaller one.
func sortIndices(order []int, compare func(i, j int) int) {
	if len(order) > 1 {
		slices.SortStableFunc(order, compare)
	}
}

// indices returns 0 to n-1, sorted.
func indices(n int, compare func(i, j int) int) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	sortIndices(order, compare)
	return order
}

func (x *indexBuilder) shift() uint32        { return uint32(64 - x.log2) }
func (x *indexBuilder) table() uint32        { return align8(4 * uint32(len(x.buckets))) }
func (x *indexBuilder) record(at int) uint32 { return x.table() + x.places[at] }
func (x *indexBuilder) size() uint64         { return uint64(x.table()) + uint64(x.places[len(x.places)-1]) }

// appendTo appends the index. The policies are in the order of the records;
// owner tells the field of that name, by the index of the id.
func (x *indexBuilder) appendTo(image []byte, base uint32, policies []*policy, owner func(i int) uint32) []byte {
	end := len(image) + int(x.table())
	for _, records := range x.buckets {
		image = append32(image, base+x.table()+x.places[records])
	}
	for len(image) < end {
		image = append(image, 0)
	}
	for at, i := range x.order {
		id := x.id(i)
		image = append32(image, policies[at].at)
		image = append32(image, owner(i)/8<<7|uint32(len(id)-1))
		image = append(image, id...)
		for len(image)%8 != 0 {
			image = append(image, 0)
		}
	}
	return image
}

// appendList appends the record of an address list.
func appendList(record []byte, entries []netip.Prefix) []byte {
	var v4, v6 []netip.Prefix
	for _, p := range entries {
		if p.Addr().Is4() {
			v4 = append(v4, p)
		} else {
			v6 = append(v6, p)
		}
	}
	first4, labels4 := segments(v4, netip.IPv4Unspecified())
	first6, labels6 := segments(v6, netip.IPv6Unspecified())

	var leaves []byte
	var pivots []netip.Addr
	for len(first4) > 0 {
		n := min(len(first4), nodeEntries)
		leaves = appendNode(leaves, first4[:n], labels4[:n])
		pivots = append(pivots, first4[0])
		first4, labels4 = first4[n:], labels4[n:]
	}
	start := len(record)
	if len(pivots) != 1 {
		record = appendNode(record, pivots, nil)
	}
	record = append(record, leaves...)
	record[start+nodeLeaves], record[start+nodeIPv6s] = byte(len(pivots)), byte(len(first6))
	for _, ip := range first6 {
		b := ip.As16()
		hi, lo := be64(b[:8]), be64(b[8:])
		for _, v := range []uint64{hi, hi >> 32, lo, lo >> 32} {
			record = append32(record, uint32(v))
		}
	}
	record = append(record, labels6...)
	for (len(record)-start)%nodeSize != 0 {
		record = append(record, 0)
	}
	return record
}

// appendNode appends a node of an address list.
func appendNode(record []byte, first []netip.Addr, labels []byte) []byte {
	record = append(record, 0, 0, 0, 0)
	for i := range nodeEntries {
		address := uint32(0xffffffff)
		if i < len(first) {
			b := first[i].As4()
			address = uint32(b[0])<<24 | uint32(b[1])<<16 | uint32(b[2])<<8 | uint32(b[3])
		}
		record = append32(record, address)
	}
	for i := range nodeEntries {
		label := byte(0)
		if n := len(labels); n > 0 {
			label = labels[min(i, n-1)]
		}
		record = append(record, label)
	}
	return record
}

// segments parts the addresses from lowest on. A stack holds the entries that
// the sweep is inside of: blocks nest, so the innermost is on top.
func segments(entries []netip.Prefix, lowest netip.Addr) (first []netip.Addr, labels []byte) {
	if len(entries) == 0 {
		return nil, nil
	}
	begin := func(at netip.Addr, label byte) {
		if n := len(first); n > 0 && first[n-1] == at { // the part before it is empty
			first, labels = first[:n-1], labels[:n-1]
		}
		if n := len(labels); n == 0 || labels[n-1] != label {
			first, labels = append(first, at), append(labels, label)
		}
	}
	begin(lowest, 0)
	var open []netip.Prefix
	// leave closes the innermost entry: behind its last address the one around it goes on.
	leave := func() {
		inner := open[len(open)-1]
		open = open[:len(open)-1]
		if next := last(inner).Next(); next.IsValid() {
			label := byte(0)
			if len(open) > 0 {
				label = byte(open[len(open)-1].Bits() + 1)
			}
			begin(next, label)
		}
	}
	for _, i := range indices(len(entries), func(i, j int) int { return comparePrefixes(entries[i], entries[j]) }) {
		p := entries[i]
		for len(open) > 0 && !open[len(open)-1].Contains(p.Addr()) {
			leave()
		}
		open = append(open, p)
		begin(p.Addr(), byte(p.Bits()+1))
	}
	for len(open) > 0 {
		leave()
	}
	return first, labels
}

// last returns the highest address of a block.
func last(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < 8*len(b); i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	ip, _ := netip.AddrFromSlice(b)
	return ip
}
