"""The evaluator: the public face of the guest."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import wasmtime

from keymoat import _guest
from keymoat._abi import IMAGE_MAGIC, Status
from keymoat._cache import default_dir
from keymoat._decision import FACTS, Decision, Trace, decide, require_ipv6, trace_of
from keymoat._errors import (
    BatchError,
    InvalidDocumentError,
    InvalidImageError,
    KeymoatError,
    NotLoadedError,
    TrapError,
    error_of,
)
from keymoat._guest import Instance
from keymoat._pool import Pool
from keymoat._report import Report, report_of
from keymoat._request import HttpRequest, Request, encode, encode_all, encode_http

_BATCH = 10_000  # requests in one call of the guest, so that its memory stays small


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How evaluators run the guest.

    instances
        How many calls can be in the guest at the same time; further ones wait.
        Each instance takes about 3 MiB and a copy of the image, and is made
        when it is needed first.
    memory_limit
        The most memory that one instance may take, in bytes. A policy set that
        does not fit is refused.
    cache_dir
        Where the compiled guest is kept, the user's cache directory by
        default. **Who can write there can run code in this process**: a
        directory of another user, or one that others may use, is not used.
        None keeps nothing, and compiles for a second at each start.
    guest
        Another build of keymoat.wasm than the one that this package carries.
    """

    instances: int = field(default_factory=lambda: max(4, os.cpu_count() or 1))
    memory_limit: int = 1 << 30
    cache_dir: Path | None = field(default_factory=default_dir)
    guest: bytes | None = None

    def __post_init__(self) -> None:
        if self.instances < 1:
            raise ValueError("instances must be at least 1")
        if self.memory_limit < 1:
            raise ValueError("memory_limit must be at least 1")


class Evaluator:
    """Judges requests by a policy set. Any number of threads may use it.

    It starts with nothing loaded, and then refuses every request with a
    :class:`NotLoadedError`. Close it, or use it as a context manager, to free
    its memory at once.
    """

    def __init__(self, options: Options | None = None) -> None:
        self._options = options or Options()
        self._guest = _module(self._options)
        self._swap = threading.Lock()
        self._pool: Pool | None = self._pool_of(None, None)

    @classmethod
    def from_json(cls, document: str | bytes, options: Options | None = None) -> Evaluator:
        """Return an evaluator with a policy set, or an access key policy, in JSON."""
        return cls._loaded(_utf8(document), options)

    @classmethod
    def from_image(cls, image: bytes, options: Options | None = None) -> Evaluator:
        """Return an evaluator with an image, as :func:`compile` makes it."""
        if not image.startswith(IMAGE_MAGIC):
            raise InvalidImageError("not an image of a policy set")
        return cls._loaded(image, options)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], options: Options | None = None) -> Evaluator:
        """Return an evaluator with a file that holds the one or the other."""
        return cls._loaded(Path(path).read_bytes(), options)

    @classmethod
    def _loaded(cls, policy_set: bytes, options: Options | None) -> Evaluator:
        evaluator = cls(options)
        evaluator.load(policy_set)
        return evaluator

    def load(self, policy_set: str | bytes) -> str:
        """Put a policy set in force, given as JSON or as an image, and return its revision.

        On an error the former rules stay. After it returns no call sees them.
        """
        self._running()
        image = _utf8(policy_set)
        if not image.startswith(IMAGE_MAGIC):
            image = _compile(self._guest, self._options, image)
        revision = hashlib.sha256(image).hexdigest()
        pool = self._pool_of(image, revision)
        pool.add(self._instance(image))
        with self._swap:
            self._running()
            self._pool = pool
        return revision

    def evaluate(self, request: Request) -> Decision:
        """Judge a request."""
        return decide(self._running().run(Instance.evaluate, encode(request)), request.source_ip)

    def evaluate_many(self, requests: Iterable[Request]) -> list[Decision]:
        """Judge many requests by the same rules, at a fraction of the cost of as many calls.

        If some of them cannot be judged, the others are all the same, and a
        :class:`BatchError` has their decisions.
        """
        pool, asked = self._running(), list(requests)
        errors: dict[int, KeymoatError] = {}
        batches = []
        for start in range(0, max(1, len(asked)), _BATCH):
            batch = asked[start : start + _BATCH]
            batches.append((encode_all(batch, start, errors), len(batch)))
        status, result = pool.run(_judge, batches)
        if status:
            raise _error(status, result)
        words = memoryview(result).cast("Q").tolist()
        if len(words) != len(asked):
            raise TrapError(f"the guest answered {len(asked)} requests with {len(words)} words")
        return _decisions(words, asked, errors)

    def explain(self, request: Request) -> Trace:
        """Judge a request and tell the way to the decision."""
        encode(request)  # refuses what is no text or too long, as evaluate does
        question = json.dumps(request.to_dict(), ensure_ascii=False).encode()
        status, result = self._running().run(Instance.explain, question)
        if status:
            raise _error(status, result)
        return trace_of(json.loads(result), request)

    def authorize(self, request: HttpRequest) -> Decision:
        """Judge an HTTP request by the AccessKey id that it claims."""
        word = self._running().run(Instance.authorize, encode_http(request))
        return decide(word, request.source_ip)

    @property
    def revision(self) -> str | None:
        """The SHA-256 of the image in force, None if nothing is loaded. All hosts of one release report the same."""
        return self._running().revision

    def close(self) -> None:
        """Free the memory. Calls that are under way end; further ones are refused."""
        with self._swap:
            self._pool = None

    def __enter__(self) -> Evaluator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _running(self) -> Pool:
        if (pool := self._pool) is None:
            raise NotLoadedError("the evaluator is closed")
        return pool

    def _pool_of(self, image: bytes | None, revision: str | None) -> Pool:
        return Pool(lambda: self._instance(image), self._options.instances, revision)

    def _instance(self, image: bytes | None) -> Instance:
        instance = Instance(self._guest, self._options.memory_limit)
        if image is not None:
            status, result = instance.load(image)
            if status:
                raise _error(status, result)
        return instance


