package policy

import (
	"net/netip"
	"slices"
	"unsafe"

	"github.com/keymoat/keymoat/abi"
)

// The fields of the documents, as abi/schema describes them.
var (
	setFields       = []string{"Version", "Accounts", "ExemptServices", "Status", "Statements"}
	accountFields   = []string{"AccountId", "AccessKeyPolicy", "AccessKeys"}
	keyFields       = []string{"AccessKeyId", "UserPrincipalName", "AccessKeyPolicy"}
	policyFields    = []string{"Version", "Status", "Statements"}
	statementFields = []string{"Type", "Value", "IPList"}
	exemptFields    = []string{"Service", "Action", "Protocol"}
)

// Validate reports everything that is wrong with, or doubtful about, a policy
// set or a bare access key policy.
func Validate(document []byte) abi.Report {
	_, report := read(document)
	return report
}

// read reads a document into a set, which is usable if the report is valid.
func read(document []byte) (*set, abi.Report) {
	d := documentReader{
		reader:   newReader(document),
		lists:    make(map[string]*entryList),
		accounts: make(map[string]struct{}),
		keys:     make(map[string]struct{}),
	}
	d.document()
	d.end()
	return &d.set, abi.Report{
		Valid:    d.errors.none(),
		Errors:   d.errors.list(),
		Warnings: d.warnings.list(),
	}
}

type documentReader struct {
	*reader
	set      set
	lists    map[string]*entryList // by the text of the IPList
	accounts map[string]struct{}
	keys     map[string]struct{}
}

// document reads either kind of document. A bare access key policy, as the
// cloud's API returns it, stands for the policy of the only account.
func (d *documentReader) document() {
	if isBarePolicy(d.reader.document) {
		d.set.accounts = []account{{id: "\x00", policy: d.policy()}}
		d.set.exemptions = builtinExemptions()
		return
	}
	const accounts, exempt = 1, 2
	fields := setFields[:3]
	d.set.exemptions = builtinExemptions()
	seen, ok := d.object(fields, func(i int) {
		switch i {
		case accounts:
			d.array(func(int) { d.account() })
		case exempt:
			d.set.exemptions = nil
			d.array(func(int) { d.exemption() })
		default:
			d.version()
		}
	})
	if ok {
		d.require(fields, seen, 1<<accounts)
	}
}

// isBarePolicy looks for the first name that only one kind of document has.
func isBarePolicy(document []byte) bool {
	r := newReader(document)
	if r.dec.PeekKind() != '{' {
		return false
	}
	r.token()
	for r.dec.PeekKind() == '"' {
		name := r.value()
		if r.failed {
			return false
		}
		switch indexOf(setFields, unquote(name)) {
		case 1, 2:
			return false
		case 3, 4:
			return true
		}
		if r.skip(); r.failed {
			return false
		}
	}
	return false
}

func (d *documentReader) account() {
	const id, keyPolicy, keys = 0, 1, 2
	var a account
	at := len(d.set.accounts)
	seen, ok := d.object(accountFields, func(i int) {
		switch i {
		case id:
			a.id = d.id(abi.CodeInvalidAccountID, abi.CodeDuplicateAccount, "account", d.accounts)
		case keyPolicy:
			a.policy = d.policy()
		case keys:
			d.array(func(int) { d.key(at) })
		}
	})
	if ok {
		d.require(accountFields, seen, 1<<id)
	}
	if d.errors.none() { // else the set is of no use
		d.set.accounts = append(d.set.accounts, a)
	}
}

func (d *documentReader) key(owner int) {
	const id, principal, keyPolicy = 0, 1, 2
	key := accessKey{account: owner}
	seen, ok := d.object(keyFields, func(i int) {
		switch i {
		case id:
			key.id = d.id(abi.CodeInvalidAccessKeyID, abi.CodeDuplicateAccessKey, "AccessKey", d.keys)
			if key.id != "" && isTemporary(textOf(key.id)) {
				d.warn(abi.CodeTemporaryAccessKey, "policies never apply to temporary credentials, so this key's policy has no effect")
			}
		case principal:
			d.text()
		case keyPolicy:
			key.policy = d.policy()
		}
	})
	if ok {
		d.require(keyFields, seen, 1<<id)
	}
	if d.errors.none() {
		d.set.keys = append(d.set.keys, key)
	}
}

