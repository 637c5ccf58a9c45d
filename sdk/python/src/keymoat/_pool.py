"""A bounded set of instances that all hold the same rules.

For ``_evaluator``. Loading other rules makes another pool, so an instance
serves one revision all its life: rules are never patched, and the memory of
the old ones goes when the last call with them has ended.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Callable
from typing import Concatenate, ParamSpec, TypeVar

from keymoat._guest import Instance

P = ParamSpec("P")
T = TypeVar("T")


class Pool:
    """Instances made on demand by ``make``, up to ``size``; further calls wait."""

    def __init__(self, make: Callable[[], Instance], size: int, revision: str | None) -> None:
        self.revision = revision
        self._make = make
        self._size = size
        self._made = 0
        self._idle: deque[Instance] = deque()
        self._handed: deque[Instance] = deque()  # to those who wait
        self._waiting = 0
        self._changed = threading.Condition()

    def run(self, call: Callable[Concatenate[Instance, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a call on an instance. One in which a call failed, or whose memory has outgrown, is not used again."""
        try:
            instance = self._idle.pop()
        except IndexError:
            instance = self._wait()
        try:
            answer = call(instance, *args, **kwargs)
        except BaseException:
            self._lose()
            raise
        if instance.outgrown:
            self._lose()
        else:
            self._give_back(instance)
        return answer

    def add(self, instance: Instance) -> None:
        """Take in a first instance that has been made already."""
        self._made += 1
        self._idle.append(instance)

    def _give_back(self, instance: Instance) -> None:
        if not self._waiting:
            self._idle.append(instance)
            # Who waits has said so before looking at the idle ones for the
            # last time: either it finds this one, or it is seen here.
            if self._waiting:
                with self._changed:
                    self._changed.notify()
            return
        with self._changed:
            if self._waiting > len(self._handed):
                # To somebody who waits, and not to whoever is fastest: this
                # thread would be, again and again.
                self._handed.append(instance)
                self._changed.notify()
            else:
                self._idle.append(instance)

    def _wait(self) -> Instance:
        with self._changed:
            self._waiting += 1
            try:
                while True:
                    with contextlib.suppress(IndexError):
                        return self._idle.pop()
                    if self._made < self._size:
                        self._made += 1
                        break
                    self._changed.wait()
                    # Only who has waited may take one that was handed on.
                    with contextlib.suppress(IndexError):
                        return self._handed.pop()
            finally:
                self._waiting -= 1
                while len(self._handed) > self._waiting:
                    self._idle.append(self._handed.pop())
        try:
            return self._make()
        except BaseException:
            self._lose()
            raise

    def _lose(self) -> None:
        with self._changed:
            self._made -= 1
            self._changed.notify()
