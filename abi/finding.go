package abi

// Finding is one thing that is wrong with, or doubtful about, a policy
// document. Pointer is an RFC 6901 JSON pointer to the place.
type Finding struct {
	Code    FindingCode `json:"Code"`
	Pointer string      `json:"Pointer"`
	Message string      `json:"Message"`
}

// Report is the outcome of validating a document. A document with errors
// cannot be loaded; warnings are only told. What is wrong with an object or array
// as a whole, such as a field that is missing, comes after what is wrong within.
type Report struct {
	Valid    bool      `json:"Valid"`
	Errors   []Finding `json:"Errors"`
	Warnings []Finding `json:"Warnings"`
}

// MaxFindings is how many errors, and how many warnings, a report lists. The
// last one is then CodeMoreFindings and counts the rest.
const MaxFindings = 10_000

// FindingCode names the rule that a finding is about.
type FindingCode string

// The rules whose breach makes a document unusable.
const (
	CodeSyntax                  FindingCode = "Syntax"                  // not JSON, truncated, not UTF-8, or followed by something else
	CodeWrongType               FindingCode = "WrongType"               // a value of another JSON type, null included
	CodeUnknownField            FindingCode = "UnknownField"            // a name that the document does not have
	CodeDuplicateField          FindingCode = "DuplicateField"          // a name twice in one object
	CodeMissingField            FindingCode = "MissingField"            // a required name is absent
	CodeInvalidVersion          FindingCode = "InvalidVersion"          // Version is not 1
	CodeInvalidStatus           FindingCode = "InvalidStatus"           // Status is neither Active nor Inactive
	CodeInvalidType             FindingCode = "InvalidType"             // Type is neither ClassicWhiteList nor VPCWhiteList
	CodeTooManyStatements       FindingCode = "TooManyStatements"       // more than MaxStatements
	CodeTooManyPublicStatements FindingCode = "TooManyPublicStatements" // more than one ClassicWhiteList
	CodeTooManyEntries          FindingCode = "TooManyEntries"          // more than MaxEntries in one statement
	CodeEmptyIPList             FindingCode = "EmptyIPList"             // an IPList, or a string in one, without an entry
	CodeInvalidEntry            FindingCode = "InvalidEntry"            // not an address or CIDR block
	CodeValueForbidden          FindingCode = "ValueForbidden"          // Value on a ClassicWhiteList
	CodeValueRequired           FindingCode = "ValueRequired"           // no Value on a VPCWhiteList
	CodeInvalidValue            FindingCode = "InvalidValue"            // Value is neither a VPC id nor AllowAllVPC
	CodeInvalidAccountID        FindingCode = "InvalidAccountId"
	CodeInvalidAccessKeyID      FindingCode = "InvalidAccessKeyId"
	CodeDuplicateAccount        FindingCode = "DuplicateAccount"
	CodeDuplicateAccessKey      FindingCode = "DuplicateAccessKey"
	CodeInvalidExemption        FindingCode = "InvalidExemption" // Service, Action or Protocol empty or too long
	CodeTooLarge                FindingCode = "TooLarge"         // the compiled image would exceed its limits
)

// The doubts that are told as warnings.
const (
	CodeHostBits           FindingCode = "HostBits"           // host bits set; they are masked
	CodeDuplicateEntry     FindingCode = "DuplicateEntry"     // the same block twice in a statement
	CodeCoveredEntry       FindingCode = "CoveredEntry"       // a wider entry of the statement covers it
	CodeNoStatements       FindingCode = "NoStatements"       // Active with no statements locks everyone out
	CodePrivateAddress     FindingCode = "PrivateAddress"     // a private address in a public policy
	CodeNeedlessVPC        FindingCode = "NeedlessVPC"        // AllowAllVPC covers this named VPC
	CodeTemporaryAccessKey FindingCode = "TemporaryAccessKey" // policies never apply to a temporary credential
)

// CodeMoreFindings ends a list that was cut at MaxFindings.
const CodeMoreFindings FindingCode = "MoreFindings"

// Limits of the documents, from the cloud's own.
const (
	MaxStatements = 8
	MaxEntries    = 50
)

// MaxDepth is how many objects and arrays may lie in one another in any
// document. No document needs half as many; it is there because a reader of
// JSON calls itself for each, and to exceed the stack of a guest is a trap,
// from which nothing recovers.
const MaxDepth = 64

// Words of the documents.
const (
	TypeClassic  = "ClassicWhiteList" // the public network policy
	TypeVPC      = "VPCWhiteList"     // a VPC network policy
	AllowAllVPC  = "AllowAllVPC"      // the Value that stands for any VPC
	StatusActive = "Active"
	// StatusInactive keeps a policy's statements without enforcing them.
	StatusInactive = "Inactive"
)

// ErrorCodes lists every code that an error of a report may carry, apart from
// CodeMoreFindings.
func ErrorCodes() []FindingCode {
	return []FindingCode{
		CodeSyntax, CodeWrongType, CodeUnknownField, CodeDuplicateField,
		CodeMissingField, CodeInvalidVersion, CodeInvalidStatus, CodeInvalidType,
		CodeTooManyStatements, CodeTooManyPublicStatements, CodeTooManyEntries, CodeEmptyIPList,
		CodeInvalidEntry, CodeValueForbidden, CodeValueRequired, CodeInvalidValue,
		CodeInvalidAccountID, CodeInvalidAccessKeyID, CodeDuplicateAccount, CodeDuplicateAccessKey,
		CodeInvalidExemption, CodeTooLarge,
	}
}

// WarningCodes lists every code that a warning may carry, apart from CodeMoreFindings.
func WarningCodes() []FindingCode {
	return []FindingCode{
		CodeHostBits, CodeDuplicateEntry, CodeCoveredEntry, CodeNoStatements,
		CodePrivateAddress, CodeNeedlessVPC, CodeTemporaryAccessKey,
	}
}