// id reads the id of an account or a key, which no other may have.
func (d *documentReader) id(invalid, duplicate abi.FindingCode, what string, taken map[string]struct{}) string {
	id, ok := d.text()
	if !ok {
		return ""
	}
	if !abi.ValidID(id) {
		d.error(invalid, quote(id)+" is no "+what+" id: 1 to 128 letters, digits and . _ = -")
		return ""
	}
	if _, found := taken[id]; found {
		d.error(duplicate, "the "+what+" id "+quote(id)+" is listed before; list it once")
		return ""
	}
	taken[id] = struct{}{}
	return id
}

func (d *documentReader) exemption() {
	const service = 0
	var fields [3]string
	seen, ok := d.object(exemptFields, func(i int) {
		text, ok := d.text()
		if ok && (text == "" || len(text) > abi.MaxField) {
			d.error(abi.CodeInvalidExemption, exemptFields[i]+" must have 1 to 255 bytes")
		}
		fields[i] = text
	})
	if ok {
		d.require(exemptFields, seen, 1<<service)
	}
	if d.errors.none() {
		d.set.exemptions = append(d.set.exemptions, exemption{fields[0], fields[1], fields[2]})
	}
}

func (r *reader) version() {
	v := r.value()
	if r.failed {
		return
	}
	if v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		r.wrongType("the number 1", v)
	} else if string(v) != "1" {
		r.error(abi.CodeInvalidVersion, "the version must be 1, or absent; this release reads no other")
	}
}

// policy reads an access key policy.
func (d *documentReader) policy() *policy {
	const version, status, statements = 0, 1, 2
	var p policy
	if !d.failed && d.dec.PeekKind() == '"' { // the cloud's API hands the document over as a string
		if d.skip(); !d.failed {
			d.error(abi.CodeWrongType, "must be an object, not a string; if this is the answer of the cloud's API, put the document that the string holds in its place")
		}
		return &p
	}
	seen, ok := d.object(policyFields, func(i int) {
		switch i {
		case version:
			d.version()
		case status:
			p.state = d.status()
		case statements:
			d.statements(&p)
		}
	})
	if ok {
		d.require(policyFields, seen, 1<<status|1<<statements)
		d.doubts(&p, seen&(1<<statements) != 0)
	}
	return &p
}

func (d *documentReader) status() uint8 {
	status, ok := d.text()
	if ok && status != abi.StatusActive && status != abi.StatusInactive {
		d.error(abi.CodeInvalidStatus, quote(status)+" is no status; it must be exactly Active or Inactive")
	}
	if status == abi.StatusActive {
		return stateActive
	}
	return stateInactive
}

func (d *documentReader) statements(p *policy) {
	public := 0 // statements about the public network so far
	n, ok := d.array(func(int) {
		s := d.statement()
		if s.vpc == "" {
			if public++; public > 1 {
				d.error(abi.CodeTooManyPublicStatements, "a policy can have one ClassicWhiteList; put all public entries into the first")
			}
		}
		if len(p.statements) < abi.MaxStatements {
			p.statements = append(p.statements, s)
		}
	})
	if ok && n > abi.MaxStatements {
		d.error(abi.CodeTooManyStatements, "holds "+decimal(n)+" statements; at most "+decimal(abi.MaxStatements)+" are allowed")
	}
}

// unusable stands for a statement that cannot be read, which is reported.
var unusable = statement{vpc: "unusable", list: &entryList{}}

