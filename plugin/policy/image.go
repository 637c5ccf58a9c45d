package policy

import (
	"github.com/keymoat/keymoat/abi"
)

// The image. All numbers are little-endian u32 unless said otherwise, all
// offsets count bytes from the start of the image, and records start at
// multiples of 8. IMAGE.md is the specification; build.go writes it, this file
// verifies it, and evaluate.go reads it.
const (
	imageVersion = 1

	atVersion      = 8
	atLength       = 12
	atChecksum     = 16 // u64: hash of everything behind this field
	atLists        = 24 // end of the lists; they begin behind the header
	atTexts        = 28 // end of the texts; they begin where the lists end
	atExemptions   = 32 // offset, where the policies end; they begin where the texts end
	atExemptCount  = 36
	atAccountIndex = 40 // offset
	atAccountShift = 44 // 64 minus the binary logarithm of the number of buckets
	atAccountCount = 48
	atSoleAccount  = 52 // the account's record if there is exactly one, else 0
	atKeyIndex     = 56 // offset
	atKeyShift     = 60
	atKeyCount     = 64
	headerSize     = 128 // the rest is zero; lists, which follow, lie in whole cache lines
	maxImage       = 1 << 31
	maxAccounts    = 1 << 28 // bytes of the index of accounts, so that an owner fits
)

// Sizes and fields of the records.
const (
	// An id record: u32 policy, u32 owner, then the id padded with zeros to 8
	// bytes. The lower 7 bits of owner hold the index of the id's last byte; the
	// rest, of a key, where in the index of accounts its account's record lies,
	// divided by 8. The account of a bare access key policy has no id and is
	// given a zero byte for one.
	idPolicy = 0
	idOwner  = 4
	idText   = 8

	// A policy record: u8 state, u8 number of VPC statements, u16 zero, u32 list
	// and index of the public statement (0 for none), u8[8] a tag for each VPC statement, then the VPC statements. A tag
	// is tagOf the VPC id, or tagAny, and tagNone where there is no statement:
	// comparing all eight at once leaves few statements to look at. The lower 3
	// bits of a list's offset, which is a multiple of 64, hold the index of the
	// statement.
	policyState     = 0
	policyVPCs      = 1
	policyPublic    = 4
	policyTags      = 8
	policyStatement = 16

	// A VPC statement: u32 text of the VPC id (0 for any VPC), u32 list
	// and index.
	vpcText = 0
	vpcList = 4
	vpcSize = 8

	// An address list parts the addresses of each family into segments that
	// begin where an entry begins or ends. A segment's label is the prefix
	// length of the most specific entry that holds it, plus 1, or 0 if none does.
	//
	// The IPv4 segments are in nodes of nodeSize bytes, which is a cache line:
	// u8 number of leaves, u8 number of IPv6 segments (both in the first node
	// alone), u16 zero, 12 first addresses (u32), and 12 labels (u8). Up to 12
	// segments are one leaf, the first node. More are in further leaves behind
	// it, and the first node has the first address of each instead, and no
	// labels. Unused places have the highest address, and the last label.
	//
	// Behind the nodes are the IPv6 segments: the first address of each (u64
	// upper half, u64 lower half), then their labels (u8).
	nodeSize    = 64
	nodeLeaves  = 0
	nodeIPv6s   = 1
	nodeFirst   = 4
	nodeLabels  = 52
	nodeEntries = 12

	// A text: u32 length, u32 zero, then the bytes, padded with zeros to 8.
	textBytes = 8

	// An exemption: u32 hash of the service, and the texts of service, action
	// (0 for any) and protocol (0 for any), all in lower case.
	exemptHash     = 0
	exemptService  = 4
	exemptAction   = 8
	exemptProtocol = 12
	exemptSize     = 16
)

// States of a policy record. Whoever has no policy refers to the record that
// says so: an evaluation then need not ask whether there is one.
const (
	stateInactive = 0
	stateActive   = 1
	stateNone     = 2
)

// Tags of VPC statements.
const (
	tagAny  = 0
	tagNone = 1
)

// tagOf is the tag of a VPC id, from its last eight bytes.
func tagOf(id text) uint64 {
	if id.size() < 8 {
		return shortWord(id)*hashOdd>>56 | 2
	}
	return id.word(id.size()-8)*hashOdd>>56 | 2
}

// n entries part the addresses of a family into at most 2n+1 segments.
const (
	maxSegments = 2*abi.MaxEntries + 1
	maxLeaves   = (maxSegments + nodeEntries - 1) / nodeEntries
)

// IsImage tells an image from a document by its first bytes.
func IsImage(b []byte) bool {
	return len(b) >= len(abi.ImageMagic) && string(b[:len(abi.ImageMagic)]) == abi.ImageMagic
}

