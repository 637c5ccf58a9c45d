"""A guest that traps, does not end, answers nonsense or cannot be used: an error each time, and right answers after."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest
import wasmtime

import keymoat
from conftest import LISTED, POLICY_SET, policy, public
from keymoat import (
    Evaluator,
    GuestError,
    HttpRequest,
    KeymoatError,
    Options,
    Request,
    TooLargeError,
    TrapError,
    WorkLimitError,
    _guest,
)

WAT = (Path(__file__).parent / "guest.wat").read_text()
ALLOWS, DENIES = b"KEYMOAT\0A", b"KEYMOAT\0D"


def faulty(image: bytes, instances: int = 1) -> Evaluator:
    return Evaluator.from_image(
        image, Options(guest=bytes(wasmtime.wat2wasm(WAT)), cache_dir=None, instances=instances)
    )


def call_evaluate(e: Evaluator, letter: str) -> object:
    return e.evaluate(Request(letter, "203.0.113.1"))


def call_many(e: Evaluator, letter: str) -> object:
    return e.evaluate_many([Request(letter, "203.0.113.1")])


def call_authorize(e: Evaluator, letter: str) -> object:
    return e.authorize(HttpRequest(letter, ip_address("203.0.113.1")))


@pytest.mark.parametrize("call", [call_evaluate, call_many, call_authorize])
@pytest.mark.parametrize(
    ("letter", "error", "message"),
    [
        ("T", TrapError, "unreachable"),
        ("L", WorkLimitError, "all fuel consumed"),
        ("X", TrapError, "exit"),
    ],
)
def test_after_a_trap_a_fresh_instance_has_the_rules(
    call: Callable[[Evaluator, str], object],
    letter: str,
    error: type[TrapError],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(_guest, "BRIEF", 1_000_000)
    monkeypatch.setattr(_guest, "LONG", 1_000_000)
    for image, allowed in ((ALLOWS, True), (DENIES, False)):
        evaluator = faulty(image)
        for _ in range(3):
            with pytest.raises(error, match=message) as e:
                call(evaluator, letter)
            assert type(e.value) is error
            assert e.value.code == "Internal"
            assert evaluator.evaluate(Request("a", "203.0.113.1")).allowed is allowed


def test_traps_in_many_threads_leave_the_others_right() -> None:
    evaluator = faulty(ALLOWS, instances=2)
    wrong: list[object] = []

    def work(index: int) -> None:
        for i in range(40):
            try:
                if (i + index) % 4 == 0:
                    with pytest.raises(TrapError):
                        evaluator.evaluate(Request("T", "203.0.113.1"))
                elif not evaluator.evaluate(Request("a", "203.0.113.1")).allowed:
                    wrong.append("denied")
            except BaseException as err:
                wrong.append(err)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert wrong == []


@pytest.mark.parametrize("letter", ["Z", "S", "B", "R", "P", "W"])
def test_a_word_that_is_no_decision_is_an_error(letter: str) -> None:
    evaluator = faulty(ALLOWS)
    with pytest.raises(KeymoatError):
        evaluator.evaluate(Request(letter, "203.0.113.1"))
    with pytest.raises(keymoat.BatchError):
        evaluator.evaluate_many([Request(letter, "203.0.113.1")])
    with pytest.raises(KeymoatError):
        evaluator.authorize(HttpRequest(letter, ip_address("203.0.113.1")))


@pytest.mark.parametrize(
    "source", ["203.0.113.1", "::ffff:203.0.113.1", "::FFFF:cb00:7101", "0:0:0:0:0:ffff:cb00:7101"]
)
def test_an_ipv4_entry_has_32_bits_at_most(source: str) -> None:
    evaluator = faulty(ALLOWS)
    with pytest.raises(KeymoatError, match="too long"):
        evaluator.evaluate(Request("P", source))
    assert evaluator.evaluate(Request("P", "2001:db8:ffff::1")).allowed


def test_an_answer_outside_of_the_memory_or_too_short_is_an_error() -> None:
    evaluator = faulty(ALLOWS)
    with pytest.raises(TrapError, match="outside of its memory"):
        evaluator.explain(Request("a", "203.0.113.1"))
    with pytest.raises(TrapError, match="2 requests with 1 words"):
        evaluator.evaluate_many([Request("a", "203.0.113.1")] * 2)
    with pytest.raises(TrapError, match="outside of its memory"):
        evaluator.authorize(HttpRequest("a", "203.0.113.1", [("padding", "x" * 300_000)]))
    assert evaluator.evaluate(Request("a", "203.0.113.1")).allowed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"wasi_snapshot_preview1" "fd_write"', '"env" "fd_write"'),
        ('(memory (export "memory") 4)', "(memory 4)"),
        ('(func (export "keymoat_explain")', '(func (export "keymoat_explain_x")'),
        ('(export "keymoat_alloc") (param i32)', '(export "keymoat_alloc") (param i64)'),
        ("(i32.const 0x10000)", "(i32.const 0x20000)"),
        ('(func (export "_initialize"))', '(func (export "_initialize") unreachable)'),
        ("(module", "(modul"),
    ],
)
def test_a_guest_of_another_kind_is_refused(old: str, new: str) -> None:
    assert WAT.count(old) == 1 or old == "(module"
    changed = WAT.replace(old, new, 1)
    guest = changed.encode() if new == "(modul" else bytes(wasmtime.wat2wasm(changed))
    options = Options(guest=guest, cache_dir=None)
    with pytest.raises((GuestError, TrapError)):
        Evaluator.from_image(ALLOWS, options)


def test_a_call_that_takes_too_much_work_is_stopped_in_the_real_guest(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(LISTED, "203.0.113.1")
    before = evaluator.evaluate(request)
    with monkeypatch.context() as limited:
        limited.setattr(_guest, "BRIEF", 100)
        with pytest.raises(WorkLimitError, match="keymoat_evaluate"):
            evaluator.evaluate(request)
    for _ in range(3):
        assert evaluator.evaluate(request) == before


def test_what_does_not_fit_the_memory_is_refused_and_the_old_rules_stay() -> None:
    evaluator = Evaluator.from_json(POLICY_SET, Options(memory_limit=16 << 20))
    keys = [{"AccessKeyId": f"k{i}", "AccessKeyPolicy": policy(public(f"203.0.113.{i % 256}"))} for i in range(40_000)]
    large = json.dumps({"Version": 1, "Accounts": [{"AccountId": "1", "AccessKeys": keys}]})
    with pytest.raises(KeymoatError) as e:
        evaluator.load(large)
    assert isinstance(e.value, (TrapError, TooLargeError))
    assert evaluator.evaluate(Request(LISTED, "203.0.113.1")).allowed
    with Evaluator.from_json(large) as unlimited:
        assert unlimited.evaluate(Request("k7", "203.0.113.7")).allowed
