package host

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/keymoat/keymoat/abi"
)

// The built plugin. `make embed` renews it and `make verify-plugin` proves that
// plugin/core gives these bytes.
//
//go:embed keymoat.wasm.gz
var embeddedGuest []byte

// Guest returns the embedded plugin, keymoat.wasm.
func Guest() ([]byte, error) {
	wasm := make([]byte, embeddedSize())
	z, err := gzip.NewReader(bytes.NewReader(embeddedGuest))
	if err == nil {
		_, err = io.ReadFull(z, wasm)
	}
	if err == nil && !isEmbeddedGuest(wasm) {
		err = gzip.ErrChecksum
	}
	if err != nil {
		return nil, &GuestError{Problem: "the embedded plugin is damaged", Err: err}
	}
	return wasm, nil
}

// The last fields of a gzip file are the checksum and the size of what it holds.
func embeddedSize() uint32 { return binary.LittleEndian.Uint32(embeddedGuest[len(embeddedGuest)-4:]) }

func isEmbeddedGuest(wasm []byte) bool {
	return uint64(len(wasm)) == uint64(embeddedSize()) &&
		crc32.ChecksumIEEE(wasm) == binary.LittleEndian.Uint32(embeddedGuest[len(embeddedGuest)-8:])
}

// cachedGuest is Guest, kept unpacked in the directory of the compilation
// cache: to read it takes a tenth of the time that unpacking takes. Whoever can
// write there can put code of his own there, as WithCompilationCache says; the
// checksum finds a file that was damaged by accident.
func cachedGuest(dir string) ([]byte, error) {
	path := filepath.Join(dir, fmt.Sprintf("keymoat-%x.wasm", embeddedGuest[len(embeddedGuest)-8:]))
	if wasm, err := os.ReadFile(path); err == nil && isEmbeddedGuest(wasm) {
		return wasm, nil
	}
	wasm, err := Guest()
	if err != nil {
		return nil, err
	}
	// A cache that cannot be written to costs time, and nothing else.
	if file, err := os.CreateTemp(dir, "keymoat-*.tmp"); err == nil {
		_, err = file.Write(wasm)
		if errors.Join(err, file.Close()) != nil || os.Rename(file.Name(), path) != nil {
			_ = os.Remove(file.Name())
		}
	}
	return wasm, nil
}

// checkGuest compares what a module imports and exports with the interface, so
// that a wrong one is refused with a name, before it runs.
func checkGuest(module wazero.CompiledModule) error {
	for _, f := range module.ImportedFunctions() {
		if from, name, _ := f.Import(); from != abi.ImportModule {
			return &GuestError{Problem: fmt.Sprintf("it imports %s.%s; only %s may be imported from", from, name, abi.ImportModule)}
		}
	}
	if module.ExportedMemories()[abi.ExportMemory] == nil {
		return &GuestError{Problem: fmt.Sprintf("it does not export its memory as %q", abi.ExportMemory)}
	}
	exports := module.ExportedFunctions()
	wanted := abi.Exports()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		f := exports[name]
		if f == nil {
			return &GuestError{Problem: fmt.Sprintf("it does not export %s; is it built for another version of the interface than %d?", name, abi.VersionMajor)}
		}
		if want := wanted[name]; !sameTypes(f.ParamTypes(), want.Params) || !sameTypes(f.ResultTypes(), want.Results) {
			return &GuestError{Problem: fmt.Sprintf("it exports %s with the signature %s, not %s", name,
				signature(f.ParamTypes(), f.ResultTypes()), signature(valueTypes(want.Params), valueTypes(want.Results)))}
		}
	}
	return nil
}

func sameTypes(got []api.ValueType, want []abi.ValueType) bool {
	return slices.Equal(got, valueTypes(want))
}

func valueTypes(types []abi.ValueType) []api.ValueType {
	var all []api.ValueType
	for _, t := range types {
		if t == abi.I64 {
			all = append(all, api.ValueTypeI64)
		} else {
			all = append(all, api.ValueTypeI32)
		}
	}
	return all
}

func signature(params, results []api.ValueType) string {
	text := func(types []api.ValueType) (names []string) {
		for _, t := range types {
			names = append(names, api.ValueTypeName(t))
		}
		return names
	}
	return fmt.Sprintf("%v -> %v", text(params), text(results))
}

// checkVersion asks an instance for the version of its interface.
func checkVersion(ctx context.Context, module api.Module) error {
	results, err := module.ExportedFunction(abi.ExportABIVersion).Call(ctx)
	if err != nil {
		return &GuestError{Problem: "it trapped when asked for its version", Err: err}
	}
	version := uint32(results[0])
	if major, minor := version>>16, version&0xffff; major != abi.VersionMajor || minor < abi.VersionMinor {
		return &GuestError{Problem: fmt.Sprintf("its interface has version %d.%d; this host needs %d.%d, or a later minor version of it",
			major, minor, abi.VersionMajor, abi.VersionMinor)}
	}
	return nil
}
