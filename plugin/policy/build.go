package policy

import (
	"math/bits"
	"strconv"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
)

// Compile compiles a policy set, or a bare access key policy, to its image.
// The same set gives the same bytes, whatever the order of its accounts and
// keys and the layout of its document. The report tells the warnings too; the
// error of a document that is not valid is an *abi.Error with
// abi.StatusInvalidDocument.
func Compile(document []byte) (image []byte, report abi.Report, err error) {
	defer collect()
	s, report := read(document)
	if report.Valid {
		image, tooLarge := build(s)
		if tooLarge == "" {
			return image, report, nil
		}
		report.Valid, report.Errors = false, []abi.Finding{{Code: abi.CodeTooLarge, Message: tooLarge}}
	}
	return nil, report, &abi.Error{Status: abi.StatusInvalidDocument, Message: summary(&report), Report: &report}
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
		text += ", and "
		if r.Errors[more].Code == abi.CodeMoreFindings {
			text += "more than "
			more--
		}
		text += strconv.Itoa(more) + " more"
	}
	return text
}

// builder writes the sections of an image. Lists, texts and policies that are
// equal are stored once.
type builder struct {
	lists, texts, policies section
	base                   bases
}

// section is a run of records. Offsets in it count from its own start until
// the image is put together.
type section struct {
	bytes []byte
	known map[string]uint32 // offset of each record, by its bytes
}

// intern returns the offset of a record in the section.
func (s *section) intern(record []byte) uint32 {
	record = pad(record, 8)
	if at, ok := s.known[string(record)]; ok {
		return at
	}
	at := uint32(len(s.bytes))
	s.known[string(record)] = at
	s.bytes = append(s.bytes, record...)
	return at
}

// bases are the offsets of the sections.
type bases struct{ lists, texts, policies, exemptions, accounts, keys, end uint32 }

// build returns the image, or what limit the set exceeds.
func build(s *set) (image []byte, tooLarge string) {
	var b builder
	sections := []*section{&b.lists, &b.texts, &b.policies}
	for _, section := range sections {
		section.known = make(map[string]uint32)
	}
	// Accounts and keys are put into the order of their index, and everything
	// else into the order of first use, so that equal sets give equal images.
	accounts, keys := newIndex(s.accounts), newIndex(s.keys)
	exemptions := foldExemptions(s.exemptions)
	for _, e := range exemptions {
		for _, s := range e {
			b.text(s)
		}
	}
	indexes := []*indexBuilder{accounts, keys}
	none := &policy{state: stateNone}
	for _, x := range indexes {
		for _, i := range x.order {
			holder := &x.holders[i]
			if holder.policy == nil {
				holder.policy = none
			}
			b.parts(holder.policy)
		}
	}
	b.base.lists = headerSize
	b.base.texts = b.base.lists + uint32(len(b.lists.bytes))
	b.base.policies = b.base.texts + uint32(len(b.texts.bytes))
	for _, x := range indexes {
		for _, i := range x.order {
			b.policy(x.holders[i].policy)
		}
	}
	b.base.exemptions = b.base.policies + uint32(len(b.policies.bytes))
	b.base.accounts = b.base.exemptions + uint32(len(exemptions)*exemptSize)
	b.base.keys = b.base.accounts + accounts.size()
	b.base.end = b.base.keys + keys.size()
	size := headerSize + uint64(len(exemptions))*exemptSize + uint64(accounts.size()) + uint64(keys.size())
	for _, section := range sections {
		size += uint64(len(section.bytes))
	}
	if accounts.size() > maxAccounts {
		return nil, "the policy set has too many accounts: their index would have " + strconv.Itoa(int(accounts.size())) + " bytes; the limit is " + strconv.Itoa(maxAccounts)
	}
	if size > maxImage {
		return nil, "the compiled policy set would have " + strconv.Itoa(int(size)) + " bytes; the limit is " + strconv.Itoa(maxImage)
	}

	image = appendText(make([]byte, 0, size), abi.ImageMagic)
	sole := uint32(0)
	if len(s.accounts) == 1 {
		sole = b.base.accounts + accounts.places[0]
	}
	for _, v := range []uint32{imageVersion, b.base.end, 0, 0, b.base.texts, b.base.policies, b.base.exemptions, uint32(len(exemptions)),
		b.base.accounts, accounts.shift(), uint32(len(s.accounts)), sole, b.base.keys, keys.shift(), uint32(len(s.keys))} {
		image = append32(image, v)
	}
	image = pad(image, headerSize)
	for _, section := range sections {
		image = append(image, section.bytes...)
	}
	for _, e := range exemptions {
		image = append32(image, hashFold(e[0]))
		for _, s := range e {
			at := uint32(0)
			if s != "" {
				at = b.base.texts + b.text(s)
			}
			image = append32(image, at)
		}
	}
	owners := make([]uint32, len(s.accounts)) // each account's record in the index, by its index in the set
	image = accounts.appendTo(image, b.base.accounts, owners)
	for at, i := range accounts.order {
		owners[i] = accounts.places[at]
	}
	image = keys.appendTo(image, b.base.keys, owners)
	put64(image[atChecksum:], checksum(image))
	return image, ""
}