// index finds the record of an id: a table of buckets, each the offset of its
// first record, and one more offset that ends the last bucket.
type index struct {
	start uint64
	shift uint64
}

// Open verifies an image and returns its evaluator, which refers to image and
// relies on it not to change. The error is an *abi.Error with
// abi.StatusInvalidImage.
func Open(image []byte) (*Evaluator, error) {
	defer collect()
	if what := verify(image); what != "" {
		return nil, newError(abi.StatusInvalidImage, "not a usable policy image: "+what)
	}
	return &Evaluator{
		image:       image,
		accounts:    index{load32(image, atAccountIndex), load32(image, atAccountShift)},
		keys:        index{load32(image, atKeyIndex), load32(image, atKeyShift)},
		soleAccount: load32(image, atSoleAccount),
		exemptions:  load32(image, atExemptions),
	}, nil
}

// verify returns what is wrong with an image, or "". What it lets pass cannot
// make the evaluator read outside the image: each offset that the evaluator
// follows has been followed here.
func verify(image []byte) string {
	switch {
	case !IsImage(image):
		return "it does not begin as one"
	case len(image) < headerSize:
		return "it is cut off"
	case load32(image, atVersion) != imageVersion:
		return "its format has another version; compile the policy set again with this release"
	case uint64(len(image)) != load32(image, atLength) || len(image) > maxImage || len(image)%8 != 0:
		return "its length is not the one that it names; it may be cut off"
	case checksum(image) != load64(image, atChecksum):
		return "its checksum is wrong; it is damaged"
	}
	v := verifier{image: image, end: uint32(len(image))}
	return v.verify()
}

// verifier walks an image whose length and checksum are right. The sections
// follow one another without gaps:
// header, lists, texts, policies, exemptions, accounts, keys.
type verifier struct {
	image []byte
	end   uint32
	// starts has a bit for every 8 bytes of the image, set where a text, a
	// list, a policy or an account begins: one walk fills it, so that checking
	// a million references costs a bit each.
	starts []uint64
}

// u32 is load32.
func (v *verifier) u32(at uint32) uint32 { return uint32(load32(v.image, uint64(at))) }

// These are the innermost steps of a walk over millions of records, and have as
// few branches as can be: marked is a bit that must be greater than what keeps
// at from being a multiple of 8, and in relies on from <= to.

func (v *verifier) mark(at uint32)        { v.starts[at>>9] |= 1 << (at >> 3 & 63) }
func (v *verifier) marked(at uint32) bool { return v.starts[at>>9]>>(at>>3&63)&1 > uint64(at&7) }

func (v *verifier) in(at, from, to uint32) bool { return at-from < to-from && v.marked(at) }

func (v *verifier) verify() string {
	lists, texts, exemptions, accounts, keys := v.u32(atLists), v.u32(atTexts), v.u32(atExemptions), v.u32(atAccountIndex), v.u32(atKeyIndex)
	exemptCount := v.u32(atExemptCount)
	last := uint32(headerSize)
	for _, at := range []uint32{lists, texts, exemptions, accounts, keys, v.end} {
		if at < last || at > v.end || at%8 != 0 {
			return "its sections overlap"
		}
		last = at
	}
	if uint64(accounts-exemptions) != uint64(exemptCount)*exemptSize {
		return "its exemptions do not fill their section"
	}
	v.starts = make([]uint64, v.end>>9+1)

	for at := uint32(headerSize); at < lists; {
		size, ok := v.list(at, lists)
		if !ok {
			return "an address list is malformed"
		}
		v.mark(at)
		at += size
	}
	for at := lists; at < texts; {
		length := v.u32(at)
		if length > abi.MaxField || align8(textBytes+length) > texts-at {
			return "a text is cut off"
		}
		v.mark(at)
		at += align8(textBytes + length)
	}
	for at := texts; at < exemptions; {
		size, ok := v.policy(at, lists, texts, exemptions)
		if !ok {
			return "a policy is malformed"
		}
		v.mark(at)
		at += size
	}
	for i := uint32(0); i < exemptCount; i++ {
		at := exemptions + i*exemptSize
		for _, field := range []uint32{exemptService, exemptAction, exemptProtocol} {
			text := v.u32(at + field)
			if !v.in(text, lists, texts) && (text != 0 || field == exemptService) {
				return "an exemption is malformed"
			}
		}
	}
	sole := v.u32(atSoleAccount)
	accountCount := v.u32(atAccountCount)
	found, ok := v.index(accounts, keys, v.u32(atAccountShift), texts, exemptions, func(at, owner uint32) bool {
		v.mark(at)
		return owner == 0
	})
	if !ok {
		return "its index of accounts is malformed"
	}
	if (sole != 0) != (accountCount == 1) || (sole != 0 && !v.in(sole, accounts, keys)) || found != accountCount {
		return "its count of accounts is wrong"
	}
	found, ok = v.index(keys, v.end, v.u32(atKeyShift), texts, exemptions, func(_, owner uint32) bool {
		return owner < keys-accounts && v.in(accounts+owner, accounts, keys)
	})
	if !ok {
		return "its index of keys is malformed"
	}
	if found != v.u32(atKeyCount) {
		return "its count of keys is wrong"
	}
	return ""
}

