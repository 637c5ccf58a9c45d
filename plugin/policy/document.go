package policy

import (
	"unsafe"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
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
	d.set.exemptions = builtinExemptions
	if isBarePolicy(*d.reader) {
		d.set.accounts = make([]holder, 1)
		d.set.accounts[0] = holder{id: "\x00", policy: d.policy()}
		return
	}
	const accounts, exempt = 1, 2
	for w := d.object(setFields[:3], 1<<accounts); w.next(); {
		switch w.i {
		case accounts:
			for w := d.array(); w.next(); {
				d.account()
			}
		case exempt:
			d.set.exemptions = nil
			for w := d.array(); w.next(); {
				d.exemption()
			}
		default:
			d.version()
		}
	}
}

// isBarePolicy looks for the first name that only one kind of document has.
func isBarePolicy(r reader) bool {
	if r.peek() != '{' {
		return false
	}
	r.at++
	for r.peek() == '"' {
		name := unquote(r.value())
		switch indexOf(setFields, name) {
		case 1, 2:
			return false
		case 3, 4:
			return true
		}
		if r.value(); r.failed {
			return false
		}
	}
	return false
}

func (d *documentReader) account() {
	const id, keyPolicy, keys = 0, 1, 2
	at := len(d.set.accounts)
	var account holder
	for w := d.object(accountFields, 1<<id); w.next(); {
		switch w.i {
		case id:
			account.id = d.id(abi.CodeInvalidAccountID, abi.CodeDuplicateAccount, "account", d.accounts)
		case keyPolicy:
			account.policy = d.policy()
		case keys:
			for w := d.array(); w.next(); {
				d.key(at)
			}
		}
	}
	if d.errors.none() { // else the set is of no use
		d.set.accounts = append(d.set.accounts, account)
	}
}

func (d *documentReader) key(owner int) {
	const id, principal, keyPolicy = 0, 1, 2
	key := holder{account: owner}
	for w := d.object(keyFields, 1<<id); w.next(); {
		switch w.i {
		case id:
			key.id = d.id(abi.CodeInvalidAccessKeyID, abi.CodeDuplicateAccessKey, "AccessKey", d.keys)
			if key.id != "" && isTemporary(textOf(key.id)) {
				d.warnings.add(abi.CodeTemporaryAccessKey, d.here(), "policies never apply to temporary credentials, so this key's policy has no effect")
			}
		case principal:
			d.text()
		case keyPolicy:
			key.policy = d.policy()
		}
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
		d.cite(invalid, "", id, " is no "+what+" id: 1 to 128 letters, digits and . _ = -")
		return ""
	}
	if _, found := taken[id]; found {
		d.cite(duplicate, "the "+what+" id ", id, " is listed before; list it once")
		return ""
	}
	taken[id] = struct{}{}
	return id
}

