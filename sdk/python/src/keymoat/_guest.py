"""The guest, keymoat.wasm, in wasmtime: compiled once, in any number of instances.

For ``_pool`` and ``_evaluator``. What a host has to heed is in abi/README.md.
"""

from __future__ import annotations

import ctypes
import functools
import struct
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
# 20,000 findings of 50,000 units. In addition there is work for each byte of
# the input, but not of the rules in force: no call but the one that loads them
# reads them all.
BRIEF = 100_000_000
LONG = 5_000_000_000
PER_BYTE = 20_000
PER_BYTE_OF_REQUESTS = 4_000

# A request that is longer is judged without the interpreter's lock.
_LONG_REQUEST = 16 << 10
# A buffer for input that is larger is given back after the call.
_KEPT = 1 << 20
# An instance whose memory has grown by more is replaced: memory never shrinks,
# and what the guest's collector leaves in it would be there for good.
_ALLOWANCE = 32 << 20


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


@functools.lru_cache(maxsize=4)
def module(wasm: bytes, cache_dir: Path | None) -> wasmtime.Module:
    """Return a guest, compiled and found usable, that all evaluators of this process share."""
    try:
        compiled = Cache(engine(), cache_dir).module(wasm)
    except wasmtime.WasmtimeError as err:
        raise GuestError(f"unusable guest: {err}") from err
    _check(compiled)
    return compiled


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


class _LastWords:
    """Keeps the first line that a guest writes to its standard error.

    Nothing but its runtime writes there, before it ends: why it has to. What
    takes the place of WASI's function is called in the thread of the call, so
    that it does not matter whether that holds the interpreter's lock.
    """

    _MOST = 200

    def __init__(self, linker: wasmtime.Linker) -> None:
        self._said = b""
        i32 = wasmtime.ValType.i32()
        linker.allow_shadowing = True
        linker.define_func(_WASI, "fd_write", wasmtime.FuncType([i32] * 4, [i32]), self._write, access_caller=True)

    def _write(self, caller: wasmtime.Caller, _file: int, vector: int, _count: int, written: int) -> int:
        """Take the first of the vectors, of which Go writes one at a time."""
        memory = caller["memory"]
        assert isinstance(memory, wasmtime.Memory)  # noqa: S101
        vector &= 0xFFFF_FFFF  # integers arrive with a sign
        pointer, size = struct.unpack("<II", memory.read(caller, vector, vector + 8))
        if len(self._said) < self._MOST:
            self._said += memory.read(caller, pointer, pointer + min(size, self._MOST))
        memory.write(caller, struct.pack("<I", size), written & 0xFFFF_FFFF)
        return 0

    def __str__(self) -> str:
        return self._said[: self._MOST].partition(b"\n")[0].decode("utf-8", "replace")

    @property
    def out_of_memory(self) -> bool:
        return "out of memory" in str(self)


