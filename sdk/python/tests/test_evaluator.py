"""The API: decisions, errors, batches, traces, reports, rules that change."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from ipaddress import IPv4Address, IPv6Address, ip_interface, ip_network
from pathlib import Path
from typing import Any

import pytest

import keymoat
from conftest import ACCOUNT, CLOSED, LISTED, POLICY_SET, VPC, policy, public
from keymoat import (
    BatchError,
    Effect,
    Evaluator,
    FindingCode,
    HttpRequest,
    InvalidAccessKeyIdError,
    InvalidDocumentError,
    InvalidImageError,
    InvalidRequestError,
    InvalidSourceIpError,
    KeymoatError,
    Level,
    Network,
    NotLoadedError,
    Options,
    Reason,
    Request,
    TooLargeError,
)


def test_a_decision_tells_rule_place_and_entry(evaluator: Evaluator) -> None:
    d = evaluator.evaluate(Request(LISTED, "203.0.113.7"))
    assert (d.effect, d.reason, d.level, d.network) == (Effect.ALLOW, Reason.MATCHED, Level.ACCESS_KEY, Network.PUBLIC)
    assert (d.statement, d.entry, d.code) == (0, ip_network("203.0.113.7/32"), None)
    assert d.allowed
    assert d

    d = evaluator.evaluate(Request(LISTED, "192.0.2.1", vpc_id=VPC))
    assert (d.effect, d.reason, d.network) == (Effect.DENY, Reason.SOURCE_IP_NOT_LISTED, Network.VPC)
    assert (d.statement, d.entry, d.code) == (None, None, "InvalidAccessKeyId.AccessPolicyDenied")
    assert not d.allowed
    assert not d, "a denial must be false in a condition"


@pytest.mark.parametrize(
    ("source", "entry"),
    [
        ("203.0.113.1", "203.0.113.0/24"),
        (IPv4Address("203.0.113.1"), "203.0.113.0/24"),
        ("::ffff:203.0.113.1", "203.0.113.0/24"),
        ("::FFFF:cb00:7101", "203.0.113.0/24"),
        (IPv6Address("::ffff:203.0.113.7"), "203.0.113.7/32"),
        ("2001:DB8:0:0::1", "2001:db8::/32"),
        (IPv6Address("2001:db8::1"), "2001:db8::/32"),
    ],
)
def test_an_address_is_read_in_every_form(evaluator: Evaluator, source: Any, entry: str) -> None:
    request = Request(LISTED, source)
    assert evaluator.evaluate(request).entry == ip_network(entry)
    assert [d.entry for d in evaluator.evaluate_many([request])] == [ip_network(entry)]
    assert evaluator.authorize(HttpRequest(f"/?AccessKeyId={LISTED}", source)).entry == ip_network(entry)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (Request("", "203.0.113.1"), InvalidAccessKeyIdError),
        (Request("LTAI/", "203.0.113.1"), InvalidAccessKeyIdError),
        (Request("é" * 200, "203.0.113.1"), InvalidAccessKeyIdError),
        (Request("x" * 129, "203.0.113.1"), InvalidAccessKeyIdError),
        (Request("x" * 300, "203.0.113.1"), InvalidAccessKeyIdError),
        (Request(LISTED, ""), InvalidSourceIpError),
        (Request(LISTED, "010.0.0.1"), InvalidSourceIpError),
        (Request(LISTED, "203.0.113.1 "), InvalidSourceIpError),
        (Request(LISTED, "fe80::1%eth0"), InvalidSourceIpError),
        (Request(LISTED, IPv6Address("fe80::1%eth0")), InvalidSourceIpError),
        (Request(LISTED, "1" * 128), InvalidSourceIpError),
        (Request(LISTED, "1" * 300), InvalidSourceIpError),
        (Request(LISTED, "203.0.113.1", vpc_id="v" * 256), InvalidRequestError),
        (Request(LISTED, "203.0.113.1", service="\ud800"), InvalidRequestError),
        (Request(LISTED, "203.0.113.1", vpc_id=b"vpc-a"), InvalidRequestError),  # type: ignore[arg-type]
        (Request(LISTED, "203.0.113.1", action=7), InvalidRequestError),  # type: ignore[arg-type]
        (Request(LISTED, "203.0.113.1", service=0), InvalidRequestError),  # type: ignore[arg-type]
        (Request(LISTED, "203.0.113.1", account_id=b""), InvalidRequestError),  # type: ignore[arg-type]
        (Request(LISTED, IPv4Address("203.0.113.1"), vpc_id=b""), InvalidRequestError),  # type: ignore[arg-type]
        (Request(LISTED, IPv4Address("203.0.113.1"), protocol=False), InvalidRequestError),  # type: ignore[arg-type]
        (Request(LISTED, 3405803777), InvalidRequestError),  # type: ignore[arg-type]
        (Request(LISTED, None), InvalidSourceIpError),  # type: ignore[arg-type]
        (Request(None, "203.0.113.1"), InvalidAccessKeyIdError),  # type: ignore[arg-type]
        (Request(LISTED, ip_interface("203.0.113.1/24")), InvalidSourceIpError),
        (Request(LISTED, ip_interface("2001:db8::1/32")), InvalidSourceIpError),
        (Request("LTAI\ud800", "203.0.113.1"), InvalidAccessKeyIdError),
        (Request(LISTED, "203.0.113.1\udc00"), InvalidSourceIpError),
        (Request(b"LTAI5tExample0000000001", "203.0.113.1"), InvalidRequestError),  # type: ignore[arg-type]
    ],
)
def test_a_request_that_cannot_be_read_is_an_error_alone_and_in_a_batch(
    evaluator: Evaluator, request_: Request, error: type[KeymoatError]
) -> None:
    with pytest.raises(error) as alone:
        evaluator.evaluate(request_)
    assert type(alone.value) is error
    assert str(alone.value)

    good = Request(LISTED, "203.0.113.1")
    with pytest.raises(BatchError) as batch:
        evaluator.evaluate_many([good, request_, good])
    assert type(batch.value.errors[1]) is error
    assert list(batch.value.errors) == [1]
    allowed = evaluator.evaluate(good)
    assert batch.value.decisions == [allowed, None, allowed]
    assert batch.value.code == alone.value.code

    with pytest.raises(error):
        evaluator.explain(request_)


@pytest.mark.parametrize("field", ["vpc_id", "account_id", "service", "action", "protocol"])
@pytest.mark.parametrize("source", ["203.0.113.1", IPv4Address("203.0.113.1")])
def test_none_is_an_absent_field(evaluator: Evaluator, field: str, source: Any) -> None:
    plain, request = Request(LISTED, source), Request(LISTED, source, **{field: None})
    assert request.to_dict() == plain.to_dict()
    expected = evaluator.evaluate(plain)
    assert expected.reason is Reason.MATCHED
    assert evaluator.evaluate(request) == expected
    assert evaluator.evaluate_many([plain, request]) == [expected] * 2
    assert evaluator.explain(request).decision == expected
    http = HttpRequest(f"/?AccessKeyId={LISTED}", source, **{field: None})  # type: ignore[arg-type]
    assert evaluator.authorize(http) == expected


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"headers": {"Authorization": "OSS a:b"}}, InvalidRequestError),
        ({"headers": [("Authorization", 1)]}, InvalidRequestError),
        ({"headers": ["ab"]}, InvalidRequestError),
        ({"headers": iter([("Authorization", "OSS a:b")])}, InvalidRequestError),
        ({"target": 1}, InvalidRequestError),
        ({"service": 0}, InvalidRequestError),
        ({"deny_form_body": "false"}, InvalidRequestError),
        ({"deny_missing_access_key": 0}, InvalidRequestError),
        ({"source_ip": ip_interface("203.0.113.1/24")}, InvalidSourceIpError),
        ({"source_ip": None}, InvalidSourceIpError),
    ],
)
def test_an_http_request_that_cannot_be_read_is_an_error(
    evaluator: Evaluator, fields: dict[str, Any], error: type[KeymoatError]
) -> None:
    request = HttpRequest(**{"target": f"/?AccessKeyId={LISTED}", "source_ip": "203.0.113.1", **fields})
    with pytest.raises(error) as e:
        evaluator.authorize(request)
    assert type(e.value) is error


def test_an_http_request_has_16_mib_at_most(evaluator: Evaluator) -> None:
    limit = 16 << 20
    besides = 24 + 4 + 4 + 8 + len("padding")  # header, length of the target, number of headers and lengths of one
    target, source = f"/?AccessKeyId={LISTED}", IPv4Address("203.0.113.1")
    for over in (0, 1):
        padding = "x" * (limit + over - besides - len(target))
        for request in (
            HttpRequest(target, source, [("padding", padding)]),
            HttpRequest(f"{target}&{padding}", source, [("paddin", "")]),
        ):
            if over:
                with pytest.raises(TooLargeError, match="16777216 bytes at most") as e:
                    evaluator.authorize(request)
                assert e.value.code == "TooLarge"
            else:
                assert evaluator.authorize(request).allowed


def test_a_form_is_refused_if_that_is_asked_for(evaluator: Evaluator) -> None:
    for kind in ("application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=x"):
        request = HttpRequest(f"/?AccessKeyId={LISTED}", "203.0.113.1", [("Content-Type", kind)])
        assert evaluator.authorize(request).allowed
        with pytest.raises(InvalidAccessKeyIdError):
            evaluator.authorize(dataclasses.replace(request, deny_form_body=True))
    other = HttpRequest(f"/?AccessKeyId={LISTED}", "203.0.113.1", [("Content-Type", "text/xml")], deny_form_body=True)
    assert evaluator.authorize(other).allowed


def test_fields_of_any_length_reach_the_guest_as_they_are(evaluator: Evaluator) -> None:
    for size in (1, 127, 128, 255):
        for text in ("a" * size, "é" * (size // 2)):
            request = Request(LISTED, "203.0.113.1", account_id=text, service=text, action=text, protocol=text)
            expected = Reason.ACCOUNT_MISMATCH if text else Reason.MATCHED
            assert evaluator.evaluate(request).reason is expected
            assert [d.reason for d in evaluator.evaluate_many([request] * 2)] == [expected] * 2


def test_a_batch_answers_as_single_calls_do(evaluator: Evaluator) -> None:
    sources: list[Any] = ["203.0.113.1", "198.51.100.9", "192.168.3.4", "2001:db8::5", IPv4Address("203.0.113.7")]
    requests = [
        Request(key, source, vpc_id=vpc, account_id=account)
        for key in (LISTED, CLOSED, "LTAI5tExample0000000003", "STS.Example")
        for source in sources
        for vpc in ("", VPC, "vpc-other", "vpc-é")
        for account in ("", ACCOUNT, "2")
    ]
    expected = [evaluator.evaluate(r) for r in requests]
    assert {d.reason for d in expected} > {Reason.MATCHED, Reason.VPC_NOT_LISTED, Reason.ACCOUNT_MISMATCH}
    assert evaluator.evaluate_many(iter(requests)) == expected
    assert [evaluator.explain(r).decision for r in requests] == expected
    assert evaluator.evaluate_many([]) == []


def test_a_batch_larger_than_one_call_of_the_guest_keeps_its_order(evaluator: Evaluator) -> None:
    requests = [Request(LISTED, "203.0.113.1"), Request(LISTED, "192.0.2.1"), Request(LISTED, "203.0.113.7")] * 8_000
    expected = [evaluator.evaluate(r) for r in requests[:3]] * 8_000
    assert evaluator.evaluate_many(requests) == expected

    requests[20_000] = Request("", "203.0.113.1")
    requests[10_001] = Request(LISTED, "x" * 300)
    with pytest.raises(BatchError, match=r"request 10001 of the batch: .* \(and 1 more\)") as e:
        evaluator.evaluate_many(requests)
    assert list(e.value.errors) == [10_001, 20_000]
    assert [i for i, d in enumerate(e.value.decisions) if d is None] == [10_001, 20_000]


def test_explain_tells_the_way_to_the_decision(evaluator: Evaluator) -> None:
    request = Request(LISTED, IPv4Address("203.0.113.7"))
    trace = evaluator.explain(request)
    assert trace.request == request
    assert trace.revision == evaluator.revision
    assert [s.step for s in trace.steps] == ["Credential", "Service", "Owner", "Policy", "Network", "Source"]
    assert trace.steps[2].account == ACCOUNT
    assert trace.steps[3].level is Level.ACCESS_KEY
    last = trace.steps[-1]
    assert (last.reason, last.statements[0].verdict) == (Reason.MATCHED, "Matched")
    assert last.statements[0].entry == trace.decision.entry == ip_network("203.0.113.7/32")
    assert trace.to_dict()["Decision"] == trace.decision.to_dict()


@pytest.mark.parametrize(
    ("target", "headers", "deny_missing", "reason"),
    [
        ("/", [("Authorization", f"OSS {LISTED}:c2ln")], False, Reason.MATCHED),
        (f"/?AccessKeyId={LISTED}".encode(), [], False, Reason.MATCHED),
        ("/", [(b"authorization", f"acs {CLOSED}:c2ln".encode())], False, Reason.SOURCE_IP_NOT_LISTED),
        (f"/?AccessKeyId={LISTED}", [("Authorization", f"OSS {CLOSED}:x")], False, Reason.AMBIGUOUS_ACCESS_KEY),
        ("/", [], False, Reason.NO_ACCESS_KEY),
        ("/", [], True, Reason.NO_ACCESS_KEY),
    ],
)
def test_authorize_finds_the_key_that_a_request_claims(
    evaluator: Evaluator, target: str | bytes, headers: Any, deny_missing: bool, reason: Reason
) -> None:
    request = HttpRequest(target, "203.0.113.1", headers, deny_missing_access_key=deny_missing)
    decision = evaluator.authorize(request)
    assert decision.reason is reason
    assert decision.allowed is (reason is Reason.MATCHED or (reason is Reason.NO_ACCESS_KEY and not deny_missing))


def test_authorize_takes_requests_of_any_size(evaluator: Evaluator) -> None:
    for size in (0, 5_000, 1_000_000):
        padding = [("X-Padding", "p" * size)]
        request = HttpRequest("/", "203.0.113.1", [*padding, ("Authorization", f"OSS {LISTED}:c2ln")])
        assert evaluator.authorize(request).reason is Reason.MATCHED


def test_with_nothing_loaded_or_after_close_every_call_is_an_error() -> None:
    request, http = Request(LISTED, "203.0.113.1"), HttpRequest("/", "203.0.113.1")
    with pytest.raises(NotLoadedError):
        Evaluator().evaluate_many([])  # the first call that needs a buffer, and with nothing in it
    evaluator = Evaluator()
    assert evaluator.revision is None
    for call in (
        lambda: evaluator.evaluate(request),
        lambda: evaluator.evaluate_many([request]),
        lambda: evaluator.evaluate_many([]),
        lambda: evaluator.explain(request),
        lambda: evaluator.authorize(http),
    ):
        with pytest.raises(NotLoadedError) as e:
            call()
        assert e.value.code == "NotLoaded"
    evaluator.load(POLICY_SET)
    assert evaluator.evaluate(request).allowed
    evaluator.close()
    evaluator.close()
    with pytest.raises(NotLoadedError, match="closed"):
        evaluator.evaluate(request)
    with pytest.raises(NotLoadedError, match="closed"):
        evaluator.load(POLICY_SET)


def test_json_image_and_file_are_the_same_rules(tmp_path: Path) -> None:
    image = keymoat.compile(POLICY_SET)
    (tmp_path / "image").write_bytes(image)
    (tmp_path / "set.json").write_text(POLICY_SET)
    request = Request(LISTED, "203.0.113.7")
    for evaluator in (
        Evaluator.from_json(POLICY_SET),
        Evaluator.from_json(POLICY_SET.encode()),
        Evaluator.from_image(image),
        Evaluator.from_file(tmp_path / "image"),
        Evaluator.from_file(str(tmp_path / "set.json")),
    ):
        with evaluator:
            assert evaluator.revision == hashlib.sha256(image).hexdigest()
            assert evaluator.evaluate(request).entry == ip_network("203.0.113.7/32")
    with pytest.raises(InvalidImageError):
        Evaluator.from_image(POLICY_SET.encode())


def test_a_refused_policy_set_leaves_the_old_rules_in_force(evaluator: Evaluator) -> None:
    image = bytearray(keymoat.compile(POLICY_SET))
    image[len(image) // 2] ^= 1
    revision = evaluator.revision
    with pytest.raises(InvalidImageError) as damaged:
        evaluator.load(bytes(image))
    assert damaged.value.code == "InvalidImage"
    with pytest.raises(InvalidDocumentError) as invalid:
        evaluator.load(json.dumps(policy(public("nowhere"), public("203.0.113.1"))))
    assert [(f.code, f.pointer) for f in invalid.value.report.errors] == [
        (FindingCode.INVALID_ENTRY, "/Statements/0/IPList/0"),
        (FindingCode.TOO_MANY_PUBLIC_STATEMENTS, "/Statements/1"),
    ]
    assert "nowhere" in str(invalid.value)
    assert evaluator.revision == revision
    assert evaluator.evaluate(Request(LISTED, "203.0.113.7")).allowed


def test_load_returns_the_revision_in_force(evaluator: Evaluator) -> None:
    revision = evaluator.load(json.dumps(policy(public("192.0.2.0/24"))))
    assert revision == evaluator.revision
    assert evaluator.evaluate(Request("any", "192.0.2.1")).level is Level.ACCOUNT
    assert not evaluator.evaluate(Request(LISTED, "203.0.113.7"))


def test_validate_reports_everything() -> None:
    report = keymoat.validate(json.dumps(policy(public("10.0.0.5/8", "1.2.3.4/33"))))
    assert not report.valid
    assert [(f.code, f.pointer) for f in report.errors] == [(FindingCode.INVALID_ENTRY, "/Statements/0/IPList/1")]
    assert {f.code for f in report.warnings} == {FindingCode.HOST_BITS, FindingCode.PRIVATE_ADDRESS}
    assert keymoat.validate(POLICY_SET).valid
    assert keymoat.validate("").errors[0].code is FindingCode.SYNTAX
    assert keymoat.validate("{").errors[0].code is FindingCode.SYNTAX
    assert keymoat.validate('{"Accounts":[{"AccountId":"\ud800"}]}').errors[0].code is FindingCode.SYNTAX


@pytest.mark.parametrize("document", ["[" * 100_000, '{"Accounts":' * 100_000])
def test_json_nested_100_000_levels_deep_is_refused_and_does_no_harm(evaluator: Evaluator, document: str) -> None:
    revision = evaluator.revision
    with pytest.raises(InvalidDocumentError):
        evaluator.load(document)
    with pytest.raises(InvalidDocumentError):
        keymoat.compile(document)
    assert keymoat.validate(document).errors[0].code is FindingCode.SYNTAX
    assert evaluator.evaluate(Request(LISTED, "203.0.113.7")).allowed
    assert evaluator.revision == revision


@pytest.mark.parametrize(
    "document",
    [
        "",
        "[]",
        "null",
        '{"AccessKeyId":1,"SourceIp":"203.0.113.1"}',
        '{"AccessKeyId":"a","SourceIp":"203.0.113.1","VPCId":"vpc-a"}',
        '{"AccessKeyId":"a","AccessKeyId":"a","SourceIp":"203.0.113.1"}',
        b'\xef\xbb\xbf{"AccessKeyId":"a","SourceIp":"203.0.113.1"}',
        b'{"AccessKeyId":"a\xff","SourceIp":"203.0.113.1"}',
        '{"AccessKeyId":NaN}',
        '{"AccessKeyId":"a\\ud800","SourceIp":"203.0.113.1"}',
        '{"Target":"/","SourceIp":"203.0.113.1","Headers":[{"Name":"a","Value":"\\ud800"}]}',
        '{"Target":"/","SourceIp":"203.0.113.1","DenyFormBody":1}',
        '{"Target":"/","SourceIp":"203.0.113.1","DenyFormBody":null}',
        "[" * 100_000,
    ],
)
def test_json_that_is_no_request_is_refused(document: str | bytes) -> None:
    with pytest.raises(InvalidRequestError):
        Request.from_json(document)
    with pytest.raises(InvalidRequestError):
        HttpRequest.from_json(document)


def test_requests_are_read_from_json_as_they_are_written() -> None:
    request = Request(LISTED, "203.0.113.1", vpc_id=VPC, service="Oss")
    assert Request.from_json(json.dumps(request.to_dict())) == request
    http = HttpRequest.from_json(
        '{"Target":"/","SourceIp":"::1","Headers":[{"Name":"A","Value":"b"}],"DenyMissingAccessKey":true}'
    )
    assert http == HttpRequest("/", "::1", (("A", "b"),), deny_missing_access_key=True)
    http = HttpRequest.from_json('{"Target":"/","SourceIp":"::1","DenyFormBody":true}')
    assert http == HttpRequest("/", "::1", deny_form_body=True)


@pytest.mark.parametrize("document", [5, {}, None, ["{}"]])
def test_what_is_neither_text_nor_bytes_is_no_document(evaluator: Evaluator, document: Any) -> None:
    for call in (
        evaluator.load,
        Evaluator.from_json,
        keymoat.compile,
        keymoat.validate,
        Request.from_json,
        HttpRequest.from_json,
    ):
        with pytest.raises(TypeError):
            call(document)
    for same in (bytearray(POLICY_SET.encode()), memoryview(POLICY_SET.encode())):
        assert evaluator.load(same) == evaluator.revision  # type: ignore[arg-type]


def test_values_cannot_be_changed(evaluator: Evaluator) -> None:
    request = Request(LISTED, "203.0.113.1")
    with pytest.raises(dataclasses.FrozenInstanceError):
        request.vpc_id = VPC  # type: ignore[misc]
    with pytest.raises(AttributeError):
        evaluator.evaluate(request).effect = Effect.ALLOW  # type: ignore[misc]


def test_options_are_checked() -> None:
    with pytest.raises(ValueError, match="instances"):
        Options(instances=0)
    with pytest.raises(ValueError, match="memory_limit"):
        Options(memory_limit=0)