func (b *builder) text(s string) uint32 {
	record := make([]byte, textBytes, textBytes+len(s)+8)
	put32(record, uint32(len(s)))
	return b.texts.intern(appendText(record, s))
}

// parts places the lists and texts of a policy. What an inactive policy lists is
// never looked at.
func (b *builder) parts(p *policy) {
	if p.state != stateActive {
		return
	}
	for i := range p.statements {
		s := &p.statements[i]
		if !s.list.placed {
			s.list.placed, s.list.at = true, b.lists.intern(listRecord(s.list.entries))
		}
		if s.vpc != "" && s.vpc != abi.AllowAllVPC {
			b.text(s.vpc)
		}
	}
}

// policy places a policy whose parts are placed.
func (b *builder) policy(p *policy) {
	record := make([]byte, policyStatement, policyStatement+abi.MaxStatements*vpcSize)
	for i := range abi.MaxStatements {
		record[policyTags+i] = tagNone
	}
	record[policyState] = p.state
	if p.state == stateActive {
		for i := range p.statements {
			s := &p.statements[i]
			list := b.base.lists + s.list.at | uint32(i)
			if s.vpc == "" {
				put32(record[policyPublic:], list)
				continue
			}
			tag, text := byte(tagAny), uint32(0)
			if s.vpc != abi.AllowAllVPC {
				tag, text = byte(tagOf(textOf(s.vpc))), b.base.texts+b.text(s.vpc)
			}
			record[policyTags+int(record[policyVPCs])] = tag
			record[policyVPCs]++
			record = append32(append32(record, text), list)
		}
	}
	p.at = b.base.policies + b.policies.intern(record)
}

// foldExemptions returns the exemptions in lower case, sorted, each once.
func foldExemptions(all []exemption) []exemption {
	folded := make([]exemption, len(all))
	for i := range all {
		for k, s := range all[i] {
			folded[i][k] = foldString(s)
		}
	}
	order := indices(len(folded), func(i, j int) bool {
		a, b := &folded[i], &folded[j]
		for k := range a {
			if a[k] != b[k] {
				return a[k] < b[k]
			}
		}
		return false
	})
	sorted := make([]exemption, len(all))
	n := 0
	for _, i := range order {
		if n == 0 || sorted[n-1] != folded[i] {
			sorted[n] = folded[i]
			n++
		}
	}
	return sorted[:n]
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
	holders []holder
	log2    int
	order   []int    // indices of the holders in the order of their records
	places  []uint32 // where in the index each record lies, and where the last ends
	buckets []uint32 // number of records in front of each bucket, and of all
}

// newIndex sorts the holders into at least as many buckets, and within a bucket
// by the id itself.
func newIndex(holders []holder) *indexBuilder {
	n := len(holders)
	x := &indexBuilder{
		holders: holders,
		log2:    bits.Len(uint(max(n, 2) - 1)),
		order:   make([]int, n),
		places:  make([]uint32, n+1),
	}
	count := 1 << x.log2
	x.buckets = make([]uint32, count+1)
	bucketOf := make([]uint32, n)
	for i := range bucketOf {
		bucketOf[i] = uint32(hashOf(textOf(holders[i].id)) >> (64 - x.log2))
		x.buckets[bucketOf[i]+1]++
	}
	for b := range count {
		x.buckets[b+1] += x.buckets[b]
	}
	next := make([]uint32, count)
	copy(next, x.buckets)
	for i, b := range bucketOf {
		x.order[next[b]] = i
		next[b]++
	}
	for b := range count {
		sortIndices(x.order[x.buckets[b]:x.buckets[b+1]], func(i, j int) bool { return holders[i].id < holders[j].id })
	}
	x.places[0] = align8(4 * uint32(count+1))
	for at, i := range x.order {
		x.places[at+1] = x.places[at] + idText + align8(uint32(len(holders[i].id)))
	}
	return x
}

// sortIndices is the one way in which this package sorts: each further element
// type would put another copy of the algorithm into the guest. It is a stable
// merge sort, a tenth the size of the one in package slices.
func sortIndices(order []int, less func(i, j int) bool) {
	if len(order) < 2 {
		return
	}
	half := len(order) / 2
	left, right := make([]int, half), order[half:]
	copy(left, order)
	sortIndices(left, less)
	sortIndices(right, less)
	for i := 0; len(left) > 0; i++ {
		if len(right) > 0 && less(right[0], left[0]) {
			order[i], right = right[0], right[1:]
		} else {
			order[i], left = left[0], left[1:]
		}
	}
}