func (d *documentReader) statement() (s statement) {
	const kind, value, ipList = 0, 1, 2
	var (
		typeName string
		ok       bool // typeName is known
		hasValue bool
		valueAt  string // pointer to Value
	)
	seen, isObject := d.object(statementFields, func(i int) {
		switch i {
		case kind:
			if typeName, ok = d.text(); ok && typeName != abi.TypeClassic && typeName != abi.TypeVPC {
				d.error(abi.CodeInvalidType, quote(typeName)+" is no type; it must be exactly ClassicWhiteList or VPCWhiteList")
				ok = false
			}
		case value:
			s.vpc, hasValue = d.text()
			valueAt = d.here()
		case ipList:
			s.list = d.ipList()
		}
	})
	if !isObject {
		return unusable
	}
	d.require(statementFields, seen, 1<<kind|1<<ipList)
	switch {
	case !ok:
		return unusable
	case typeName == abi.TypeClassic:
		if seen&(1<<value) != 0 {
			d.errors.add(abi.CodeValueForbidden, valueAt, "a ClassicWhiteList is about the public network and takes no Value; remove it")
		}
		s.vpc = ""
		if s.list != nil && s.list.private > 0 {
			d.warnOfPrivate(s.list)
		}
	case seen&(1<<value) == 0:
		d.error(abi.CodeValueRequired, "a VPCWhiteList needs a Value: a VPC id, or AllowAllVPC for any VPC")
		return unusable
	case !hasValue: // not a string, which is reported
		return unusable
	case s.vpc != abi.AllowAllVPC && !validVPC(s.vpc):
		d.errors.add(abi.CodeInvalidValue, valueAt, quote(s.vpc)+" is neither a VPC id (vpc- and 1 to 64 lower-case letters or digits) nor exactly AllowAllVPC")
		return unusable
	}
	if s.list == nil {
		s.list = unusable.list
	}
	return s
}

// ipList reads an IPList, or finds it among those that were read.
func (d *documentReader) ipList() *entryList {
	raw := d.value()
	if d.failed {
		return nil
	}
	text := unsafe.String(unsafe.SliceData(raw), len(raw))
	l := d.lists[text]
	if l == nil {
		l = readList(raw)
		d.lists[text] = l
	}
	if !l.errors.none() || !l.warnings.none() {
		here := d.here()
		d.errors.addBelow(here, &l.errors)
		d.warnings.addBelow(here, &l.warnings)
	}
	return l
}

// warnOfPrivate warns of the private entries of a public statement.
func (d *documentReader) warnOfPrivate(l *entryList) {
	if d.warnings.full() {
		d.warnings.more += l.private
		return
	}
	base := d.here() + "/IPList"
	for i, p := range l.entries {
		if isPrivate(p) {
			d.warnings.add(abi.CodePrivateAddress, base+place(l.places[i]), p.String()+" is private; no call over the public network comes from there")
		}
	}
}

// place is the pointer from an IPList to its string of that index, or, for
// wholeList, to itself: it may be one string.
func place(i int32) string {
	if i == wholeList {
		return ""
	}
	return "/" + decimal(int(i))
}

const wholeList = -1

// listReader reads one IPList, which is known to be JSON.
type listReader struct {
	*reader
	entries []netip.Prefix
	masked  []bool
	places  []int32
	total   int // of entries, readable or not
}

func readList(raw []byte) *entryList {
	r := listReader{reader: newReader(raw)}
	if raw[0] == '"' {
		r.split(wholeList)
	} else if n, ok := r.array(func(i int) { r.split(int32(i)) }); ok && n == 0 {
		r.error(abi.CodeEmptyIPList, "is empty; list at least one address or CIDR block, or remove the statement")
	}
	if r.total > abi.MaxEntries {
		r.errors.add(abi.CodeTooManyEntries, "", "holds "+decimal(r.total)+" entries; at most "+decimal(abi.MaxEntries)+" are allowed in one statement")
		return &entryList{errors: r.errors}
	}
	l := &entryList{entries: r.entries, places: r.places, errors: r.errors}
	r.doubts(l)
	return l
}

