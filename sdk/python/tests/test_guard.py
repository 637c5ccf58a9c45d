"""Whom a guard takes for the caller, and what it refuses."""

from __future__ import annotations

import json
import logging
from ipaddress import ip_network
from typing import Any

import pytest

from conftest import ACCOUNT, CLOSED, LISTED, VPC
from keymoat import Evaluator, HttpRequest
from keymoat.guard import Guard

PROXIES = ["10.0.0.0/8", "2001:db8:ffff::/48"]


def code(guard: Guard, peer: str, *headers: tuple[str, str], key: str = LISTED) -> str:
    """Return "" if a request passes, else the code of its refusal."""
    lines = [(name.lower().encode(), value.encode()) for name, value in headers]
    refusal = guard.judge(peer, f"/?AccessKeyId={key}".encode() if key else b"/", lines)
    if refusal is None:
        return ""
    assert refusal.status == 403
    assert dict(refusal.headers)[b"content-length"] == str(len(refusal.body)).encode()
    return str(json.loads(refusal.body)["Code"])


DENIED = "InvalidAccessKeyId.AccessPolicyDenied"
UNREADABLE = "InvalidSourceIp"


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.1", [], ""),
        ("192.0.2.1", [], DENIED),
        ("::ffff:203.0.113.1", [], ""),
        ("fe80::1%eth0", [], DENIED),
        ("", [], UNREADABLE),
        ("unix:", [], UNREADABLE),
        # A peer that is no proxy is not believed, whatever it says.
        ("192.0.2.1", ["203.0.113.1"], DENIED),
        ("203.0.113.1", ["192.0.2.1"], ""),
        ("203.0.113.1", ["nonsense"], ""),
        # A proxy is, from right to left.
        ("10.0.0.1", ["203.0.113.1"], ""),
        ("10.0.0.1", ["192.0.2.1"], DENIED),
        ("10.0.0.1", ["203.0.113.1, 192.0.2.1"], DENIED),
        ("10.0.0.1", ["203.0.113.1", "192.0.2.1"], DENIED),
        ("10.0.0.1", ["192.0.2.1, 203.0.113.1"], ""),
        ("10.0.0.1", ["nonsense, 203.0.113.1"], ""),
        ("10.0.0.1", ["192.0.2.1", "203.0.113.1 ,\t10.2.3.4"], ""),
        ("10.0.0.1", ["203.0.113.1, 10.2.3.4, 192.0.2.1, 10.9.9.9"], DENIED),
        ("2001:db8:ffff::1", ["203.0.113.1"], ""),
        ("::ffff:10.0.0.1", ["203.0.113.1"], ""),
        # When proxies are all there is, the farthest is the caller.
        ("10.0.0.1", [], DENIED),
        ("10.0.0.1", ["10.0.0.9"], DENIED),
        # Ports, brackets and mapped addresses.
        ("10.0.0.1", ["203.0.113.1:8080"], ""),
        ("10.0.0.1", ["[2001:db8::1]:443"], ""),
        ("10.0.0.1", ["[2001:db8::1]"], ""),
        ("10.0.0.1", ["::ffff:203.0.113.1"], ""),
        # An entry that a proxy wrote and that is no address leaves nobody to ask.
        ("10.0.0.1", ["unknown"], UNREADABLE),
        ("10.0.0.1", [""], UNREADABLE),
        ("10.0.0.1", ["203.0.113.1,"], UNREADABLE),
        ("10.0.0.1", ["203.0.113.1:99999"], UNREADABLE),
        ("10.0.0.1", ["203.0.113.1/32"], UNREADABLE),
        ("10.0.0.1", ["010.0.0.1"], UNREADABLE),
        ("10.0.0.1", ["fe80::1%eth0"], UNREADABLE),
        ("10.0.0.1", ["[203.0.113.1]"], UNREADABLE),
        ("10.0.0.1", ["_hidden, 10.0.0.2"], UNREADABLE),
        ("10.0.0.1", ["203.0.113.1\u0661"], UNREADABLE),
    ],
)
def test_the_caller_is_found_behind_named_proxies_only(
    evaluator: Evaluator, peer: str, forwarded: list[str], expected: str
) -> None:
    guard = Guard(evaluator, forwarded_for=PROXIES)
    assert code(guard, peer, *(("X-Forwarded-For", line) for line in forwarded)) == expected


def test_without_the_option_no_header_is_believed(evaluator: Evaluator) -> None:
    guard = Guard(evaluator)
    for name in ("X-Forwarded-For", "Forwarded", "X-Real-Ip"):
        assert code(guard, "127.0.0.2", (name, "203.0.113.1")) == DENIED


@pytest.mark.parametrize(
    ("target", "headers", "expected"),
    [
        (f"/?AccessKeyId={LISTED}", [], ""),
        (f"/?AccessKeyId={CLOSED}", [], DENIED),
        (f"/?AccessKeyId={LISTED}&AccessKeyId={CLOSED}", [], DENIED),
        (f"/?AccessKeyId={LISTED}", [("authorization", f"OSS {CLOSED}:c2ln")], DENIED),
        ("/", [("authorization", f"OSS {LISTED}:x"), ("authorization", f"OSS {CLOSED}:x")], DENIED),
        ("/", [("authorization", f"OSS {LISTED}:x, OSS {CLOSED}:x")], DENIED),
        (f"/?%41ccessKeyId={CLOSED}", [], DENIED),
        ("/?AccessKeyId=%ff", [], "InvalidAccessKeyId"),
    ],
)
def test_a_second_key_cannot_hide(evaluator: Evaluator, target: str, headers: Any, expected: str) -> None:
    lines = [(n.encode(), v.encode()) for n, v in headers]
    refusal = Guard(evaluator).judge("203.0.113.1", target.encode(), lines)
    assert ("" if refusal is None else json.loads(refusal.body)["Code"]) == expected


