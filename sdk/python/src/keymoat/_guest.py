"""The guest, keymoat.wasm, in wasmtime: compiled once, in any number of instances.

For ``_pool`` and ``_evaluator``. What a host has to heed is in abi/README.md.
"""

from __future__ import annotations

import ctypes
import functools
from importlib import resources
from pathlib import Path

import wasmtime

from keymoat._abi import ABI_MAJOR, ABI_MINOR, EXPORTS, REQUEST_BUFFER_SIZE
from keymoat._cache import Cache
from keymoat._call import Calls
from keymoat._errors import GuestError, TooLargeError, TrapError, WorkLimitError

_WASI = "wasi_snapshot_preview1"

# A call that does not end is stopped by counting what it does, about one unit
# for each instruction, and not by a clock: that needs no thread, works while
# the interpreter is locked, and gives the same answer on a slow machine.
# Each limit is several times the most that was seen. BRIEF is for what takes
# a request, LONG for what takes a document or a batch: a report may list
# 20,000 findings of 50,000 units. Both get PER_BYTE in addition for each byte
# that there is to read, the image's included.
BRIEF = 100_000_000
LONG = 5_000_000_000
PER_BYTE = 20_000


@functools.cache
def engine() -> wasmtime.Engine:
    """Return the engine of this process.

    It is not made before it is needed: wasmtime then takes the signals that
    tell it of traps, and ``faulthandler.enable()`` must not come after it.
    """
    config = wasmtime.Config()
    config.consume_fuel = True
    # A memory that cannot move has one address for life, whatever grows.
    config.memory_reservation = 1 << 32
    config.memory_may_move = False
    return wasmtime.Engine(config)


@functools.cache
def embedded() -> bytes:
    """Return the guest that this package carries."""
    return resources.files("keymoat").joinpath("keymoat.wasm").read_bytes()


class Module:
    """A guest that has been compiled and found usable."""

    def __init__(self, wasm: bytes, cache_dir: Path | None) -> None:
        try:
            self.compiled = Cache(engine(), cache_dir).module(wasm)
        except wasmtime.WasmtimeError as err:
            raise GuestError(f"unusable guest: {err}") from err
        _check(self.compiled)
        linker = wasmtime.Linker(engine())
        linker.define_wasi()
        self.linker = linker


@functools.lru_cache(maxsize=4)
def module(wasm: bytes, cache_dir: Path | None) -> Module:
    """Return a module that all evaluators of this process share."""
    return Module(wasm, cache_dir)


def _check(compiled: wasmtime.Module) -> None:
    for i in compiled.imports:
        if i.module != _WASI:
            raise GuestError(f"unusable guest: it imports {i.module}.{i.name}")
    found = {e.name: e.type for e in compiled.exports}
    if not isinstance(found.get("memory"), wasmtime.MemoryType):
        raise GuestError("unusable guest: it does not export its memory")
    # Calls go past wasmtime's own checks, so a guest is refused whose exports
    # have other signatures.
    for name, (params, results) in EXPORTS.items():
        f = found.get(name)
        if not isinstance(f, wasmtime.FuncType):
            raise GuestError(f"unusable guest: it does not export the function {name}")
        if tuple(str(p) for p in f.params) != params or tuple(str(r) for r in f.results) != results:
            raise GuestError(f"unusable guest: {name} has another signature")