// indices returns 0 to n-1, sorted.
func indices(n int, less func(i, j int) bool) []int {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	sortIndices(order, less)
	return order
}

func (x *indexBuilder) shift() uint32 { return uint32(64 - x.log2) }
func (x *indexBuilder) size() uint32  { return x.places[len(x.order)] }

// appendTo appends the index. Owners are the fields of that name, by account.
func (x *indexBuilder) appendTo(image []byte, base uint32, owners []uint32) []byte {
	for _, records := range x.buckets {
		image = append32(image, base+x.places[records])
	}
	image = pad(image, 8)
	for _, i := range x.order {
		h := &x.holders[i]
		image = append32(image, h.policy.at)
		image = append32(image, owners[h.account]/8<<7|uint32(len(h.id)-1))
		image = pad(appendText(image, h.id), 8)
	}
	return image
}

// listRecord returns the record of an address list.
func listRecord(entries []ip.Prefix) (record []byte) {
	order := sortBlocks(entries)
	ipv4, ipv6 := segments(entries, order, ip.AddrFrom4([4]byte{})), segments(entries, order, ip.AddrFrom16([16]byte{}))

	var leaves []byte
	var pivots []segment
	for len(ipv4) > 0 {
		n := min(len(ipv4), nodeEntries)
		leaves = appendNode(leaves, ipv4[:n])
		pivots = append(pivots, segment{first: ipv4[0].first})
		ipv4 = ipv4[n:]
	}
	if len(pivots) != 1 {
		record = appendNode(nil, pivots)
	}
	record = append(record, leaves...)
	record[nodeLeaves], record[nodeIPv6s] = byte(len(pivots)), byte(len(ipv6))
	for _, s := range ipv6 {
		hi, lo := s.first.Halves()
		for _, v := range []uint64{hi, hi >> 32, lo, lo >> 32} {
			record = append32(record, uint32(v))
		}
	}
	for _, s := range ipv6 {
		record = append(record, s.label)
	}
	return pad(record, nodeSize)
}

// appendNode appends a node of an address list.
func appendNode(record []byte, all []segment) []byte {
	var first [nodeEntries]uint32
	var labels [nodeEntries]byte
	for i := range nodeEntries {
		first[i] = ^uint32(0)
		if i < len(all) {
			hi, _ := all[i].first.Halves()
			first[i], labels[i] = uint32(hi>>32), all[i].label
		} else if i > 0 {
			labels[i] = labels[i-1]
		}
	}
	record = append32(record, 0)
	for _, address := range first {
		record = append32(record, address)
	}
	return append(record, labels[:]...)
}

// sortBlocks returns the indices of the blocks in their order.
func sortBlocks(all []ip.Prefix) []int {
	return indices(len(all), func(i, j int) bool { return all[i].Before(all[j]) })
}

// segment is a run of addresses up to the next one.
type segment struct {
	first ip.Addr
	label byte
}

// segments parts the addresses of a family from the lowest on.
func segments(entries []ip.Prefix, order []int, lowest ip.Addr) []segment {
	var s sweep
	for _, i := range order {
		entry := entries[i]
		if entry.Addr().Is4() != lowest.Is4() {
			continue
		}
		if s.parts == nil {
			s.parts = make([]segment, 0, 2*len(order)+1)
			s.begin(lowest, 0)
		}
		for len(s.open) > 0 && !s.open[len(s.open)-1].Holds(entry) {
			s.leave()
		}
		s.open = append(s.open, entry)
		s.begin(entry.Addr(), label(entry))
	}
	for len(s.open) > 0 {
		s.leave()
	}
	return s.parts
}

// sweep is the state of segments. Open are the entries that it is inside of:
// blocks nest, so the last of them is the innermost.
type sweep struct {
	open  []ip.Prefix
	parts []segment
}

//go:noinline
func (s *sweep) begin(at ip.Addr, label byte) {
	if n := len(s.parts); n > 0 && s.parts[n-1].first == at { // the part before it is empty
		s.parts = s.parts[:n-1]
	}
	if n := len(s.parts); n == 0 || s.parts[n-1].label != label {
		s.parts = append(s.parts, segment{at, label})
	}
}

// leave closes the innermost entry: behind its last address the one around it goes on.
func (s *sweep) leave() {
	n := len(s.open) - 1
	next, around := s.open[n].Next(), byte(0)
	if s.open = s.open[:n]; n > 0 {
		around = label(s.open[n-1])
	}
	if next.IsValid() {
		s.begin(next, around)
	}
}

// label is what stands in a segment for the entry that decides there.
func label(entry ip.Prefix) byte { return byte(entry.Bits() + 1) }
