"""The answer to a refused caller is that of plugin/denial, byte for byte."""

from __future__ import annotations

import json

import pytest

from conftest import ROOT
from keymoat import Reason
from keymoat._denial import Denial

# Those of plugin/denial/denial_test.go, by the names that the golden file gives them.
DENIALS = {
    "a public call from an address that is not listed": Denial(
        reason=Reason.SOURCE_IP_NOT_LISTED, source_ip=b"203.0.113.9", request_id=b"8906582E-0001"
    ),
    "a call from a VPC": Denial(
        reason=Reason.VPC_NOT_LISTED,
        source_ip=b"192.168.0.7",
        vpc_id=b"vpc-m5ekxe1zi8zwgqrtc1234",
        request_id=b"8906582E-0001",
    ),
    "an IPv6 address and nothing else known": Denial(reason=Reason.NO_PUBLIC_POLICY, source_ip=b"2001:db8::1"),
    "no access key": Denial(reason=Reason.NO_ACCESS_KEY, source_ip=b"203.0.113.9"),
    "two access keys": Denial(reason=Reason.AMBIGUOUS_ACCESS_KEY, source_ip=b"203.0.113.9"),
    "an access key that cannot be read": Denial(problem="InvalidAccessKeyId", source_ip=b"203.0.113.9"),
    "an address that cannot be read": Denial(problem="InvalidSourceIp", source_ip=b"010.0.0.1"),
    "an address that is not known": Denial(problem="InvalidSourceIp"),
    "nothing loaded": Denial(problem="NotLoaded", source_ip=b"203.0.113.9"),
    "an internal fault": Denial(problem="Internal"),
}


def golden() -> dict[str, bytes]:
    lines = (ROOT / "plugin/denial/testdata/json.golden").read_bytes().split(b"\n")
    return {name[2:].decode(): body + b"\n" for name, body in zip(lines[::2], lines[1::2], strict=False)}


@pytest.mark.parametrize("name", DENIALS)
def test_the_body_is_that_of_the_golden_file(name: str) -> None:
    assert DENIALS[name].body() == golden()[name]


def test_every_other_golden_answer_is_about_what_this_host_cannot_say() -> None:
    # A VPC id that cannot be read: here it is configured. Hostile values: below.
    assert golden().keys() - DENIALS.keys() == {"a VPC id that cannot be read", "hostile values"}


def test_what_a_caller_sent_stays_within_its_place() -> None:
    hostile = b'"},"Code":"OK"</Message><Code>&amp;\\\r\nX: 1\x00\x7f\xc2\x85\xe2\x80\xa8\xff'
    hostile += b"\xed\xa0\x80\xef\xbf\xbd\xe2\x80\xa6"
    body = Denial(source_ip=hostile, vpc_id=hostile, request_id=hostile).body()
    assert body == golden()["hostile values"]
    assert json.loads(body)["Code"] == "InvalidAccessKeyId.AccessPolicyDenied"


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (b"x" * 255, "x" * 255),
        (b"x" * 300, "x" * 255),
        (b"x" * 254 + "é".encode() * 9, "x" * 254),
        (b"\xe2\x80" + b"x", "\ufffd\ufffdx"),
    ],
)
def test_a_long_value_is_cut_between_characters(value: bytes, kept: str) -> None:
    assert json.loads(Denial(request_id=value).body())["RequestId"] == kept
