"""The compiled guest on disk."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest
import wasmtime

from keymoat import _cache
from keymoat._cache import Cache, default_dir
from keymoat._guest import engine

WASM = bytes(wasmtime.wat2wasm('(module (func (export "f") (result i32) i32.const 7))'))


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What was compiled, and not read from the disk."""
    made: list[bytes] = []
    original = wasmtime.Module.__init__

    def init(self: wasmtime.Module, engine: wasmtime.Engine, wasm: str | bytes) -> None:
        made.append(bytes(wasm) if not isinstance(wasm, str) else wasm.encode())
        original(self, engine, wasm)

    monkeypatch.setattr(wasmtime.Module, "__init__", init)
    return made


def module(directory: Path | None) -> None:
    """Take a module from a cache, and use it."""
    found = Cache(engine(), directory).module(WASM)
    store = wasmtime.Store(engine())
    store.set_fuel(1000)
    f = wasmtime.Instance(store, found, []).exports(store)["f"]
    assert isinstance(f, wasmtime.Func)
    assert f(store) == 7


def test_a_guest_is_compiled_once(tmp_path: Path, compilations: list[bytes]) -> None:
    directory = tmp_path / "new" / "keymoat"
    for _ in range(3):
        module(directory)
    assert compilations == [WASM]
    [file] = directory.iterdir()
    assert "wasmtime" in file.name
    if sys.platform != "win32":
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_without_a_directory_nothing_is_kept(compilations: list[bytes]) -> None:
    module(None)
    module(None)
    assert compilations == [WASM, WASM]


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "other engine"])
def test_a_damaged_file_is_replaced(tmp_path: Path, compilations: list[bytes], damage: str) -> None:
    directory = tmp_path / "keymoat"
    module(directory)
    [file] = directory.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "other engine":
        other = bytes(wasmtime.Module(wasmtime.Engine(), WASM).serialize())
        compilations.clear()
        compilations.append(WASM)
        _cache._write(file, other)
        content = bytearray(file.read_bytes())
    file.write_bytes({"truncate": bytes(content[:-9]), "empty": b""}.get(damage, bytes(content)))
    module(directory)
    assert compilations == [WASM, WASM]
    module(directory)
    assert compilations == [WASM, WASM], "the good file is not kept"


@pytest.mark.skipif(sys.platform == "win32", reason="modes are those of POSIX")
@pytest.mark.parametrize("mode", [0o777, 0o750, 0o701])
def test_a_directory_that_others_may_use_is_not_used(
    tmp_path: Path, compilations: list[bytes], caplog: pytest.LogCaptureFixture, mode: int
) -> None:
    directory = tmp_path / "keymoat"
    module(directory)
    directory.chmod(mode)
    module(directory)
    assert compilations == [WASM, WASM]
    assert "0700" in caplog.text


@pytest.mark.skipif(sys.platform == "win32", reason="owners are those of POSIX")
def test_a_directory_of_another_user_or_behind_a_link_is_not_used(
    tmp_path: Path, compilations: list[bytes], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "keymoat"
    module(directory)
    link = tmp_path / "link"
    link.symlink_to(directory)
    module(link)
    assert len(compilations) == 2
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    module(directory)
    assert len(compilations) == 3
    assert "not a directory" in caplog.text
    assert "another user" in caplog.text


def test_a_directory_that_cannot_be_written_to_costs_time_only(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    module(tmp_path / "file")
    assert "not kept" in caplog.text
    caplog.clear()

    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(_cache, "_write", full)
    module(tmp_path / "keymoat")
    assert "no space left" in caplog.text


@pytest.mark.skipif(sys.platform != "linux", reason="the variable is one of Linux")
def test_the_directory_is_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_dir() == tmp_path / "keymoat"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_dir() == tmp_path / "home" / ".cache" / "keymoat"