class Instance:
    """One guest with a memory of its own. It takes one call at a time, and after a TrapError none."""

    def __init__(self, guest: Module, memory_limit: int) -> None:
        self._store = wasmtime.Store(engine())
        # No import may be a function of Python's, standard error included: a
        # brief call holds the interpreter lock that such a function waits for.
        self._store.set_wasi(wasmtime.WasiConfig())
        self._store.set_limits(memory_size=memory_limit)
        self._store.set_fuel(BRIEF)
        try:
            exports = guest.linker.instantiate(self._store, guest.compiled).exports(self._store)
            exports["_initialize"](self._store)  # type: ignore[operator]
        except _FAULTS as err:
            raise self._fault("_initialize", err) from err
        memory = exports["memory"]
        assert isinstance(memory, wasmtime.Memory)  # noqa: S101
        self._memory = memory
        self._base = ctypes.addressof(memory.data_ptr(self._store).contents)

        calls = Calls(self._store)
        self._functions = {
            name: calls.function(exports[name], results[0], brief=name in _BRIEF)  # type: ignore[arg-type]
            for name, (_, results) in EXPORTS.items()
            if results
        }
        version = self._call("keymoat_abi_version", 0)
        if version >> 16 != ABI_MAJOR or version & 0xFFFF < ABI_MINOR:
            raise GuestError(f"unusable guest: its interface has version {version >> 16}.{version & 0xFFFF}")
        at = self._place(self._call("keymoat_request_buffer", 0), REQUEST_BUFFER_SIZE)
        self._request = memoryview((ctypes.c_ubyte * REQUEST_BUFFER_SIZE).from_address(at)).cast("B")
        self._evaluate = self._functions["keymoat_evaluate"]
        self._buffer, self._room = 0, -1  # where longer input goes
        self._held = 0  # bytes of the image

    def evaluate(self, encoded: bytes) -> int:
        """Judge a binary request and return the word."""
        size = len(encoded)
        self._request[:size] = encoded
        try:
            return self._evaluate(BRIEF, size)
        except _FAULTS as err:
            raise self._fault("keymoat_evaluate", err) from err

    def authorize(self, encoded: bytes) -> int:
        """Judge a binary HTTP request and return the word."""
        return self._call_on("keymoat_authorize", encoded)

    def ask(self, export: str, document: bytes, *more: int) -> tuple[int, bytes]:
        """Hand over a document, or a batch and how many requests it has, and return status and result."""
        return self._call_on(export, document, *more), self.result()

    def load(self, policy_set: bytes) -> tuple[int, bytes]:
        """Put a policy set or an image in force and return status and result."""
        size = len(policy_set)
        pointer = self._written(policy_set, self._allocate(size))  # the guest keeps the buffer
        self._held = size
        return self._call("keymoat_load", size, pointer, size), self.result()

    def result(self) -> bytes:
        """Return a copy of what the last call left behind."""
        where = self._call("keymoat_result", 0)
        pointer, size = where >> 32, where & 0xFFFF_FFFF
        return ctypes.string_at(self._place(pointer, size), size)

    def _call(self, export: str, size: int, *args: int) -> int:
        fuel = (BRIEF if export in _BRIEF else LONG) + PER_BYTE * size
        try:
            return self._functions[export](fuel, *args)
        except _FAULTS as err:
            raise self._fault(export, err) from err

    def _call_on(self, export: str, data: bytes, *more: int) -> int:
        size = len(data)
        if size > self._room:
            if self._room >= 0:
                self._call("keymoat_free", 0, self._buffer)
            self._room = max(2 * size, 4096)
            self._buffer = self._allocate(self._room)
        self._written(data, self._buffer)
        return self._call(export, size + self._held, self._buffer, size, *more)

    def _allocate(self, size: int) -> int:
        pointer = self._call("keymoat_alloc", size, size) if size <= _LARGEST else 0
        if pointer == 0:
            raise TooLargeError(f"{size} bytes are more than the guest can hold")
        return pointer

    def _written(self, data: bytes, pointer: int) -> int:
        ctypes.memmove(self._place(pointer, len(data)), data, len(data))
        return pointer

    def _place(self, pointer: int, size: int) -> int:
        """Return the address of a part of the memory, which a broken guest may have put outside of it."""
        if pointer + size > self._memory.data_len(self._store):
            raise TrapError("the guest pointed outside of its memory")
        return self._base + pointer

    def _fault(self, export: str, err: Exception) -> TrapError:
        what = WorkLimitError if getattr(err, "trap_code", None) is wasmtime.TrapCode.OUT_OF_FUEL else TrapError
        why = str(err).strip().splitlines()[-1].strip()
        return what(f"the guest failed in {export}: {why}")


_FAULTS = (wasmtime.Trap, wasmtime.WasmtimeError)
_LARGEST = 0xFFFF_FFFF

# What takes about as long as a request is long; the others take a document or a batch.
_BRIEF = {
    "keymoat_abi_version",
    "keymoat_authorize",
    "keymoat_evaluate",
    "keymoat_free",
    "keymoat_request_buffer",
    "keymoat_result",
}