func (v *verifier) list(at, end uint32) (size uint32, ok bool) {
	if end-at < nodeSize {
		return 0, false
	}
	leaves, n6 := uint32(v.image[at+nodeLeaves]), uint32(v.image[at+nodeIPv6s])
	if leaves > maxLeaves || n6 > maxSegments {
		return 0, false
	}
	ipv6 := at + nodesOf(leaves)*nodeSize
	size = alignTo(ipv6-at+17*n6, nodeSize)
	if size > end-at {
		return 0, false
	}
	// Whatever order the addresses are in, a search ends in one of the places.
	// It relies on the first being the lowest address, and on labels that fit.
	if n6 > 0 && v.u32(ipv6)|v.u32(ipv6+4)|v.u32(ipv6+8)|v.u32(ipv6+12) != 0 {
		return 0, false
	}
	for _, label := range v.image[ipv6+16*n6 : ipv6+17*n6] {
		if label > 129 {
			return 0, false
		}
	}
	for node := at; node < ipv6; node += nodeSize {
		if leaves > 0 && node == at && v.u32(node+nodeFirst) != 0 {
			return 0, false
		}
		for _, label := range v.image[node+nodeLabels : node+nodeSize] {
			if label > 33 {
				return 0, false
			}
		}
	}
	return size, true
}

// nodesOf returns how many nodes a list with so many leaves has.
func nodesOf[N uint32 | uint64](leaves N) N {
	if leaves > 1 {
		return leaves + 1
	}
	return 1
}

func (v *verifier) policy(at, lists, texts, end uint32) (size uint32, ok bool) {
	if end-at < policyStatement {
		return 0, false
	}
	head, tags := load64(v.image, uint64(at)), load64(v.image, uint64(at+policyTags))
	state, vpcs, public := uint8(head), uint32(uint8(head>>(8*policyVPCs))), uint32(head>>(8*policyPublic))
	size = policyStatement + vpcs*vpcSize
	if state > stateNone || vpcs > abi.MaxStatements || size > end-at || public != 0 && !v.in(public&^7, headerSize, lists) {
		return 0, false
	}
	if tags>>(8*vpcs) != everyByte*tagNone>>(8*vpcs) { // any other tag would lead to a statement behind the last
		return 0, false
	}
	for s := at + policyStatement; s < at+size; s += vpcSize {
		statement := load64(v.image, uint64(s))
		text, list := uint32(statement>>(8*vpcText)), uint32(statement>>(8*vpcList))
		if text != 0 && !v.in(text, lists, texts) || !v.in(list&^7, headerSize, lists) {
			return 0, false
		}
	}
	return size, true
}

// index walks the index that lies between at and end, and counts its records.
func (v *verifier) index(at, end, shift, policies, policiesEnd uint32, check func(at, owner uint32) bool) (found uint32, ok bool) {
	if shift > 63 || shift < 36 {
		return 0, false
	}
	buckets := uint64(1) << (64 - shift)
	if uint64(at)+4*(buckets+1) > uint64(end) {
		return 0, false
	}
	record := align8(at + 4*uint32(buckets+1))
	image := v.image
	if v.u32(at) != record {
		return 0, false
	}
	for bucket, last := uint64(at)+4, uint64(at)+4*buckets; bucket <= last; bucket += 4 {
		bucketEnd := uint32(load32(image, bucket))
		if bucketEnd < record || bucketEnd > end {
			return 0, false
		}
		for record < bucketEnd {
			if bucketEnd-record < idText+8 {
				return 0, false
			}
			head := load64(image, uint64(record))
			policy, owner := uint32(head>>(8*idPolicy)), uint32(head>>(8*idOwner))
			if !v.in(policy, policies, policiesEnd) {
				return 0, false
			}
			size := idText + owner&127&^7 + 8
			if bucketEnd-record < size || !check(record, owner>>7<<3) {
				return 0, false
			}
			record += size
			found++
		}
	}
	return found, record == end
}

func align8(n uint32) uint32 { return alignTo(n, 8) }

func alignTo(n, size uint32) uint32 { return (n + size - 1) &^ (size - 1) }
