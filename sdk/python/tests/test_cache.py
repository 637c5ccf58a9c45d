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


def test_what_nobody_has_used_for_a_month_goes_when_a_new_guest_is_written(tmp_path: Path) -> None:
    directory = tmp_path / "keymoat"
    module(directory)
    [current] = directory.iterdir()
    key, rest = "0123456789abcdef" * 2, current.name[32:]
    old = [f"{key}{rest}", f"{key}-wasmtime-49.0.0-linux-x86_64.module", ".module-abc_123z"]
    in_use, others = f"{key[::-1]}{rest}", ["notes.module", "x.txt", f"{key}.module", f"{key}{rest}.bak"]
    month = 31 * 24 * 3600
    for name in (*old, in_use, *others):
        (directory / name).write_bytes(b"")
        if name != in_use:
            os.utime(directory / name, (0, current.stat().st_mtime - month))
    (directory / f"{key[1:]}0{rest}").symlink_to(directory / "x.txt")
    kept = {file.name for file in directory.iterdir()} - set(old)

    module(directory)  # reads the current one, and does not look at others
    assert {file.name for file in directory.iterdir()} == kept | set(old)
    current.unlink()
    module(directory)
    assert {file.name for file in directory.iterdir()} == kept


def test_reading_a_guest_says_that_it_is_in_use(tmp_path: Path) -> None:
    directory = tmp_path / "keymoat"
    module(directory)
    [file] = directory.iterdir()
    written = file.stat().st_mtime
    os.utime(file, (0, 0))
    module(directory)
    assert file.stat().st_mtime >= written


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
