"""Many threads, rules that change under them, and a pool that is smaller than they are many."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable

import pytest

import keymoat
from conftest import policy, public
from keymoat import Decision, Evaluator, HttpRequest, Options, Reason, Request
from keymoat._guest import Instance

# Version v of the rules lists 203.0.113.1/(8+v): the entry tells by which
# version a call was judged. Odd versions do not list the second address.
VERSIONS = 25
LISTED = Request("LTAI5tExample0000000001", "203.0.113.1")
SOMETIMES = Request("LTAI5tExample0000000001", "2001:db8::1")
HTTP = HttpRequest("/?AccessKeyId=LTAI5tExample0000000001", "203.0.113.1")


def rules(version: int) -> str:
    also = ["2001:db8::/32"] if version % 2 == 0 else []
    return json.dumps(policy(public(f"203.0.113.1/{8 + version}", *also)))


def version_of(decision: Decision) -> int:
    assert decision.reason is Reason.MATCHED
    assert decision.entry is not None
    return decision.entry.prefixlen - 8


def one(e: Evaluator) -> int:
    return version_of(e.evaluate(LISTED))


def http(e: Evaluator) -> int:
    return version_of(e.authorize(HTTP))


def batch(e: Evaluator) -> int:
    decisions = e.evaluate_many([LISTED, SOMETIMES] * 20)
    [version] = {version_of(d) for d in decisions[::2]}
    assert {d.allowed for d in decisions[1::2]} == {version % 2 == 0}
    return version


def trace(e: Evaluator) -> int:
    return version_of(e.explain(LISTED).decision)


@pytest.mark.parametrize("instances", [1, 2, 8])
def test_eight_threads_see_whole_rules_and_never_old_ones(instances: int) -> None:
    images = [keymoat.compile(rules(v)) if v % 3 == 0 else rules(v).encode() for v in range(VERSIONS)]
    evaluator = Evaluator(Options(instances=instances))
    evaluator.load(images[0])
    in_force = [0]  # is raised when a load has returned
    wrong: list[str] = []
    calls = [0] * 8
    started, done = threading.Barrier(9), threading.Event()

    def hammer(index: int, call: Callable[[Evaluator], int]) -> None:
        started.wait()
        try:
            while not done.is_set():
                least, seen = in_force[0], call(evaluator)
                if not least <= seen <= in_force[0] + 1:
                    wrong.append(f"{call.__name__}: judged by version {seen}, {least} was in force")
                calls[index] += 1
        except BaseException as err:
            wrong.append(repr(err))

    threads = [threading.Thread(target=hammer, args=(i, f)) for i, f in enumerate([one, http, batch, trace] * 2)]
    for t in threads:
        t.start()
    started.wait()
    for version in range(1, VERSIONS):
        evaluator.load(images[version])
        in_force[0] = version
        while min(calls) < 2 * version and not wrong:
            assert version_of(evaluator.evaluate(LISTED)) == version
    done.set()
    for t in threads:
        t.join()
    evaluator.close()
    assert wrong == []
    assert min(calls) >= 2 * (VERSIONS - 1)


def test_a_pool_makes_no_more_instances_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    original = Evaluator._instance

    def counted(evaluator: Evaluator, image: bytes | None) -> Instance:
        made.append(image)
        return original(evaluator, image)

    monkeypatch.setattr(Evaluator, "_instance", counted)
    evaluator = Evaluator(Options(instances=3))
    evaluator.load(rules(0))

    def work() -> None:
        for _ in range(300):
            one(evaluator)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert 1 <= len(made) <= 3


def test_memory_stays_within_a_few_steps_of_the_collector() -> None:
    evaluator = Evaluator(Options(instances=1))
    evaluator.load(rules(0))
    pool = evaluator._pool
    assert pool is not None
    [instance] = pool._idle
    before = instance._memory.data_len(instance._store)
    for _ in range(2_000):  # of which the traces alone make some 10 kB of garbage each
        for call in (one, http, batch, trace):
            call(evaluator)
    assert list(pool._idle) == [instance]
    assert instance._memory.data_len(instance._store) - before < 8 << 20