// split reads the string with that index, which may hold several entries.
func (r *listReader) split(at int32) {
	text, ok := r.text()
	if !ok {
		return
	}
	before := r.total
	for from := 0; from < len(text); {
		to := from
		for to < len(text) && text[to] != ' ' && text[to] != ',' && text[to] != ';' {
			to++
		}
		if word := text[from:to]; word != "" {
			r.total++
			p, masked, problem := parseEntry(word)
			switch {
			case problem != "" && r.errors.full():
				r.errors.more++
			case problem != "":
				r.errors.add(abi.CodeInvalidEntry, place(at), quote(word)+" "+problem)
			case len(r.entries) < abi.MaxEntries: // more are refused anyway
				r.entries, r.masked, r.places = append(r.entries, p), append(r.masked, masked), append(r.places, at)
			}
		}
		from = to + 1
	}
	if r.total == before {
		r.errors.add(abi.CodeEmptyIPList, place(at), "holds no address or CIDR block")
	}
}

// doubts warns of entries that say nothing, or not what they seem to.
func (r *listReader) doubts(l *entryList) {
	cover := covers(r.entries)
	for i, p := range r.entries {
		at := place(r.places[i])
		if r.masked[i] {
			l.warnings.add(abi.CodeHostBits, at, "host bits are set; read as "+p.String())
		}
		if c := cover[i]; c >= 0 && r.entries[c] == p {
			l.warnings.add(abi.CodeDuplicateEntry, at, p.String()+" is listed before")
		} else if c >= 0 {
			l.warnings.add(abi.CodeCoveredEntry, at, p.String()+" is covered by "+r.entries[c].String())
		}
		if isPrivate(p) {
			l.private++
		}
	}
}

// covers returns for each entry the index of another that holds all of it, or -1.
func covers(entries []netip.Prefix) []int {
	// Wider blocks stand before the narrower ones that they hold, and blocks
	// either nest or are disjoint: only the last that nothing covered counts.
	order := indices(len(entries), func(i, j int) int { return comparePrefixes(entries[i], entries[j]) })
	cover := make([]int, len(entries))
	for i := range cover {
		cover[i] = -1
	}
	widest := -1
	for _, i := range order {
		if widest >= 0 && holds(entries[widest], entries[i]) {
			cover[i] = widest
		} else {
			widest = i
		}
	}
	return cover
}

func comparePrefixes(a, b netip.Prefix) int {
	if c := a.Addr().Compare(b.Addr()); c != 0 {
		return c
	}
	return a.Bits() - b.Bits()
}

func holds(outer, inner netip.Prefix) bool {
	return outer.Bits() <= inner.Bits() && outer.Contains(inner.Addr())
}

// doubts warns of what the policy as a whole does.
func (d *documentReader) doubts(p *policy, hasStatements bool) {
	if p.state == stateActive && hasStatements && len(p.statements) == 0 {
		d.warnings.add(abi.CodeNoStatements, d.here()+"/Statements", "the policy is Active without statements: it refuses every call")
	}
	var all []netip.Prefix
	for _, s := range p.statements {
		if s.vpc == abi.AllowAllVPC {
			all = append(all, s.list.entries...)
		}
	}
	if all == nil {
		return
	}
	for i, s := range p.statements {
		if s.vpc != "" && s.vpc != abi.AllowAllVPC && len(s.list.entries) > 0 && coversAll(all, s.list.entries) {
			d.warnings.add(abi.CodeNeedlessVPC, d.here()+"/Statements/"+decimal(i), "AllowAllVPC lists all of these addresses for any VPC, so this statement adds nothing")
		}
	}
}

func coversAll(outer, inner []netip.Prefix) bool {
	for _, p := range inner {
		if !slices.ContainsFunc(outer, func(o netip.Prefix) bool { return holds(o, p) }) {
			return false
		}
	}
	return true
}
