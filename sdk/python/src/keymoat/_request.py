"""Requests, and the bytes that the guest reads them from (abi/README.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from keymoat._abi import HEADER_SIZE, HTTP_FLAG_DENY_MISSING, MAX_FIELD, SOURCE_NONE, SOURCE_TEXT
from keymoat._errors import InvalidAccessKeyIdError, InvalidRequestError, InvalidSourceIpError, KeymoatError

Address = str | IPv4Address | IPv6Address

_NAMES = {
    "AccessKeyId": "access_key_id",
    "SourceIp": "source_ip",
    "VpcId": "vpc_id",
    "AccountId": "account_id",
    "Service": "service",
    "Action": "action",
    "Protocol": "protocol",
}
_HTTP_NAMES = {"Target": "target", **{k: v for k, v in _NAMES.items() if k != "AccessKeyId"}}


@dataclass(frozen=True, slots=True)
class Request:
    """A call that is to be judged. An empty field is an absent one.

    A source address given as text is read by the guest, so that every host
    reads alike what only looks like an address. A ``vpc_id`` makes the call
    one from that VPC; without it the call is public.
    """

    access_key_id: str
    source_ip: Address
    vpc_id: str = ""
    account_id: str = ""
    service: str = ""
    action: str = ""
    protocol: str = ""

    @classmethod
    def from_json(cls, document: str | bytes) -> Request:
        """Read a request from JSON, strictly: an unknown or repeated name is an error."""
        members = _object(_parse(document), _NAMES, "the request")
        return cls(**{"access_key_id": "", "source_ip": "", **_texts(members, _NAMES)})

    def to_dict(self) -> dict[str, str]:
        """Return the request as documents spell it."""
        return {name: str(value) for name, field in _NAMES.items() if (value := getattr(self, field)) != ""}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is needed of an HTTP request to find the AccessKey id that it claims, and to judge it.

    ``target`` is path and query as they were sent. ``headers`` are pairs of
    name and value; one that occurs twice is listed twice. Those that cannot
    carry a key id may be left out. Text is sent as UTF-8.
    """

    target: str | bytes
    source_ip: Address
    headers: Sequence[tuple[str | bytes, str | bytes]] = ()
    vpc_id: str = ""
    account_id: str = ""
    service: str = ""
    action: str = ""
    protocol: str = ""
    deny_missing_access_key: bool = False

    @classmethod
    def from_json(cls, document: str | bytes) -> HttpRequest:
        """Read a request from JSON, strictly: an unknown or repeated name is an error."""
        members = _object(_parse(document), [*_HTTP_NAMES, "Headers", "DenyMissingAccessKey"], "the request")
        deny = members.pop("DenyMissingAccessKey", False)
        if not isinstance(deny, bool):
            raise InvalidRequestError("DenyMissingAccessKey must be true or false")
        listed = members.pop("Headers", [])
        if not isinstance(listed, list):
            raise InvalidRequestError("Headers must be a list")
        if "Target" not in members:
            raise InvalidRequestError("the request has no Target")
        headers = tuple(_header(h) for h in listed)
        fields: dict[str, Any] = {"source_ip": "", **_texts(members, _HTTP_NAMES)}
        return cls(**fields, headers=headers, deny_missing_access_key=deny)


def _header(value: object) -> tuple[str, str]:
    members = _object(value, ("Name", "Value"), "a header")
    if len(members) != 2 or not all(isinstance(v, str) for v in members.values()):
        raise InvalidRequestError("a header must have a Name and a Value, both strings")
    return members["Name"], members["Value"]


def _parse(document: str | bytes) -> object:
    try:
        text = document if isinstance(document, str) else bytes(document).decode()
        return json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as err:
        raise InvalidRequestError(f"the request is not JSON: {err}") from err


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a name occurs twice in one object")
    return members


