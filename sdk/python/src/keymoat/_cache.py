"""The compiled guest on disk: compiling takes a second, reading it back some milliseconds.

For ``_guest``. A compiled module is machine code that will run in this
process. It is read only from a directory that belongs to this user and that
nobody else may write to or look into, and only if it has the checksum that was
written with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import platform
import re
import stat
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

import wasmtime

_log = logging.getLogger("keymoat")

_DIGEST = hashlib.sha256().digest_size

# Files of other versions, and those that a process left half written, go when a
# new one is written and nobody has used them for so long.
_UNUSED = 30 * 24 * 3600.0
_OURS = re.compile(r"[0-9a-f]{32}-wasmtime-[\w.+-]+\.module|\.module-\w+", re.A)


def default_dir() -> Path | None:
    """Return the directory for caches of this user, None if there is no telling."""
    with contextlib.suppress(RuntimeError):  # no home
        if sys.platform == "win32":
            local = os.environ.get("LOCALAPPDATA")
            return Path(local) / "keymoat" if local else None
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "keymoat"
        named = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(named) if Path(named).is_absolute() else Path.home() / ".cache") / "keymoat"
    return None


class Cache:
    """Compiled modules in a directory; None keeps none."""

    def __init__(self, engine: wasmtime.Engine, directory: Path | None) -> None:
        self._engine = engine
        self._directory = directory

    def module(self, wasm: bytes) -> wasmtime.Module:
        """Return the module, from the disk if it is there."""
        file = self._file(wasm)
        if file is None:
            return wasmtime.Module(self._engine, wasm)
        if (found := self._read(file)) is not None:
            return found
        made = wasmtime.Module(self._engine, wasm)
        try:
            _write(file, bytes(made.serialize()))
            _drop_unused(file.parent)
        except OSError as err:
            _log.warning("keymoat: the compiled guest is not kept: %s", err)
        return made

    def _file(self, wasm: bytes) -> Path | None:
        if self._directory is None:
            return None
        try:
            _make_private(self._directory)
        except OSError as err:
            _log.warning("keymoat: the compiled guest is not kept, and compiled anew at each start: %s", err)
            return None
        key = hashlib.sha256(wasm).hexdigest()[:32]
        machine = f"{sys.platform}-{platform.machine()}".lower()
        return self._directory / f"{key}-wasmtime-{metadata.version('wasmtime')}-{machine}.module"

    def _read(self, file: Path) -> wasmtime.Module | None:
        """Return the module, None if it is not there, damaged, or made for another machine."""
        try:
            content = file.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as err:
            _log.warning("keymoat: the compiled guest cannot be read: %s", err)
            return None
        digest, code = content[:_DIGEST], content[_DIGEST:]
        if hashlib.sha256(code).digest() != digest:
            _log.warning("keymoat: %s is damaged, the guest is compiled anew", file)
            return None
        try:
            module = wasmtime.Module.deserialize(self._engine, code)
        except wasmtime.WasmtimeError as err:
            _log.info("keymoat: %s is of no use here, the guest is compiled anew: %s", file, err)
            return None
        with contextlib.suppress(OSError):
            os.utime(file)  # says that it is in use
        return module


def _make_private(directory: Path) -> None:
    """Make a directory for this user alone, or make sure that it is one."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if sys.platform == "win32":
        return  # what is below LOCALAPPDATA belongs to the user
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{directory} is not a directory")
    if found.st_uid != os.geteuid():
        raise PermissionError(f"{directory} belongs to another user")
    if found.st_mode & 0o077:
        raise PermissionError(f"others may use {directory}: its mode must be 0700")


def _write(file: Path, code: bytes) -> None:
    """Write a file whole or not at all."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=".module-")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(hashlib.sha256(code).digest())
            out.write(code)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _drop_unused(directory: Path) -> None:
    """Delete what this package wrote and has not used for long."""
    for file in directory.iterdir():
        if _OURS.fullmatch(file.name):
            with contextlib.suppress(OSError):  # another process may have been quicker
                found = file.lstat()
                if stat.S_ISREG(found.st_mode) and found.st_mtime < time.time() - _UNUSED:
                    file.unlink()
