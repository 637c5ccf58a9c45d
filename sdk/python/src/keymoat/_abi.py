"""Names and numbers that the guest and this package share.

Written by ``make generate`` from the Go package abi. Do not edit.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final

RELEASE: Final = "0.1.0"
ABI_MAJOR: Final = 1
ABI_MINOR: Final = 0

# The error code that a refused caller sees, the cloud's own.
DENIAL_CODE: Final = "InvalidAccessKeyId.AccessPolicyDenied"

# Limits, in bytes.
MAX_ACCESS_KEY_ID: Final = 128
MAX_FIELD: Final = 255
MAX_HTTP_REQUEST_SIZE: Final = 16777216

# What every image begins with, and no JSON.
IMAGE_MAGIC: Final = bytes([75, 69, 89, 77, 79, 65, 84, 0])

# Layout of the binary requests; see abi/README.md.
HEADER_SIZE: Final = 24
MAX_REQUEST_SIZE: Final = 1682
REQUEST_BUFFER_SIZE: Final = 2048
SOURCE_NONE: Final = 0
SOURCE_TEXT: Final = 1
HTTP_FLAG_DENY_MISSING: Final = 1
HTTP_FLAG_DENY_FORM_BODY: Final = 2

# Patterns of a whole id.
ID_PATTERN: Final = "[0-9A-Za-z._=-]{1,128}"
VPC_ID_PATTERN: Final = "vpc-[0-9a-z]{1,64}"

# The functions of the guest: what goes in, and what comes out.
EXPORTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "_initialize": ((), ()),
    "keymoat_abi_version": ((), ("i32",)),
    "keymoat_alloc": (("i32",), ("i32",)),
    "keymoat_authorize": (("i32", "i32"), ("i64",)),
    "keymoat_compile": (("i32", "i32"), ("i32",)),
    "keymoat_evaluate": (("i32",), ("i64",)),
    "keymoat_evaluate_batch": (("i32", "i32", "i32"), ("i32",)),
    "keymoat_evaluate_json": (("i32", "i32"), ("i32",)),
    "keymoat_explain": (("i32", "i32"), ("i32",)),
    "keymoat_free": (("i32",), ("i32",)),
    "keymoat_info": ((), ("i32",)),
    "keymoat_load": (("i32", "i32"), ("i32",)),
    "keymoat_request_buffer": ((), ("i32",)),
    "keymoat_result": ((), ("i64",)),
    "keymoat_revision": ((), ("i32",)),
    "keymoat_validate": (("i32", "i32"), ("i32",)),
}


class Status(IntEnum):
    """The outcome of a call into the guest."""

    OK = 0
    NOT_LOADED = 1
    INVALID_REQUEST = 2
    INVALID_ACCESS_KEY_ID = 3
    INVALID_SOURCE_IP = 4
    INVALID_DOCUMENT = 5
    INVALID_IMAGE = 6
    INVALID_ARGUMENT = 7
    TOO_LARGE = 8
    INTERNAL = 9

    @property
    def code(self) -> str:
        """The name that JSON uses."""
        return STATUS_CODES[self]


STATUS_CODES: Final = {
    Status.OK: "OK",
    Status.NOT_LOADED: "NotLoaded",
    Status.INVALID_REQUEST: "InvalidRequest",
    Status.INVALID_ACCESS_KEY_ID: "InvalidAccessKeyId",
    Status.INVALID_SOURCE_IP: "InvalidSourceIp",
    Status.INVALID_DOCUMENT: "InvalidDocument",
    Status.INVALID_IMAGE: "InvalidImage",
    Status.INVALID_ARGUMENT: "InvalidArgument",
    Status.TOO_LARGE: "TooLarge",
    Status.INTERNAL: "Internal",
}

STATUS_TEXTS: Final = {
    Status.OK: "no error",
    Status.NOT_LOADED: "no policy set is loaded",
    Status.INVALID_REQUEST: "the request is malformed",
    Status.INVALID_ACCESS_KEY_ID: "the request has no readable AccessKeyId",
    Status.INVALID_SOURCE_IP: "the request has no readable SourceIp",
    Status.INVALID_DOCUMENT: "the policy set is not valid",
    Status.INVALID_IMAGE: "the policy image is damaged or of another version",
    Status.INVALID_ARGUMENT: "a pointer or length lies outside the guest's buffers",
    Status.TOO_LARGE: "the input is too large",
    Status.INTERNAL: "internal fault in the evaluator",
}


class Effect(str, Enum):
    """What is to be done with the call."""

    DENY = "Deny"
    ALLOW = "Allow"


class Reason(str, Enum):
    """The rule that decided."""

    NO_ACCESS_KEY = "NoAccessKey"
    AMBIGUOUS_ACCESS_KEY = "AmbiguousAccessKey"
    TEMPORARY_CREDENTIAL = "TemporaryCredential"
    EXEMPT_SERVICE = "ExemptService"
    ACCOUNT_MISMATCH = "AccountMismatch"
    UNKNOWN_ACCOUNT = "UnknownAccount"
    NO_ACTIVE_POLICY = "NoActivePolicy"
    NO_VPC_POLICY = "NoVPCPolicy"
    VPC_NOT_LISTED = "VPCNotListed"
    NO_PUBLIC_POLICY = "NoPublicPolicy"
    SOURCE_IP_NOT_LISTED = "SourceIPNotListed"
    MATCHED = "Matched"


class Level(str, Enum):
    """The policy that decided: none, the account's or the key's own."""

    NONE = "None"
    ACCOUNT = "Account"
    ACCESS_KEY = "AccessKey"


class Network(str, Enum):
    """The class of the call: from a VPC if it carries a VPC id, else public."""

    PUBLIC = "Public"
    VPC = "VPC"


EFFECT_NUMBERS: Final = {
    0: Effect.DENY,
    1: Effect.ALLOW,
}
REASON_NUMBERS: Final = {
    1: Reason.NO_ACCESS_KEY,
    2: Reason.AMBIGUOUS_ACCESS_KEY,
    3: Reason.TEMPORARY_CREDENTIAL,
    4: Reason.EXEMPT_SERVICE,
    5: Reason.ACCOUNT_MISMATCH,
    6: Reason.UNKNOWN_ACCOUNT,
    7: Reason.NO_ACTIVE_POLICY,
    8: Reason.NO_VPC_POLICY,
    9: Reason.VPC_NOT_LISTED,
    10: Reason.NO_PUBLIC_POLICY,
    11: Reason.SOURCE_IP_NOT_LISTED,
    12: Reason.MATCHED,
}
LEVEL_NUMBERS: Final = {
    0: Level.NONE,
    1: Level.ACCOUNT,
    2: Level.ACCESS_KEY,
}
NETWORK_NUMBERS: Final = {
    0: Network.PUBLIC,
    1: Network.VPC,
}


class FindingCode(str, Enum):
    """The rule that a finding is about: errors first, then warnings."""

    SYNTAX = "Syntax"
    WRONG_TYPE = "WrongType"
    UNKNOWN_FIELD = "UnknownField"
    DUPLICATE_FIELD = "DuplicateField"
    MISSING_FIELD = "MissingField"
    INVALID_VERSION = "InvalidVersion"
    INVALID_STATUS = "InvalidStatus"
    INVALID_TYPE = "InvalidType"
    TOO_MANY_STATEMENTS = "TooManyStatements"
    TOO_MANY_PUBLIC_STATEMENTS = "TooManyPublicStatements"
    TOO_MANY_ENTRIES = "TooManyEntries"
    EMPTY_IP_LIST = "EmptyIPList"
    INVALID_ENTRY = "InvalidEntry"
    VALUE_FORBIDDEN = "ValueForbidden"
    VALUE_REQUIRED = "ValueRequired"
    INVALID_VALUE = "InvalidValue"
    INVALID_ACCOUNT_ID = "InvalidAccountId"
    INVALID_ACCESS_KEY_ID = "InvalidAccessKeyId"
    DUPLICATE_ACCOUNT = "DuplicateAccount"
    DUPLICATE_ACCESS_KEY = "DuplicateAccessKey"
    INVALID_EXEMPTION = "InvalidExemption"
    TOO_LARGE = "TooLarge"

    HOST_BITS = "HostBits"
    DUPLICATE_ENTRY = "DuplicateEntry"
    COVERED_ENTRY = "CoveredEntry"
    NO_STATEMENTS = "NoStatements"
    PRIVATE_ADDRESS = "PrivateAddress"
    NEEDLESS_VPC = "NeedlessVPC"
    TEMPORARY_ACCESS_KEY = "TemporaryAccessKey"
    MORE_FINDINGS = "MoreFindings"