def _object(value: object, names: Iterable[str], what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise InvalidRequestError(f"{what} must be an object")
    if unknown := value.keys() - set(names):
        raise InvalidRequestError(f"{what} has an unknown field: {min(unknown)!r}")
    return value


def _texts(members: dict[str, Any], names: dict[str, str]) -> dict[str, str]:
    for name, value in members.items():
        if not isinstance(value, str):
            raise InvalidRequestError(f"{name} must be a string")
    return {names[name]: value for name, value in members.items()}


# The quick way of most requests: all fields in ASCII and shorter than 128
# bytes, so that every length is the number of characters and an ASCII
# character itself. Any other request makes it fail, and goes the long way.
_LENGTHS = [chr(n) for n in range(128)]
_KINDS = [chr(SOURCE_NONE) + chr(0), *(chr(SOURCE_TEXT) + chr(n) for n in range(1, 128))]
_ADDRESS = "\0" * 16
_ADDRESS_ALONE = "\0" * 20  # and no account, service, action and protocol
_NOT_QUICK = (IndexError, TypeError, UnicodeEncodeError)


def encode(r: Request) -> bytes:
    """Return the binary form of a request."""
    try:
        return _quick((r,))
    except _NOT_QUICK:
        return _encode(r)


def encode_all(requests: Sequence[Request], start: int, errors: dict[int, KeymoatError]) -> bytes:
    """Return the binary forms of many requests.

    One that has none is noted among the errors, under its index counted from
    ``start``, and has a placeholder that the guest refuses.
    """
    try:
        return _quick(requests)
    except _NOT_QUICK:
        pass
    parts = []
    for i, r in enumerate(requests, start):
        try:
            parts.append(_encode(r))
        except InvalidRequestError as err:
            errors[i] = err
            parts.append(bytes(HEADER_SIZE))
    return b"".join(parts)


def _quick(requests: Sequence[Request]) -> bytes:
    kinds, lengths, alone = _KINDS, _LENGTHS, _ADDRESS_ALONE
    parts: list[Any] = []
    for r in requests:
        key, ip, vpc = r.access_key_id, r.source_ip, r.vpc_id
        account, service, action, protocol = r.account_id, r.service, r.action, r.protocol
        # join, unlike a format, takes nothing but text: bytes or a number must
        # not slip in with another length than was written.
        if account or service or action or protocol:
            head = f"{kinds[len(ip)]}{lengths[len(key)]}{lengths[len(vpc)]}{lengths[len(account)]}"  # type: ignore[arg-type]
            rest = f"{lengths[len(service)]}{lengths[len(action)]}{lengths[len(protocol)]}{_ADDRESS}"
            parts += (head, rest, key, vpc, account, service, action, protocol, ip)
        else:
            parts += (f"{kinds[len(ip)]}{lengths[len(key)]}{lengths[len(vpc)]}{alone}", key, vpc, ip)  # type: ignore[arg-type]
    return "".join(parts).encode("ascii")


def _encode(r: Request) -> bytes:
    key = _text("access_key_id", r.access_key_id)
    if len(key) > MAX_FIELD:
        raise InvalidAccessKeyIdError("the AccessKeyId is too long")
    return _pack(len(key), key, r)


def encode_http(r: HttpRequest) -> bytes:
    """Return the binary form of an HTTP request."""
    flags = HTTP_FLAG_DENY_MISSING if r.deny_missing_access_key else 0
    target = _bytes("target", r.target)
    parts = [_pack(flags, b"", r), struct.pack("<I", len(target)), target, struct.pack("<I", len(r.headers))]
    for name, value in r.headers:
        n, v = _bytes("the name of a header", name), _bytes("the value of a header", value)
        parts += (struct.pack("<II", len(n), len(v)), n, v)
    return b"".join(parts)


def _pack(third: int, key: bytes, r: Request | HttpRequest) -> bytes:
    fields = [
        _field("vpc_id", r.vpc_id),
        _field("account_id", r.account_id),
        _field("service", r.service),
        _field("action", r.action),
        _field("protocol", r.protocol),
    ]
    kind, text, address = _source(r.source_ip)
    header = struct.pack("8B16s", kind, len(text), third, *map(len, fields), address)
    assert len(header) == HEADER_SIZE  # noqa: S101
    return b"".join((header, key, *fields, text))


def _source(ip: Address) -> tuple[int, bytes, bytes]:
    """Return kind, text and bytes of a source address."""
    if isinstance(ip, IPv4Address):
        return 4, b"", ip.packed
    if isinstance(ip, IPv6Address) and ip.scope_id is None:
        return 6, b"", ip.packed
    # A zone is no part of an address; as text the guest refuses it.
    text = _text("source_ip", str(ip) if isinstance(ip, IPv6Address) else ip)
    if len(text) > MAX_FIELD:
        raise InvalidSourceIpError("the source address is too long to be one")
    return (SOURCE_TEXT, text, b"") if text else (SOURCE_NONE, b"", b"")


def _field(name: str, value: str) -> bytes:
    text = _text(name, value)
    if len(text) > MAX_FIELD:
        raise InvalidRequestError(f"{name} is longer than {MAX_FIELD} bytes")
    return text


def _text(name: str, value: object) -> bytes:
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a str, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError as err:
        raise InvalidRequestError(f"{name} is not text: {err.reason}") from err


def _bytes(name: str, value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else _text(name, value)
