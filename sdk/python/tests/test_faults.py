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


def many_keys() -> str:
    keys = [{"AccessKeyId": f"k{i}", "AccessKeyPolicy": policy(public(f"203.0.113.{i % 256}"))} for i in range(40_000)]
    return json.dumps({"Version": 1, "Accounts": [{"AccountId": "1", "AccessKeys": keys}]})


def call_evaluate(e: Evaluator, letter: str) -> object:
    return e.evaluate(Request(letter, "203.0.113.1"))


def call_many(e: Evaluator, letter: str) -> object:
    return e.evaluate_many([Request(letter, "203.0.113.1")])


def call_authorize(e: Evaluator, letter: str) -> object:
    return e.authorize(HttpRequest(letter, ip_address("203.0.113.1")))


def call_explain(e: Evaluator, letter: str) -> object:
    return e.explain(Request(letter, "203.0.113.1"))


@pytest.mark.parametrize("call", [call_evaluate, call_many, call_authorize, call_explain])
@pytest.mark.parametrize(
    ("letter", "error", "message"),
    [
        ("T", TrapError, "panic: on purpose"),
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
        evaluator.authorize(HttpRequest("a", "203.0.113.1", [("padding", "x" * 3_000_000)]))
    assert evaluator.evaluate(Request("a", "203.0.113.1")).allowed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"wasi_snapshot_preview1" "fd_write"', '"env" "fd_write"'),
        ('(memory (export "memory") 32)', "(memory 32)"),
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


@pytest.mark.parametrize("call", [call_evaluate, call_many, call_authorize, call_explain])
def test_the_work_of_a_call_is_limited_alike_whatever_is_loaded(
    call: Callable[[Evaluator, str], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluator = faulty(ALLOWS + bytes(1_000_000))
    monkeypatch.setattr(_guest, "BRIEF", 2_000_000)
    monkeypatch.setattr(_guest, "LONG", 2_000_000)
    for letter in "CL":
        with pytest.raises(WorkLimitError):
            call(evaluator, letter)


def test_the_lock_of_the_interpreter_is_let_go_of_while_a_long_request_is_judged() -> None:
    evaluator = faulty(ALLOWS)
    assert evaluator._pool is not None
    [instance] = evaluator._pool._idle
    without_lock, called = instance._authorize_at_length, []

    def recorded(*args: int) -> int:
        called.append(args)
        return without_lock(*args)

    instance._authorize_at_length = recorded
    for size in (100, 20_000):
        evaluator.authorize(HttpRequest("a", ip_address("203.0.113.1"), [("padding", "x" * size)]))
        assert len(called) == (size == 20_000)


def test_a_trace_of_many_rules_has_the_work_that_their_revision_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    with Evaluator.from_json(many_keys()) as evaluator:
        monkeypatch.setattr(_guest, "LONG", 50_000_000)  # a quarter of what the hash of this image takes
        for _ in range(2):
            assert evaluator.explain(Request("k7", "203.0.113.7")).revision == evaluator.revision


def test_an_instance_that_has_grown_is_replaced_by_one_with_the_same_rules() -> None:
    with Evaluator.from_json(POLICY_SET, Options(instances=1)) as evaluator:
        pool = evaluator._pool
        assert pool is not None
        [first] = pool._idle
        small = HttpRequest(f"/?AccessKeyId={LISTED}", "203.0.113.1")
        large = HttpRequest(f"/?AccessKeyId={LISTED}", "203.0.113.1", [("padding", "x" * (15 << 20))])
        least = first._memory.data_len(first._store)
        evaluator.authorize(small)
        assert list(pool._idle) == [first]
        for _ in range(8):
            assert evaluator.authorize(large).allowed
            assert evaluator.authorize(small).allowed
            [kept] = pool._idle
            assert kept._memory.data_len(kept._store) <= least + (32 << 20)
            assert kept._room <= 1 << 20, "the buffer for the large request is kept"
        assert kept is not first


def test_what_does_not_fit_the_memory_is_too_large_and_the_old_rules_stay() -> None:
    options = Options(memory_limit=16 << 20)
    evaluator = Evaluator.from_json(POLICY_SET, options)
    large = many_keys()
    image = keymoat.compile(large)
    for call in (
        lambda: evaluator.load(large),  # the guest has no memory to read it
        lambda: evaluator.load(" " * (20 << 20)),  # the guest cannot take it in
        lambda: keymoat.compile(large, options),
        lambda: keymoat.validate(large, options),
        lambda: Evaluator.from_image(image, Options(memory_limit=3 << 20)),
    ):
        with pytest.raises(TooLargeError, match="raise memory_limit") as e:
            call()
        assert e.value.code == "TooLarge"
    assert evaluator.evaluate(Request(LISTED, "203.0.113.1")).allowed
    with Evaluator.from_json(large) as unlimited:
        assert unlimited.evaluate(Request("k7", "203.0.113.7")).allowed
