package host

import (
	"encoding/binary"
	"maps"
	"slices"

	"github.com/keymoat/keymoat/abi"
)

// module is a WebAssembly module put together by hand, so that a test can have
// a guest with any fault. Functions have machine code for a body.
type module struct {
	imports   [][2]string // functions without parameters and results: module, name
	functions map[string]function
	memory    string // the name that the memory is exported as
	pages     uint64
}

type function struct {
	abi.Signature
	code []byte
}

// answer sets what a function does.
func (m module) answer(name string, code ...byte) {
	f := m.functions[name]
	f.code = code
	m.functions[name] = f
}

// guestStandIn is a module that passes for the plugin: it takes any document and
// allows any request.
func guestStandIn() module {
	m := module{functions: map[string]function{}, memory: abi.ExportMemory, pages: 4}
	for name, signature := range abi.Exports() {
		f := function{Signature: signature}
		if len(f.Results) > 0 {
			f.code = constant(f.Results[0], 0)
		}
		m.functions[name] = f
	}
	const request, buffers = 1 << 10, 1 << 13
	allowed := abi.NewWord(abi.EffectAllow, abi.ReasonNoActivePolicy, abi.LevelNone, abi.NetworkPublic)
	m.answer(abi.ExportABIVersion, constant(abi.I32, int64(abi.Version))...)
	m.answer(abi.ExportRequestBuffer, constant(abi.I32, request)...)
	m.answer(abi.ExportAlloc, constant(abi.I32, buffers)...)
	m.answer(abi.ExportEvaluate, constant(abi.I64, int64(allowed))...)
	m.answer(abi.ExportAuthorize, constant(abi.I64, int64(allowed))...)
	return m
}

// Instructions.
const (
	unreachable = 0x00
	ifTrue      = 0x04
	noResult    = 0x40 // the type of an if
	end         = 0x0b
	returnNow   = 0x0f
	drop        = 0x1a
	localGet    = 0x20
	memoryGrow  = 0x40 // by a number of pages, of memory 0
	i32Const    = 0x41
	i64Const    = 0x42
	i32GtU      = 0x4b
)

func constant(t abi.ValueType, v int64) []byte {
	code := []byte{i32Const}
	if t == abi.I64 {
		code[0] = i64Const
	}
	for ; v < -64 || v > 63; v >>= 7 { // signed LEB128
		code = append(code, byte(v)|0x80)
	}
	return append(code, byte(v)&0x7f)
}

// bytes is the binary form, section by section.
func (m module) bytes() []byte {
	const (
		types, imports, functions, memories, exports, codes = 1, 2, 3, 5, 7, 10
		functionType, functionKind, memoryKind              = 0x60, 0, 2
	)
	names := slices.Sorted(maps.Keys(m.functions))
	var typed, imported, declared, exported, bodies [][]byte
	for i, from := range m.imports {
		typed = append(typed, []byte{functionType, 0, 0})
		imported = append(imported, slices.Concat(text(from[0]), text(from[1]), []byte{functionKind, byte(i)}))
	}
	for _, name := range names {
		f, index := m.functions[name], number(uint64(len(typed)))
		typed = append(typed, slices.Concat([]byte{functionType}, valueTypeCodes(f.Params), valueTypeCodes(f.Results)))
		declared = append(declared, index)
		exported = append(exported, slices.Concat(text(name), []byte{functionKind}, index))
		body := slices.Concat([]byte{0}, f.code, []byte{end}) // no locals
		bodies = append(bodies, append(number(uint64(len(body))), body...))
	}
	if m.memory != "" {
		exported = append(exported, slices.Concat(text(m.memory), []byte{memoryKind, 0}))
	}
	return slices.Concat(
		[]byte("\x00asm\x01\x00\x00\x00"),
		section(types, typed),
		section(imports, imported),
		section(functions, declared),
		section(memories, [][]byte{append([]byte{0}, number(m.pages)...)}),
		section(exports, exported),
		section(codes, bodies),
	)
}

func section(id byte, items [][]byte) []byte {
	content := append(number(uint64(len(items))), slices.Concat(items...)...)
	return slices.Concat([]byte{id}, number(uint64(len(content))), content)
}

func number(n uint64) []byte { return binary.AppendUvarint(nil, n) }

func text(s string) []byte { return append(number(uint64(len(s))), s...) }

func valueTypeCodes(types []abi.ValueType) []byte {
	codes := number(uint64(len(types)))
	for _, t := range types {
		if t == abi.I64 {
			codes = append(codes, 0x7e)
		} else {
			codes = append(codes, 0x7f)
		}
	}
	return codes
}