class Instance:
    """One guest with a memory of its own. It takes one call at a time, and after an error none."""

    def __init__(self, guest: wasmtime.Module, memory_limit: int) -> None:
        self.outgrown = False  # whether it should be replaced
        self._memory_limit = memory_limit
        self._store = wasmtime.Store(engine())
        self._store.set_wasi(wasmtime.WasiConfig())
        self._store.set_limits(memory_size=memory_limit)
        self._store.set_fuel(BRIEF)
        linker = wasmtime.Linker(engine())
        linker.define_wasi()
        self._words = _LastWords(linker)
        try:
            exports = linker.instantiate(self._store, guest).exports(self._store)
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
        self._authorize_at_length = calls.function(exports[_AUTHORIZE], "i64", brief=False)  # type: ignore[arg-type]
        version = self._call("keymoat_abi_version", 0)
        if version >> 16 != ABI_MAJOR or version & 0xFFFF < ABI_MINOR:
            raise GuestError(f"unusable guest: its interface has version {version >> 16}.{version & 0xFFFF}")
        at = self._place(self._call("keymoat_request_buffer", 0), REQUEST_BUFFER_SIZE)
        self._request = memoryview((ctypes.c_ubyte * REQUEST_BUFFER_SIZE).from_address(at)).cast("B")
        self._evaluate = self._functions["keymoat_evaluate"]
        self._buffer, self._room = 0, 0  # where longer input goes
        self._unread = 0  # bytes of an image whose revision is not known yet
        self._settle()

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
        return self._call_on(_AUTHORIZE, encoded)

    def explain(self, question: bytes) -> tuple[int, bytes]:
        """Hand over a request in JSON and return status and trace."""
        if self._unread:  # the trace has the revision, for which the guest reads the image once
            self._call("keymoat_revision", self._unread)
            self._unread = 0
        return self.ask("keymoat_explain", question)

    def ask(self, export: str, document: bytes, *more: int) -> tuple[int, bytes]:
        """Hand over a document, or a batch and how many requests it has, and return status and result."""
        return self._call_on(export, document, *more), self.result()

    def load(self, policy_set: bytes) -> tuple[int, bytes]:
        """Put a policy set or an image in force and return status and result."""
        size = len(policy_set)
        pointer = self._written(policy_set, self._allocate(size))  # the guest keeps the buffer
        status = self._call("keymoat_load", size, pointer, size)
        self._unread = size
        self._settle()
        return status, self.result()

    def result(self) -> bytes:
        """Return a copy of what the last call left behind."""
        where = self._call("keymoat_result", 0)
        pointer, size = where >> 32, where & 0xFFFF_FFFF
        return ctypes.string_at(self._place(pointer, size), size)

    def _call(self, export: str, size: int, *args: int) -> int:
        """Call a function whose work depends on ``size`` bytes of input."""
        fuel = BRIEF if export in _BRIEF else LONG
        fuel += size * (PER_BYTE_OF_REQUESTS if export in _OF_REQUESTS else PER_BYTE)
        function = self._functions[export]
        if export == _AUTHORIZE and size > _LONG_REQUEST:
            function = self._authorize_at_length
        try:
            return function(fuel, *args)
        except _FAULTS as err:
            if size and self._words.out_of_memory:
                raise self._too_large(size) from err
            raise self._fault(export, err) from err

    def _call_on(self, export: str, data: bytes, *more: int) -> int:
        size = len(data)
        if size > self._room or not self._room:
            self._free_buffer()
            # So that it seldom grows; one that is given back need not be larger.
            room = size if size > _KEPT else 1 << max(size - 1, 4095).bit_length()
            self._buffer, self._room = self._allocate(room), room
        self._written(data, self._buffer)
        answer = self._call(export, size, self._buffer, size, *more)
        if self._room > _KEPT:
            self._free_buffer()
        self.outgrown = self._memory.data_len(self._store) > self._most
        return answer

    def _free_buffer(self) -> None:
        if self._room:
            self._call("keymoat_free", 0, self._buffer)
        self._buffer, self._room = 0, 0

    def _settle(self) -> None:
        """Note what the memory may grow to from here on."""
        self._most = self._memory.data_len(self._store) + _ALLOWANCE

    def _allocate(self, size: int) -> int:
        pointer = self._call("keymoat_alloc", size, size) if size <= _LARGEST else 0
        if pointer == 0:
            raise self._too_large(size)
        return pointer

    def _too_large(self, size: int) -> TooLargeError:
        return TooLargeError(
            f"{size} bytes do not fit the guest, which has {self._memory_limit} bytes of memory: raise memory_limit"
        )

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
        why = str(self._words) or str(err).strip().splitlines()[-1].strip()
        return what(f"the guest failed in {export}: {why}")


_FAULTS = (wasmtime.Trap, wasmtime.WasmtimeError)
_LARGEST = 0xFFFF_FFFF
_AUTHORIZE = "keymoat_authorize"

# What takes about as long as a request is long; the others take a document or a batch.
_BRIEF = {
    "keymoat_abi_version",
    _AUTHORIZE,
    "keymoat_evaluate",
    "keymoat_free",
    "keymoat_request_buffer",
    "keymoat_result",
}

# What takes requests, and not the documents that need much more work for each byte.
_OF_REQUESTS = {_AUTHORIZE, "keymoat_evaluate_batch", "keymoat_explain"}
