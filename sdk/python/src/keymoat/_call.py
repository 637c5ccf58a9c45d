"""Calls into a wasmtime instance without wasmtime's own Python layer.

``wasmtime.Func`` looks up the type of the function and converts each value on
every call: some 11 µs, when the guest itself takes half of one. Here the C
interface is called with arguments that were laid out once. This module, used
by ``_guest`` alone, is the only one that knows of wasmtime's inner names.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import wasmtime
from wasmtime import _ffi as ffi

_CALL = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p)
_FUEL = (ctypes.c_void_p, ctypes.c_uint64)

# A call that takes about as long as handing over the interpreter lock keeps
# it: several threads would otherwise hand it back and forth at each request.
# A call that takes as long as its document is long lets go of it.
_call_briefly = ctypes.PYFUNCTYPE(ctypes.c_void_p, *_CALL)(("wasmtime_func_call_unchecked", ffi.dll))
_call_at_length = ctypes.CFUNCTYPE(ctypes.c_void_p, *_CALL)(("wasmtime_func_call_unchecked", ffi.dll))
_set_fuel = ctypes.PYFUNCTYPE(ctypes.c_void_p, *_FUEL)(("wasmtime_context_set_fuel", ffi.dll))

_WORDS = ctypes.sizeof(ffi.wasmtime_val_raw_t) // 8
_MOST = 3  # arguments of a function
_MASKS = {"i32": 0xFFFF_FFFF, "i64": 0xFFFF_FFFF_FFFF_FFFF}


class Calls:
    """Makes callables of the functions of one store. They share the cells for arguments and results."""

    def __init__(self, store: wasmtime.Store) -> None:
        context = ctypes.cast(store._context(), ctypes.c_void_p)
        cells = (ctypes.c_uint64 * (_WORDS * _MOST))()
        trap = ctypes.c_void_p()
        self._context = context
        self._cells = cells
        self._cells_at = ctypes.c_void_p(ctypes.addressof(cells))
        self._trap = trap
        self._trap_at = ctypes.c_void_p(ctypes.addressof(trap))

    def function(self, func: wasmtime.Func, result: str, *, brief: bool) -> Callable[..., int]:
        """Return a callable of a function that takes up to three i32 and gives one result.

        Its first argument is how much work (fuel) the call may take. The
        caller has to have checked the signature.
        """
        raw = func._func
        context, func_at, cells_at, trap_at = (
            self._context,
            ctypes.c_void_p(ctypes.addressof(raw)),
            self._cells_at,
            self._trap_at,
        )
        cells, trap, count = self._cells, self._trap, ctypes.c_size_t(_MOST)
        call, set_fuel, words = _call_briefly if brief else _call_at_length, _set_fuel, _WORDS
        mask = _MASKS[result]

        def run(fuel: int, *args: int) -> int:
            if error := set_fuel(context, fuel):
                raise _error(error)
            at = 0
            for arg in args:
                cells[at] = arg
                at += words
            error = call(context, func_at, cells_at, count, trap_at)
            if error or trap:
                raise _error(error) if error else _take_trap(trap)
            return cells[0] & mask

        run.__dict__["raw"] = raw  # func_at points to it
        return run


def _error(pointer: int) -> wasmtime.WasmtimeError:
    return wasmtime.WasmtimeError._from_ptr(ctypes.cast(pointer, ctypes.POINTER(ffi.wasmtime_error_t)))


def _take_trap(trap: ctypes.c_void_p) -> wasmtime.Trap:
    taken = wasmtime.Trap._from_ptr(ctypes.cast(trap, ctypes.POINTER(ffi.wasm_trap_t)))
    trap.value = None
    return taken
