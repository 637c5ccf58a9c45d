"""Decisions and traces: what the guest answers, and how its words are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final, NamedTuple

from keymoat._abi import (
    DENIAL_CODE,
    EFFECT_NUMBERS,
    LEVEL_NUMBERS,
    NETWORK_NUMBERS,
    REASON_NUMBERS,
    Effect,
    Level,
    Network,
    Reason,
)
from keymoat._errors import KeymoatError, error_of
from keymoat._request import Address, Request

Entry = IPv4Network | IPv6Network


class Facts(NamedTuple):
    """What a decision word says, apart from the source address. Equal words share one."""

    effect: Effect
    reason: Reason
    level: Level
    network: Network
    statement: int | None = None
    bits: int = 0  # of the entry that matched


class Decision:
    """The answer to one request. It does not change, and is true in a condition if the call is allowed.

    Evaluators make decisions. One takes two words of memory: the entry is
    worked out when it is asked for.
    """

    __slots__ = ("_facts", "_source")

    def __init__(self, facts: Facts, source: Address) -> None:
        self._facts: Final = facts
        self._source: Final = source

    @property
    def allowed(self) -> bool:
        """Whether the call may go on."""
        return self._facts.effect is Effect.ALLOW

    @property
    def effect(self) -> Effect:
        """What is to be done with the call."""
        return self._facts.effect

    @property
    def reason(self) -> Reason:
        """The rule that decided."""
        return self._facts.reason

    @property
    def level(self) -> Level:
        """Whose policy decided."""
        return self._facts.level

    @property
    def network(self) -> Network:
        """How the call was classed."""
        return self._facts.network

    @property
    def statement(self) -> int | None:
        """The index of the statement that matched, in the policy of that level."""
        return self._facts.statement

    @property
    def entry(self) -> Entry | None:
        """The most specific entry that matched."""
        if self._facts.statement is None:
            return None
        return ip_network((_unmapped(self._source), self._facts.bits), strict=False)

    @property
    def code(self) -> str | None:
        """The error code that a refused caller sees."""
        return None if self.allowed else DENIAL_CODE

    def to_dict(self) -> dict[str, object]:
        """Return the decision as documents spell it."""
        f = self._facts
        members: dict[str, object] = {
            "Effect": f.effect.value,
            "Reason": f.reason.value,
            "Level": f.level.value,
            "Network": f.network.value,
        }
        if f.statement is not None:
            members |= {"Statement": f.statement, "Entry": str(self.entry)}
        if self.code is not None:
            members["Code"] = self.code
        return members

    def __bool__(self) -> bool:
        return self.allowed

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return self._facts == other._facts and self.entry == other.entry

    def __hash__(self) -> int:
        return hash((self._facts, self.entry))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value}" for name, value in self.to_dict().items())
        return f"Decision({shown})"


# The facts of every word seen so far; there are a few thousand at most.
FACTS: dict[int, Facts] = {}


def decide(word: int, source: Address) -> Decision:
    """Read a decision word, or raise the error that stands in its place."""
    facts = FACTS.get(word)
    if facts is None:
        facts = FACTS[word] = _facts_of(word)
    if facts.bits > 32:
        require_ipv6(source)
    return Decision(facts, source)


def require_ipv6(source: Address) -> None:
    """Refuse an entry of more than 32 bits about an IPv4 address."""
    quick = isinstance(source, str) and ":" in source and "ffff" not in source.lower()
    if not quick and not isinstance(_unmapped(source), IPv6Address):
        raise KeymoatError("the guest answered with an entry that is too long for an IPv4 address")


def _facts_of(word: int) -> Facts:
    if status := word & 0xFF:
        raise error_of(status)
    effect = EFFECT_NUMBERS.get(word >> 8 & 0xFF)
    reason = REASON_NUMBERS.get(word >> 16 & 0xFF)
    level = LEVEL_NUMBERS.get(word >> 24 & 0xFF)
    network = NETWORK_NUMBERS.get(word >> 32 & 0xFF)
    statement, bits, matched = word >> 40 & 0xFF, word >> 48 & 0xFF, word >> 56
    known = effect is not None and reason is not None and level is not None and network is not None
    if not known or matched > 1 or (matched and bits > 128):
        raise KeymoatError(f"the guest answered with a word that is no decision: {word:016x}")
    return Facts(effect, reason, level, network, *((statement, bits) if matched else ()))  # type: ignore[arg-type]


def _unmapped(source: Address) -> IPv4Address | IPv6Address:
    ip = ip_address(source) if isinstance(source, str) else source
    return (ip.ipv4_mapped or ip) if isinstance(ip, IPv6Address) else ip


@dataclass(frozen=True, slots=True)
class StatementTrace:
    """What became of one statement."""

    statement: int
    type: str
    verdict: str
    value: str = ""
    entry: Entry | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One question of an evaluation and its answer, a sentence. ``reason`` is set on the step that decided."""

    step: str
    answer: str
    reason: Reason | None = None
    account: str = ""
    level: Level | None = None
    statements: tuple[StatementTrace, ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """A decision with the way that led to it, for people: the last step decided."""

    request: Request
    decision: Decision
    revision: str
    steps: tuple[Step, ...]
    _document: Mapping[str, Any]

    def to_dict(self) -> Mapping[str, Any]:
        """Return the trace as documents spell it."""
        return self._document


def trace_of(document: Mapping[str, Any], request: Request) -> Trace:
    """Read the trace that the guest wrote about a request."""
    return Trace(
        request=request,
        decision=_decision_of(document["Decision"], request.source_ip),
        revision=document["Revision"],
        steps=tuple(_step_of(s) for s in document["Steps"]),
        _document=document,
    )


def _decision_of(d: Mapping[str, Any], source: Address) -> Decision:
    matched = (d["Statement"], ip_network(d["Entry"]).prefixlen) if "Entry" in d else ()
    facts = Facts(Effect(d["Effect"]), Reason(d["Reason"]), Level(d["Level"]), Network(d["Network"]), *matched)
    return Decision(facts, source)


def _step_of(s: Mapping[str, Any]) -> Step:
    return Step(
        step=s["Step"],
        answer=s["Answer"],
        reason=Reason(s["Reason"]) if "Reason" in s else None,
        account=s.get("Account", ""),
        level=Level(s["Level"]) if "Level" in s else None,
        statements=tuple(
            StatementTrace(
                statement=t["Statement"],
                type=t["Type"],
                verdict=t["Verdict"],
                value=t.get("Value", ""),
                entry=ip_network(t["Entry"]) if "Entry" in t else None,
            )
            for t in s.get("Statements", ())
        ),
    )
