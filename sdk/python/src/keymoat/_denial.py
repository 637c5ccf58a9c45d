"""What a refused caller sees: the JSON answer of plugin/denial, byte for byte. For ``guard``."""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass

from keymoat._abi import DENIAL_CODE, Reason

_LONGEST = 255  # bytes of a value in an answer: what a caller sent must not make answers long

# Control characters, line ends, and the two that XML has no place for.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ufffe\uffff]")


def _each_byte(err: UnicodeError) -> tuple[str, int]:
    assert isinstance(err, UnicodeDecodeError)  # noqa: S101
    return "\ufffd" * (err.end - err.start), err.end


codecs.register_error("keymoat.each_byte", _each_byte)

_PROBLEMS = {
    "InvalidAccessKeyId": "The access key of the request cannot be read.",
    "InvalidSourceIp": "The source address of the request cannot be read.",
}
_REASONS = {
    Reason.NO_ACCESS_KEY: "The request names no access key.",
    Reason.AMBIGUOUS_ACCESS_KEY: "The request names two different access keys.",
}
FAULTS = ("NotLoaded", "Internal")  # of those who run the service, not of the request


def problem_of(code: str) -> str:
    """Return the problem that an error's code stands for."""
    return code if code in _PROBLEMS or code in FAULTS else "Internal"


@dataclass(frozen=True, slots=True)
class Denial:
    """What is known of a refused request. Its bytes may be whatever a caller sent; empty ones are left out."""

    problem: str = ""  # stands in place of a decision
    reason: Reason | None = None
    source_ip: bytes = b""  # as it was seen
    vpc_id: bytes = b""
    request_id: bytes = b""

    def body(self) -> bytes:
        """Return the answer."""
        members = f'{{"Code":"{self.problem or DENIAL_CODE}","Message":"{self._message()}"'
        for name, value in (("SourceIp", self.source_ip), ("VpcId", self.vpc_id), ("RequestId", self.request_id)):
            if value:
                members += f',"{name}":"{_escaped(value)}"'
        return f"{members}}}\n".encode()

    def _message(self) -> str:
        if self.problem:
            what = _PROBLEMS.get(self.problem, "The request could not be judged.")
        else:
            denied = "Specified access key denied due to access policy."
            what = _REASONS.get(self.reason, denied) if self.reason else denied
        if not self.source_ip:
            return what
        if self.problem == "InvalidSourceIp":
            return f"{what} It was given as {_escaped(self.source_ip)}."
        where = f" in {_escaped(self.vpc_id)}" if self.vpc_id and not self.problem else ""
        return f"{what} The source address is {_escaped(self.source_ip)}{where}."


def _escaped(value: bytes) -> str:
    text = _UNSEEN.sub("\ufffd", _cut(value).decode("utf-8", "keymoat.each_byte"))
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _cut(value: bytes) -> bytes:
    """Shorten a long value, not within a character."""
    if len(value) <= _LONGEST:
        return value
    end = _LONGEST
    while end > _LONGEST - 4 and value[end] & 0xC0 == 0x80:
        end -= 1
    return value[:end]
