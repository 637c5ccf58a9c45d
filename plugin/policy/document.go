package policy

import (
	"strconv"
	"unsafe"

	"github.com/keymoat/keymoat/abi"
	"github.com/keymoat/keymoat/abi/ip"
	"github.com/keymoat/keymoat/plugin/strictjson"
)

// The fields of the documents, as abi/schema describes them.
var (
	setFields       = []string{"Version", "Accounts", "ExemptServices"}
	accountFields   = []string{"AccountId", "AccessKeyPolicy", "AccessKeys"}
	keyFields       = []string{"AccessKeyId", "UserPrincipalName", "AccessKeyPolicy"}
	policyFields    = []string{"Version", "Status", "Statements"}
	statementFields = []string{"Type", "Value", "IPList"}
	exemptFields    = []string{"Service", "Action", "Protocol"}
)

// Validate reports everything that is wrong with, or doubtful about, a policy
// set or a bare access key policy.
func Validate(document []byte) abi.Report {
	defer collect()
	_, report := read(document)
	return report
}

// read reads a document into a set, which is usable if the report is valid.
func read(document []byte) (*set, abi.Report) {
	d := documentReader{
		Reader:   strictjson.New(document, abi.MaxDepth),
		lists:    make(map[string]*entryList),
		accounts: make(map[string]struct{}),
		keys:     make(map[string]struct{}),
	}
	d.document()
	d.End()
	return &d.set, abi.Report{
		Valid:    d.Errors.None(),
		Errors:   d.Errors.List(),
		Warnings: d.Warnings.List(),
	}
}

type documentReader struct {
	*strictjson.Reader
	set      set
	lists    map[string]*entryList // by the text of the IPList
	accounts map[string]struct{}
	keys     map[string]struct{}
}

// document reads either kind of document. A bare access key policy, as the
// cloud's API returns it, stands for the policy of the only account.
func (d *documentReader) document() {
	d.set.exemptions = builtinExemptions
	if isBarePolicy(d.Reader) {
		d.set.accounts = make([]holder, 1)
		d.set.accounts[0] = holder{id: "\x00", policy: d.policy()}
		return
	}
	const accounts, exempt = 1, 2
	for w := d.Object(setFields, 1<<accounts); w.Next(); {
		switch w.I {
		case accounts:
			for w := d.Array(); w.Next(); {
				d.account()
			}
		case exempt:
			d.set.exemptions = nil
			for w := d.Array(); w.Next(); {
				d.exemption()
			}
		default:
			d.version()
		}
	}
}

// isBarePolicy looks for the first name that only one kind of document has.
func isBarePolicy(r *strictjson.Reader) bool {
	for name := range r.Names {
		switch name {
		case "Accounts", "ExemptServices":
			return false
		case "Status", "Statements":
			return true
		}
	}
	return false
}

func (d *documentReader) account() {
	const id, keyPolicy, keys = 0, 1, 2
	at := len(d.set.accounts)
	var account holder
	for w := d.Object(accountFields, 1<<id); w.Next(); {
		switch w.I {
		case id:
			account.id = d.id(abi.CodeInvalidAccountID, abi.CodeDuplicateAccount, "account", d.accounts)
		case keyPolicy:
			account.policy = d.policy()
		case keys:
			for w := d.Array(); w.Next(); {
				d.key(at)
			}
		}
	}
	if d.Errors.None() { // else the set is of no use
		d.set.accounts = append(d.set.accounts, account)
	}
}

func (d *documentReader) key(owner int) {
	const id, principal, keyPolicy = 0, 1, 2
	key := holder{account: owner}
	for w := d.Object(keyFields, 1<<id); w.Next(); {
		switch w.I {
		case id:
			key.id = d.id(abi.CodeInvalidAccessKeyID, abi.CodeDuplicateAccessKey, "AccessKey", d.keys)
			if key.id != "" && isTemporary(textOf(key.id)) {
				d.Warnings.Add(abi.CodeTemporaryAccessKey, d.Here(), "policies never apply to temporary credentials, so this key's policy has no effect")
			}
		case principal:
			d.Text()
		case keyPolicy:
			key.policy = d.policy()
		}
	}
	if d.Errors.None() {
		d.set.keys = append(d.set.keys, key)
	}
}