def validate(document: str | bytes, options: Options | None = None) -> Report:
    """Check a policy set or an access key policy and return everything that is wrong with it, or doubtful."""
    options = options or Options()
    instance = Instance(_module(options), options.memory_limit)
    status, result = instance.ask("keymoat_validate", _utf8(document))
    if status not in (Status.OK, Status.INVALID_DOCUMENT):
        raise error_of(status)
    return report_of(json.loads(result))


def compile(document: str | bytes, options: Options | None = None) -> bytes:  # noqa: A001
    """Return the image of a policy set, which loads faster than the document."""
    options = options or Options()
    return _compile(_module(options), options, _utf8(document))


def _compile(guest: wasmtime.Module, options: Options, document: bytes) -> bytes:
    # In an instance for this alone: reading a large document takes memory, of
    # which a guest gives nothing back.
    status, result = Instance(guest, options.memory_limit).ask("keymoat_compile", document)
    if status:
        raise _error(status, result)
    return result


def _module(options: Options) -> wasmtime.Module:
    return _guest.module(options.guest or _guest.embedded(), options.cache_dir)


def _utf8(document: str | bytes) -> bytes:
    # A lone surrogate becomes bytes that are not UTF-8, which the guest refuses.
    # bytes() alone would make five zeros of the number 5.
    return document.encode("utf-8", "surrogatepass") if isinstance(document, str) else bytes(memoryview(document))


def _error(status: int, result: bytes) -> KeymoatError:
    """Return the error that the guest describes."""
    error: dict[str, Any] = json.loads(result)["Error"] if result and status != Status.INTERNAL else {}
    message = error.get("Message", "")
    if status == Status.INVALID_DOCUMENT and "Report" in error:
        return InvalidDocumentError(message, report_of(error["Report"]))
    return error_of(status, message)


def _judge(instance: Instance, batches: list[tuple[bytes, int]]) -> tuple[int, bytes]:
    words = []
    for encoded, count in batches:
        status, result = instance.ask("keymoat_evaluate_batch", encoded, count)
        if status:
            return status, result
        words.append(result)
    return Status.OK, b"".join(words)


def _decisions(words: list[int], requests: list[Request], errors: dict[int, KeymoatError]) -> list[Decision]:
    if not errors:
        try:
            return _known_decisions(words, requests)
        except (KeyError, KeymoatError):
            pass  # a word that was not seen before, or one that is an error
    decisions: list[Decision | None] = []
    for i, (word, request) in enumerate(zip(words, requests, strict=True)):
        decision = None
        if i not in errors:
            try:
                decision = decide(word, request.source_ip)
            except KeymoatError as err:
                errors[i] = err
        decisions.append(decision)
    if errors:
        raise BatchError(decisions, dict(sorted(errors.items())))
    return cast("list[Decision]", decisions)


def _known_decisions(words: list[int], requests: list[Request]) -> list[Decision]:
    decisions = []
    known = FACTS
    for word, request in zip(words, requests, strict=True):
        facts = known[word]
        if facts.bits > 32:
            require_ipv6(request.source_ip)
        decisions.append(Decision(facts, request.source_ip))
    return decisions
