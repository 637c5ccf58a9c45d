"""Requests, and the bytes that the guest reads them from (abi/README.md)."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface
from typing import Any

from keymoat._abi import (
    HEADER_SIZE,
    HTTP_FLAG_DENY_FORM_BODY,
    HTTP_FLAG_DENY_MISSING,
    MAX_FIELD,
    MAX_HTTP_REQUEST_SIZE,
    SOURCE_NONE,
    SOURCE_TEXT,
)
from keymoat._errors import (
    InvalidAccessKeyIdError,
    InvalidRequestError,
    InvalidSourceIpError,
    KeymoatError,
    TooLargeError,
)

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
_FLAGS = {"DenyMissingAccessKey": "deny_missing_access_key", "DenyFormBody": "deny_form_body"}


@dataclass(frozen=True, slots=True)
class Request:
    """A call that is to be judged. A field that is empty or None is an absent one.

    A source address given as text is read by the guest, so that every host
    reads alike what only looks like an address. A ``vpc_id`` makes the call
    one from that VPC; without it the call is public.
    """

    access_key_id: str
    source_ip: Address
    vpc_id: str | None = ""
    account_id: str | None = ""
    service: str | None = ""
    action: str | None = ""
    protocol: str | None = ""

    @classmethod
    def from_json(cls, document: str | bytes) -> Request:
        """Read a request from JSON, strictly: an unknown or repeated name is an error."""
        members = _object(_parse(document), _NAMES, "the request")
        return cls(**{"access_key_id": "", "source_ip": "", **_texts(members, _NAMES)})

    def to_dict(self) -> dict[str, str]:
        """Return the request as documents spell it."""
        return {name: str(value) for name, field in _NAMES.items() if (value := getattr(self, field))}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """What is needed of an HTTP request to find the AccessKey id that it claims, and to judge it.

    ``target`` is path and query as they were sent. ``headers`` are pairs of
    name and value; one that occurs twice is listed twice. Those that cannot
    carry a key id may be left out. Text is sent as UTF-8.

    ``deny_missing_access_key`` denies a request that claims no key id.
    ``deny_form_body`` makes one an error whose Content-Type is that of a form:
    its body, which is not read, may claim an id.
    """

    target: str | bytes
    source_ip: Address
    headers: Sequence[tuple[str | bytes, str | bytes]] = ()
    vpc_id: str | None = ""
    account_id: str | None = ""
    service: str | None = ""
    action: str | None = ""
    protocol: str | None = ""
    deny_missing_access_key: bool = False
    deny_form_body: bool = False

    @classmethod
    def from_json(cls, document: str | bytes) -> HttpRequest:
        """Read a request from JSON, strictly: an unknown or repeated name is an error."""
        members = _object(_parse(document), [*_HTTP_NAMES, "Headers", *_FLAGS], "the request")
        flags = {field: members.pop(name, False) for name, field in _FLAGS.items()}
        if not all(isinstance(flag, bool) for flag in flags.values()):
            raise InvalidRequestError(f"{' and '.join(_FLAGS)} must be true or false")
        listed = members.pop("Headers", [])
        if not isinstance(listed, list):
            raise InvalidRequestError("Headers must be a list")
        if "Target" not in members:
            raise InvalidRequestError("the request has no Target")
        headers = tuple(_header(h) for h in listed)
        fields: dict[str, Any] = {"source_ip": "", **_texts(members, _HTTP_NAMES)}
        return cls(**fields, **flags, headers=headers)


def _header(value: object) -> tuple[str, str]:
    members = _object(value, ("Name", "Value"), "a header")
    if len(members) != 2:
        raise InvalidRequestError("a header must have a Name and a Value")
    texts = _texts(members, {"Name": "Name", "Value": "Value"})
    return texts["Name"], texts["Value"]


def _parse(document: str | bytes) -> object:
    try:
        text = document if isinstance(document, str) else str(document, "utf-8")
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
        _text(name, value)  # refuses half of a surrogate pair
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
        # Nothing but text may slip in: join, unlike a format, takes nothing else,
        # and what is not joined is compared, and not just asked for its truth.
        if not account == service == action == protocol == "":
            head = f"{kinds[len(ip)]}{lengths[len(key)]}{lengths[len(vpc)]}{lengths[len(account)]}"  # type: ignore[arg-type]
            rest = f"{lengths[len(service)]}{lengths[len(action)]}{lengths[len(protocol)]}{_ADDRESS}"  # type: ignore[arg-type]
            parts += (head, rest, key, vpc, account, service, action, protocol, ip)
        else:
            parts += (f"{kinds[len(ip)]}{lengths[len(key)]}{lengths[len(vpc)]}{alone}", key, vpc, ip)  # type: ignore[arg-type]
    return "".join(parts).encode("ascii")


def _encode(r: Request) -> bytes:
    key = _field("access_key_id", r.access_key_id, InvalidAccessKeyIdError)
    return _pack(len(key), key, r)


def encode_http(r: HttpRequest) -> bytes:
    """Return the binary form of an HTTP request."""
    flags = _flag("deny_missing_access_key", r.deny_missing_access_key, HTTP_FLAG_DENY_MISSING)
    flags |= _flag("deny_form_body", r.deny_form_body, HTTP_FLAG_DENY_FORM_BODY)
    target = _bytes("target", r.target)
    headers = () if r.headers is None else r.headers
    if not isinstance(headers, Sequence):
        raise InvalidRequestError(f"headers must be a sequence of pairs, not {type(headers).__name__}")
    parts = [_pack(flags, b"", r), struct.pack("<I", len(target)), target, struct.pack("<I", len(headers))]
    for pair in headers:
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise InvalidRequestError("a header must be a pair of name and value")
        n, v = _bytes("the name of a header", pair[0]), _bytes("the value of a header", pair[1])
        parts += (struct.pack("<II", len(n), len(v)), n, v)
    if sum(map(len, parts)) > MAX_HTTP_REQUEST_SIZE:
        raise TooLargeError(f"an HTTP request has {MAX_HTTP_REQUEST_SIZE} bytes at most")
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
    if isinstance(ip, (IPv4Interface, IPv6Interface)):  # which ipaddress takes for addresses
        raise InvalidSourceIpError(f"source_ip is an interface, {ip}: its address is its member ip")
    if isinstance(ip, IPv4Address):
        return 4, b"", ip.packed
    if isinstance(ip, IPv6Address) and ip.scope_id is None:
        return 6, b"", ip.packed
    # A zone is no part of an address; as text the guest refuses it.
    text = _field("source_ip", str(ip) if isinstance(ip, IPv6Address) else ip, InvalidSourceIpError)
    return (SOURCE_TEXT, text, b"") if text else (SOURCE_NONE, b"", b"")


def _field(name: str, value: str | None, error: type[InvalidRequestError] = InvalidRequestError) -> bytes:
    if value is None:
        return b""
    text = _text(name, value, error)
    if len(text) > MAX_FIELD:
        raise error(f"{name} is longer than {MAX_FIELD} bytes")
    return text


def _text(name: str, value: object, error: type[InvalidRequestError] = InvalidRequestError) -> bytes:
    """Return the UTF-8 of a text. ``error`` is what one is that has none; another type is no request at all."""
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a str, not {type(value).__name__}")
    try:
        return value.encode()
    except UnicodeEncodeError as err:
        raise error(f"{name} is not text: {err.reason}") from err


def _bytes(name: str, value: str | bytes) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise InvalidRequestError(f"{name} must be a str or bytes, not {type(value).__name__}")
    return _text(name, value)


def _flag(name: str, value: bool | None, bit: int) -> int:
    if value is not None and not isinstance(value, bool):
        raise InvalidRequestError(f"{name} must be True or False, not {type(value).__name__}")
    return bit if value else 0