def test_options_reach_the_evaluator(evaluator: Evaluator) -> None:
    assert code(Guard(evaluator), "192.0.2.1", key="") == ""
    assert code(Guard(evaluator, deny_missing_access_key=True), "192.0.2.1", key="") == DENIED
    form = ("Content-Type", "application/x-www-form-urlencoded")
    assert code(Guard(evaluator), "203.0.113.1", form) == ""
    assert code(Guard(evaluator, deny_form_body=True), "203.0.113.1", form) == "InvalidAccessKeyId"
    assert code(Guard(evaluator, deny_form_body=True), "203.0.113.1") == ""
    assert code(Guard(evaluator, vpc=VPC), "192.168.0.1") == ""
    assert code(Guard(evaluator, vpc=VPC), "203.0.113.1") == DENIED
    assert code(Guard(evaluator, service="eventbridge"), "192.0.2.1") == ""
    assert code(Guard(evaluator, account=ACCOUNT), "203.0.113.1") == ""
    assert code(Guard(evaluator, account="2"), "203.0.113.1") == DENIED


def test_report_only_lets_denials_through_and_faults_not(
    evaluator: Evaluator, caplog: pytest.LogCaptureFixture
) -> None:
    guard = Guard(evaluator, report_only=True)
    with caplog.at_level(logging.WARNING):
        assert code(guard, "192.0.2.1") == ""
        assert code(guard, "") == ""
    assert "SourceIPNotListed" in caplog.text
    assert LISTED not in caplog.text
    evaluator.close()
    assert code(guard, "203.0.113.1") == "NotLoaded"


class Broken(Evaluator):
    def __init__(self) -> None:
        pass

    def authorize(self, request: HttpRequest) -> Any:
        raise ZeroDivisionError(request.target)


@pytest.mark.parametrize("report_only", [False, True])
def test_whatever_fails_refuses(report_only: bool, caplog: pytest.LogCaptureFixture) -> None:
    assert code(Guard(Evaluator(), report_only=report_only), "203.0.113.1") == "NotLoaded"
    assert code(Guard(Broken(), report_only=report_only), "203.0.113.1") == "Internal"
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"forwarded_for": []}, ValueError),
        ({"forwarded_for": "10.0.0.0/8"}, TypeError),
        ({"forwarded_for": ["localhost"]}, ValueError),
        ({"forwarded_for": ["::/0"]}, ValueError),
        ({"vpc": "vpc-A"}, ValueError),
        ({"vpc": "AllowAllVPC"}, ValueError),
        ({"account": "a b"}, ValueError),
        ({"service": "x" * 256}, ValueError),
        ({"service": ""}, ValueError),
        ({"account": ""}, ValueError),
        ({"vpc": ""}, ValueError),
        ({"service": 0}, TypeError),
        ({"account": b"1"}, TypeError),
        ({"vpc": 0}, TypeError),
        ({"forwarded_for": ip_network("10.0.0.0/8")}, TypeError),
        ({"forwarded_for": [10]}, TypeError),
        ({"deny_missing_access_key": None}, TypeError),
        ({"deny_form_body": 1}, TypeError),
        ({"report_only": "false"}, TypeError),
        ({"evaluator": None}, TypeError),
    ],
)
def test_a_guard_is_not_made_with_options_that_cannot_be_meant(
    evaluator: Evaluator, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        Guard(**{"evaluator": evaluator, **options})
    assert code(Guard(evaluator, forwarded_for=None, service=None, account=None, vpc=None), "203.0.113.1") == ""


def test_a_unix_socket_is_a_proxy_only_where_it_is_named(evaluator: Evaluator) -> None:
    named = Guard(evaluator, forwarded_for=["unix:", "10.0.0.0/8"])
    assert code(named, "", ("X-Forwarded-For", "203.0.113.1")) == ""
    assert code(named, "", ("X-Forwarded-For", "203.0.113.1, 192.0.2.1")) == DENIED
    assert code(named, "", ("X-Forwarded-For", "203.0.113.1, 10.0.0.1")) == ""
    assert code(named, "", ("X-Forwarded-For", "nonsense")) == UNREADABLE
    assert code(named, "") == UNREADABLE
    assert code(named, "/run/socket", ("X-Forwarded-For", "203.0.113.1")) == UNREADABLE
    assert code(named, "192.0.2.1", ("X-Forwarded-For", "203.0.113.1")) == DENIED
    alone = Guard(evaluator, forwarded_for=["unix:"])
    assert code(alone, "", ("X-Forwarded-For", "203.0.113.1")) == ""
    assert code(alone, "", ("X-Forwarded-For", "203.0.113.1, 10.0.0.1")) == DENIED
    assert code(alone, "203.0.113.1", ("X-Forwarded-For", "192.0.2.1")) == ""
    for guard in (Guard(evaluator), Guard(evaluator, forwarded_for=["10.0.0.0/8"])):
        assert code(guard, "", ("X-Forwarded-For", "203.0.113.1")) == UNREADABLE


def test_networks_may_be_objects_have_host_bits_and_be_mapped(evaluator: Evaluator) -> None:
    for proxies in ([ip_network("10.0.0.0/8")], ["10.1.2.3/8"], ["::ffff:10.0.0.0/104"]):
        assert code(Guard(evaluator, forwarded_for=proxies), "10.0.0.1", ("X-Forwarded-For", "203.0.113.1")) == ""