// id reads the id of an account or a key, which no other may have.
func (d *documentReader) id(invalid, duplicate abi.FindingCode, what string, taken map[string]struct{}) string {
	id, ok := d.Text()
	if !ok {
		return ""
	}
	cited := id
	if invalid == abi.CodeInvalidAccessKeyID {
		cited = abi.ShortID(id) // findings are logged, too
	}
	if !abi.ValidID(id) {
		d.Cite(invalid, "", cited, " is no "+what+" id: 1 to 128 letters, digits and . _ = -")
		return ""
	}
	if _, found := taken[id]; found {
		d.Cite(duplicate, "the "+what+" id ", cited, " is listed before; list it once")
		return ""
	}
	taken[id] = struct{}{}
	return id
}

func (d *documentReader) exemption() {
	const service = 0
	var e exemption
	for w := d.Object(exemptFields, 1<<service); w.Next(); {
		text, ok := d.Text()
		if ok && (text == "" || len(text) > abi.MaxField) {
			d.Error(abi.CodeInvalidExemption, exemptFields[w.I]+" must have 1 to 255 bytes")
		}
		e[w.I] = text
	}
	if d.Errors.None() {
		d.set.exemptions = append(d.set.exemptions, e)
	}
}

func (d *documentReader) version() {
	v := d.Value()
	if d.Failed() {
		return
	}
	if v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		d.WrongType("the number 1", v)
	} else if string(v) != "1" {
		d.Error(abi.CodeInvalidVersion, "the version must be 1, or absent; this release reads no other")
	}
}

// policy reads an access key policy.
func (d *documentReader) policy() *policy {
	const version, status, statements = 0, 1, 2
	var p policy
	if !d.Failed() && d.Peek() == '"' { // the cloud's API hands the document over as a string
		if d.Value(); !d.Failed() {
			d.Error(abi.CodeWrongType, "must be an object, not a string; if this is the answer of the cloud's API, put the document that the string holds in its place")
		}
		return &p
	}
	w := d.Object(policyFields, 1<<status|1<<statements)
	for w.Next() {
		switch w.I {
		case version:
			d.version()
		case status:
			p.state = d.status()
		case statements:
			d.statements(&p)
		}
	}
	if w.Done() {
		d.doubts(&p, w.Saw(statements))
	}
	return &p
}

func (d *documentReader) status() uint8 {
	status, ok := d.Text()
	if ok && status != abi.StatusActive && status != abi.StatusInactive {
		d.Cite(abi.CodeInvalidStatus, "", status, " is no status; it must be exactly Active or Inactive")
	}
	if status == abi.StatusActive {
		return stateActive
	}
	return stateInactive
}

