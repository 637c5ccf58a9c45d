"""What is wrong with, or doubtful about, a policy document."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keymoat._abi import FindingCode


@dataclass(frozen=True, slots=True)
class Finding:
    """One rule that a document breaks, or one doubt about it.

    ``pointer`` is the JSON pointer (RFC 6901) to the place. ``code`` is a text
    if a newer guest found something that this release has no name for.
    """

    code: FindingCode | str
    pointer: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return the finding as documents spell it."""
        return {"Code": str(getattr(self.code, "value", self.code)), "Pointer": self.pointer, "Message": self.message}


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of a validation. Errors make a document unusable; warnings are only told."""

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]

    @property
    def valid(self) -> bool:
        """Whether the document can be loaded."""
        return not self.errors

    def to_dict(self) -> dict[str, object]:
        """Return the report as documents spell it."""
        return {
            "Valid": self.valid,
            "Errors": [f.to_dict() for f in self.errors],
            "Warnings": [f.to_dict() for f in self.warnings],
        }


def report_of(document: Mapping[str, Any]) -> Report:
    """Read a report that the guest wrote."""
    return Report(_findings(document["Errors"]), _findings(document["Warnings"]))


def _findings(items: Sequence[Mapping[str, str]]) -> tuple[Finding, ...]:
    return tuple(Finding(_code(f["Code"]), f["Pointer"], f["Message"]) for f in items)


def _code(name: str) -> FindingCode | str:
    try:
        return FindingCode(name)
    except ValueError:
        return name
