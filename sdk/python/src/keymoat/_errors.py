"""The errors of this package, and which status of the guest is which error.

None of them is a decision: whoever gets one must refuse the call it was about.
"""

from __future__ import annotations

import copyreg
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keymoat._abi import STATUS_CODES, STATUS_TEXTS, Status

if TYPE_CHECKING:
    from keymoat._decision import Decision
    from keymoat._report import Report


class KeymoatError(Exception):
    """The base of all errors. ``code`` is the name of the status, as in other hosts."""

    code: str = STATUS_CODES[Status.INTERNAL]

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code

    def __reduce__(self) -> tuple[Any, ...]:
        # As all other classes are pickled. An exception is by default made anew
        # from its message alone, and a pool of processes hangs if that fails.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]


class NotLoadedError(KeymoatError):
    """No policy set is loaded, or the evaluator is closed."""

    code = STATUS_CODES[Status.NOT_LOADED]


class InvalidRequestError(KeymoatError):
    """The request cannot be judged as it is."""

    code = STATUS_CODES[Status.INVALID_REQUEST]


class InvalidAccessKeyIdError(InvalidRequestError):
    """The AccessKeyId is missing or not readable."""

    code = STATUS_CODES[Status.INVALID_ACCESS_KEY_ID]


class InvalidSourceIpError(InvalidRequestError):
    """The source address is missing or not readable."""

    code = STATUS_CODES[Status.INVALID_SOURCE_IP]


class InvalidDocumentError(KeymoatError):
    """The policy set breaks a rule; ``report`` says which, and where."""

    code = STATUS_CODES[Status.INVALID_DOCUMENT]

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class InvalidImageError(KeymoatError):
    """The image is damaged, or of another version of its format."""

    code = STATUS_CODES[Status.INVALID_IMAGE]


class TooLargeError(KeymoatError):
    """The input is larger than a limit, or than the memory that the guest may take."""

    code = STATUS_CODES[Status.TOO_LARGE]


class GuestError(KeymoatError):
    """The WebAssembly module cannot serve as the guest."""


class TrapError(KeymoatError):
    """The guest broke down in a call. Its instance is gone; the next call gets a fresh one with the same rules."""


class WorkLimitError(TrapError):
    """The guest was stopped in a call that took more work than any call may."""


class BatchError(KeymoatError):
    """Some requests of a batch could not be judged.

    ``decisions`` has the place of each request in the batch: its decision, or
    None. ``errors`` says what is wrong with those, by their index; it is in
    ascending order and never empty. ``code`` is that of the first.
    """

    def __init__(self, decisions: Sequence[Decision | None], errors: Mapping[int, KeymoatError]) -> None:
        index, first = next(iter(errors.items()))
        more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
        super().__init__(f"request {index} of the batch: {first}{more}", first.code)
        self.decisions = decisions
        self.errors = errors


_CLASSES: dict[int, type[KeymoatError]] = {
    Status.NOT_LOADED: NotLoadedError,
    Status.INVALID_REQUEST: InvalidRequestError,
    Status.INVALID_ACCESS_KEY_ID: InvalidAccessKeyIdError,
    Status.INVALID_SOURCE_IP: InvalidSourceIpError,
    Status.INVALID_IMAGE: InvalidImageError,
    Status.TOO_LARGE: TooLargeError,
}


def error_of(status: int, message: str = "") -> KeymoatError:
    """Return the error that a status stands for; one of a newer guest has no name."""
    try:
        known = Status(status)
    except ValueError:
        return KeymoatError(message or f"the guest answered with the unknown status {status}", f"Status({status})")
    return _CLASSES.get(known, KeymoatError)(message or STATUS_TEXTS[known], STATUS_CODES[known])