func (d *documentReader) statements(p *policy) {
	public := 0 // statements about the public network so far
	w := d.Array()
	for w.Next() {
		s := d.statement()
		if s.vpc == "" {
			if public++; public > 1 {
				d.Error(abi.CodeTooManyPublicStatements, "a policy can have one ClassicWhiteList; put all public entries into the first")
			}
		}
		if len(p.statements) < abi.MaxStatements {
			p.statements = append(p.statements, s)
		}
	}
	if w.Done() && w.I > abi.MaxStatements {
		d.Error(abi.CodeTooManyStatements, "holds "+strconv.Itoa(w.I)+" statements; at most "+strconv.Itoa(abi.MaxStatements)+" are allowed")
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
	w := d.Object(statementFields, 1<<kind|1<<ipList)
	for w.Next() {
		switch w.I {
		case kind:
			if typeName, ok = d.Text(); ok && typeName != abi.TypeClassic && typeName != abi.TypeVPC {
				d.Cite(abi.CodeInvalidType, "", typeName, " is no type; it must be exactly ClassicWhiteList or VPCWhiteList")
				ok = false
			}
		case value:
			s.vpc, hasValue = d.Text()
		case ipList:
			s.list = d.ipList()
		}
	}
	switch {
	case !w.Done() || !ok:
		return unusable
	case typeName == abi.TypeClassic:
		if w.Saw(value) {
			d.Errors.Add(abi.CodeValueForbidden, d.Here()+"/Value", "a ClassicWhiteList is about the public network and takes no Value; remove it")
		}
		s.vpc = ""
		if s.list != nil && s.list.private > 0 {
			if d.Warnings.Full() {
				d.Warnings.Count(s.list.private)
				break
			}
			base := d.Here() + "/IPList"
			for i, p := range s.list.entries {
				if anyHolds(privateBlocks, p) {
					s.list.warn(&d.Warnings, abi.CodePrivateAddress, base, i, "", " is private; no call over the public network comes from there")
				}
			}
		}
	case !w.Saw(value):
		d.Error(abi.CodeValueRequired, "a VPCWhiteList needs a Value: a VPC id, or AllowAllVPC for any VPC")
		return unusable
	case !hasValue: // not a string, which is reported
		return unusable
	case s.vpc != abi.AllowAllVPC && !abi.ValidVPCID(s.vpc):
		d.Errors.Add(abi.CodeInvalidValue, d.Here()+"/Value", strictjson.Quote(s.vpc)+" is neither a VPC id (vpc- and 1 to 64 lower-case letters or digits) nor exactly AllowAllVPC")
		return unusable
	}
	if s.list == nil {
		s.list = unusable.list
	}
	return s
}

// ipList reads an IPList, or finds it among those that were read.
func (d *documentReader) ipList() *entryList {
	raw := d.Value()
	if d.Failed() {
		return nil
	}
	text := unsafe.String(unsafe.SliceData(raw), len(raw))
	l := d.lists[text]
	if l == nil {
		l = readList(raw)
		d.lists[text] = l
	}
	if !l.errors.None() || !l.warnings.None() {
		here := d.Here()
		d.Errors.AddBelow(here, &l.errors)
		d.Warnings.AddBelow(here, &l.warnings)
	}
	return l
}

// warn adds a warning that names the entry with that index, in an IPList whose
// pointer is base.
//
//go:noinline
func (l *entryList) warn(f *strictjson.Findings, code abi.FindingCode, base string, i int, before, after string) {
	if f.Full() {
		f.Count(1)
		return
	}
	f.Add(code, base+l.origins[i].place(), before+l.entries[i].String()+after)
}

// listReader reads one IPList, which is known to be JSON.
type listReader struct {
	*strictjson.Reader
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
	return "/" + strconv.Itoa(int(o.at))
}

func readList(raw []byte) *entryList {
	r := listReader{Reader: strictjson.Part(raw)}
	if raw[0] == '"' {
		r.split(wholeList)
	} else {
		w := r.Array()
		for w.Next() {
			r.split(int32(w.I - 1))
		}
		if w.Done() && w.I == 0 {
			r.Error(abi.CodeEmptyIPList, "is empty; list at least one address or CIDR block, or remove the statement")
		}
	}
	if r.total > abi.MaxEntries {
		r.Errors.Add(abi.CodeTooManyEntries, "", "holds "+strconv.Itoa(r.total)+" entries; at most "+strconv.Itoa(abi.MaxEntries)+" are allowed in one statement")
		return &entryList{errors: r.Errors}
	}
	l := &entryList{entries: r.entries, origins: r.origins, errors: r.Errors}
	r.doubts(l)
	return l
}

// split reads the string with that index, which may hold several entries.
func (r *listReader) split(at int32) {
	text, ok := r.Text()
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
				r.Cite(abi.CodeInvalidEntry, "", word, " "+err.Error())
			} else if len(r.entries) < abi.MaxEntries { // more are refused anyway
				r.entries, r.origins = append(r.entries, p), append(r.origins, origin{at, masked})
			}
		}
		from = to + 1
	}
	if r.total == before {
		r.Error(abi.CodeEmptyIPList, "holds no address or CIDR block")
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
		d.Warnings.Add(abi.CodeNoStatements, d.Here()+"/Statements", "the policy is Active without statements: it refuses every call")
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
			d.Warnings.Add(abi.CodeNeedlessVPC, d.Here()+"/Statements/"+strconv.Itoa(i), "AllowAllVPC lists all of these addresses for any VPC, so this statement adds nothing")
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
