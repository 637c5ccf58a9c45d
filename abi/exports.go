package abi

// Names of the guest's exports. README.md gives their signatures.
const (
	ExportInitialize    = "_initialize"
	ExportMemory        = "memory"
	ExportABIVersion    = "keymoat_abi_version"
	ExportAlloc         = "keymoat_alloc"
	ExportFree          = "keymoat_free"
	ExportLoad          = "keymoat_load"
	ExportCompile       = "keymoat_compile"
	ExportValidate      = "keymoat_validate"
	ExportRequestBuffer = "keymoat_request_buffer"
	ExportEvaluate      = "keymoat_evaluate"
	ExportEvaluateBatch = "keymoat_evaluate_batch"
	ExportEvaluateJSON  = "keymoat_evaluate_json"
	ExportExplain       = "keymoat_explain"
	ExportAuthorize     = "keymoat_authorize"
	ExportResult        = "keymoat_result"
	ExportRevision      = "keymoat_revision"
	ExportInfo          = "keymoat_info"
)

// ImportModule is the only module that a guest may import from.
const ImportModule = "wasi_snapshot_preview1"

// ValueType is a WebAssembly value type as a function signature spells it.
type ValueType string

// The two value types that the interface uses.
const (
	I32 ValueType = "i32"
	I64 ValueType = "i64"
)

// Signature is the type of one exported function.
type Signature struct {
	Params  []ValueType
	Results []ValueType
}

// Exports maps each exported function to its signature. A host checks a guest
// against it before it makes an instance.
func Exports() map[string]Signature {
	var (
		none   []ValueType
		one    = []ValueType{I32}
		two    = []ValueType{I32, I32}
		three  = []ValueType{I32, I32, I32}
		status = one
		word   = []ValueType{I64}
	)
	return map[string]Signature{
		ExportInitialize:    {none, none},
		ExportABIVersion:    {none, one},
		ExportAlloc:         {one, one},
		ExportFree:          {one, status},
		ExportLoad:          {two, status},
		ExportCompile:       {two, status},
		ExportValidate:      {two, status},
		ExportRequestBuffer: {none, one},
		ExportEvaluate:      {one, word},
		ExportEvaluateBatch: {three, status},
		ExportEvaluateJSON:  {two, status},
		ExportExplain:       {two, status},
		ExportAuthorize:     {two, word},
		ExportResult:        {none, word},
		ExportRevision:      {none, status},
		ExportInfo:          {none, status},
	}
}