func (d *documentReader) exemption() {
	const service = 0
	var e exemption
	for w := d.object(exemptFields, 1<<service); w.next(); {
		text, ok := d.text()
		if ok && (text == "" || len(text) > abi.MaxField) {
			d.error(abi.CodeInvalidExemption, exemptFields[w.i]+" must have 1 to 255 bytes")
		}
		e[w.i] = text
	}
	if d.errors.none() {
		d.set.exemptions = append(d.set.exemptions, e)
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
	if !d.failed && d.peek() == '"' { // the cloud's API hands the document over as a string
		if d.value(); !d.failed {
			d.error(abi.CodeWrongType, "must be an object, not a string; if this is the answer of the cloud's API, put the document that the string holds in its place")
		}
		return &p
	}
	w := d.object(policyFields, 1<<status|1<<statements)
	for w.next() {
		switch w.i {
		case version:
			d.version()
		case status:
			p.state = d.status()
		case statements:
			d.statements(&p)
		}
	}
	if w.done() {
		d.doubts(&p, w.saw(statements))
	}
	return &p
}

func (d *documentReader) status() uint8 {
	status, ok := d.text()
	if ok && status != abi.StatusActive && status != abi.StatusInactive {
		d.cite(abi.CodeInvalidStatus, "", status, " is no status; it must be exactly Active or Inactive")
	}
	if status == abi.StatusActive {
		return stateActive
	}
	return stateInactive
}

func (d *documentReader) statements(p *policy) {
	public := 0 // statements about the public network so far
	w := d.array()
	for w.next() {
		s := d.statement()
		if s.vpc == "" {
			if public++; public > 1 {
				d.error(abi.CodeTooManyPublicStatements, "a policy can have one ClassicWhiteList; put all public entries into the first")
			}
		}
		if len(p.statements) < abi.MaxStatements {
			p.statements = append(p.statements, s)
		}
	}
	if w.done() && w.i > abi.MaxStatements {
		d.error(abi.CodeTooManyStatements, "holds "+decimal(w.i)+" statements; at most "+decimal(abi.MaxStatements)+" are allowed")
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
	)
	w := d.object(statementFields, 1<<kind|1<<ipList)
	for w.next() {
		switch w.i {
		case kind:
			if typeName, ok = d.text(); ok && typeName != abi.TypeClassic && typeName != abi.TypeVPC {
				d.cite(abi.CodeInvalidType, "", typeName, " is no type; it must be exactly ClassicWhiteList or VPCWhiteList")
				ok = false
			}
		case value:
			s.vpc, hasValue = d.text()
		case ipList:
			s.list = d.ipList()
		}
	}
	switch {
	case !w.done() || !ok:
		return unusable
	case typeName == abi.TypeClassic:
		if w.saw(value) {
			d.errors.add(abi.CodeValueForbidden, d.here()+"/Value", "a ClassicWhiteList is about the public network and takes no Value; remove it")
		}
		s.vpc = ""
		if s.list != nil && s.list.private > 0 {
			if d.warnings.full() {
				d.warnings.more += s.list.private
				break
			}
			base := d.here() + "/IPList"
			for i, p := range s.list.entries {
				if anyHolds(privateBlocks, p) {
					s.list.warn(&d.warnings, abi.CodePrivateAddress, base, i, "", " is private; no call over the public network comes from there")
				}
			}
		}
	case !w.saw(value):
		d.error(abi.CodeValueRequired, "a VPCWhiteList needs a Value: a VPC id, or AllowAllVPC for any VPC")
		return unusable
	case !hasValue: // not a string, which is reported
		return unusable
	case s.vpc != abi.AllowAllVPC && !abi.ValidVPCID(s.vpc):
		d.errors.add(abi.CodeInvalidValue, d.here()+"/Value", quote(s.vpc)+" is neither a VPC id (vpc- and 1 to 64 lower-case letters or digits) nor exactly AllowAllVPC")
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

// warn adds a warning that names the entry with that index, in an IPList whose
// pointer is base.
//
//go:noinline
func (l *entryList) warn(f *findings, code abi.FindingCode, base string, i int, before, after string) {
	if f.full() {
		f.more++
		return
	}
	f.add(code, base+l.origins[i].place(), before+l.entries[i].String()+after)
}

// listReader reads one IPList, which is known to be JSON.
type listReader struct {
	*reader
	entries []ip.Prefix
	origins []origin // of the entries
	total   int      // of entries, readable or not
}

// origin is what an entry's block does not tell.
type origin struct {
	at     int32 // index of the string that holds it, or wholeList
	masked bool
}

const wholeList = -1

// place is the pointer from the IPList to the string, or to itself: it may be
// one string.
func (o origin) place() string {
	if o.at == wholeList {
		return ""
	}
	return "/" + decimal(int(o.at))
}

func readList(raw []byte) *entryList {
	r := listReader{reader: &reader{document: raw}}
	if raw[0] == '"' {
		r.split(wholeList)
	} else {
		w := r.array()
		for w.next() {
			r.split(int32(w.i - 1))
		}
		if w.done() && w.i == 0 {
			r.error(abi.CodeEmptyIPList, "is empty; list at least one address or CIDR block, or remove the statement")
		}
	}
	if r.total > abi.MaxEntries {
		r.errors.add(abi.CodeTooManyEntries, "", "holds "+decimal(r.total)+" entries; at most "+decimal(abi.MaxEntries)+" are allowed in one statement")
		return &entryList{errors: r.errors}
	}
	l := &entryList{entries: r.entries, origins: r.origins, errors: r.errors}
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
			p, masked, err := ip.ParsePrefix(word)
			if err != nil {
				r.cite(abi.CodeInvalidEntry, "", word, " "+err.Error())
			} else if len(r.entries) < abi.MaxEntries { // more are refused anyway
				r.entries, r.origins = append(r.entries, p), append(r.origins, origin{at, masked})
			}
		}
		from = to + 1
	}
	if r.total == before {
		r.error(abi.CodeEmptyIPList, "holds no address or CIDR block")
	}
}

// doubts warns of entries that say nothing, or not what they seem to.
func (r *listReader) doubts(l *entryList) {
	cover := covers(r.entries)
	for i, p := range r.entries {
		if r.origins[i].masked {
			l.warn(&l.warnings, abi.CodeHostBits, "", i, "host bits are set; read as ", "")
		}
		if c := cover[i]; c >= 0 {
			code, message := abi.CodeCoveredEntry, " is covered by "+r.entries[c].String()
			if r.entries[c] == p {
				code, message = abi.CodeDuplicateEntry, " is listed before"
			}
			l.warn(&l.warnings, code, "", i, "", message)
		}
		if anyHolds(privateBlocks, p) {
			l.private++
		}
	}
}

// covers returns for each entry the index of another that holds all of it, or -1.
func covers(entries []ip.Prefix) []int {
	// Wider blocks stand before the narrower ones that they hold, and blocks
	// either nest or are disjoint: only the last that nothing covered counts.
	order := sortBlocks(entries)
	cover := make([]int, len(entries))
	for i := range cover {
		cover[i] = -1
	}
	widest := -1
	for _, i := range order {
		if widest >= 0 && entries[widest].Holds(entries[i]) {
			cover[i] = widest
		} else {
			widest = i
		}
	}
	return cover
}

// doubts warns of what the policy as a whole does.
func (d *documentReader) doubts(p *policy, hasStatements bool) {
	if p.state == stateActive && hasStatements && len(p.statements) == 0 {
		d.warnings.add(abi.CodeNoStatements, d.here()+"/Statements", "the policy is Active without statements: it refuses every call")
	}
	var all []ip.Prefix
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

func coversAll(outer, inner []ip.Prefix) bool {
	for _, p := range inner {
		if !anyHolds(outer, p) {
			return false
		}
	}
	return true
}
