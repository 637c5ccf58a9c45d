"""Guards web applications: what ``keymoat.asgi`` and ``keymoat.wsgi`` have in common.

A guard judges each request by the AccessKey id that it claims and by the
address that it comes from. Its options are those of host/httpguard, in Go.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network

from keymoat._abi import ID_PATTERN, MAX_FIELD, VPC_ID_PATTERN
from keymoat._denial import FAULTS, Denial, problem_of
from keymoat._errors import KeymoatError
from keymoat._evaluator import Evaluator
from keymoat._request import HttpRequest
from keymoat._source import Proxies, UnreadableError, peer_of

_log = logging.getLogger("keymoat.guard")

_ACCOUNT = re.compile(ID_PATTERN)
_VPC = re.compile(VPC_ID_PATTERN)

_HEADERS = (
    (b"content-type", b"application/json"),
    (b"cache-control", b"no-store"),  # from another network the answer is another
    (b"x-content-type-options", b"nosniff"),  # parts of the body are the caller's
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a refused request."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Guard:
    """Judges HTTP requests by an evaluator, which stays the caller's: it may load other rules at any time.

    An option that is None is not set.

    forwarded_for
        The caller's address is in X-Forwarded-For, which these proxies append
        to. Without it, or from anyone else, it is the connection's. "unix:"
        stands for whoever connects by a Unix socket, and has no address.
    service
        The service behind the guard, for exemptions.
    account
        The account that unlisted keys belong to.
    vpc
        The VPC that every request comes from. Without it all are public.
    deny_missing_access_key
        Refuses requests that claim no key id. Without it they pass.
    deny_form_body
        Refuses requests with the Content-Type of a form: the application may
        take a key id from there, which the guard does not read.
    report_only
        Logs what would be refused and lets it through. A fault of this side,
        such as an evaluator that fails, refuses all the same.
    """

    def __init__(
        self,
        evaluator: Evaluator,
        *,
        forwarded_for: Iterable[str | IPv4Network | IPv6Network] | None = None,
        service: str | None = None,
        account: str | None = None,
        vpc: str | None = None,
        deny_missing_access_key: bool = False,
        deny_form_body: bool = False,
        report_only: bool = False,
    ) -> None:
        if not isinstance(evaluator, Evaluator):
            raise TypeError(f"a guard needs an Evaluator, not {evaluator!r}")
        if isinstance(forwarded_for, (str, bytes, IPv4Network, IPv6Network)):
            raise TypeError("forwarded_for is a list of networks, not one of them")
        for text in (service, account, vpc):
            if text is not None and not isinstance(text, str):
                raise TypeError(f"an option is a str or None, not {text!r}")
        if service is not None and not 1 <= len(service.encode()) <= MAX_FIELD:
            raise ValueError(f"a service has 1 to {MAX_FIELD} bytes")
        if account is not None and not _ACCOUNT.fullmatch(account):
            raise ValueError(f"{account!r} cannot be the id of an account")
        if vpc is not None and not _VPC.fullmatch(vpc):
            raise ValueError(f"{vpc!r} is not the id of a VPC")
        for flag in (deny_missing_access_key, deny_form_body, report_only):
            if not isinstance(flag, bool):  # the text "false" is true
                raise TypeError(f"an option is True or False, not {flag!r}")
        self._evaluator = evaluator
        self._proxies = None if forwarded_for is None else Proxies(forwarded_for)
        self._service = service
        self._account = account
        self._vpc = vpc
        self._deny_missing = deny_missing_access_key
        self._deny_form_body = deny_form_body
        self._report_only = report_only

    def judge(self, peer: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Refusal | None:
        """Judge a request and return how to refuse it, None if it may go on.

        ``peer`` is the address of the connection, ``target`` path and query,
        and ``headers`` every header line with its name in lower case.
        """
        denial = self._judge(peer, target, headers)
        if denial is None or (self._report_only and denial.problem not in FAULTS):
            return None
        body = denial.body()
        return Refusal(403, (*_HEADERS, (b"content-length", b"%d" % len(body))), body)

    def _judge(self, peer: str, target: bytes, headers: Sequence[tuple[bytes, bytes]]) -> Denial | None:
        source, problem = peer, ""
        decision = None
        try:
            if self._proxies is None:
                address = peer_of(peer)
            else:
                lines = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
                address = self._proxies.source(peer, lines)
            source = str(address)
            decision = self._evaluator.authorize(
                HttpRequest(
                    target=target,
                    source_ip=address,
                    headers=headers,
                    vpc_id=self._vpc,
                    account_id=self._account,
                    service=self._service,
                    deny_missing_access_key=self._deny_missing,
                    deny_form_body=self._deny_form_body,
                )
            )
            if decision.allowed:
                return None
            _log.warning("keymoat: a request from %s is denied: %s", source, decision.reason.value)
        except UnreadableError as err:
            source, problem = err.text, "InvalidSourceIp"
            _log.warning("keymoat: a request is refused: %s", err)
        except Exception as err:  # whatever it is, the request has not been judged
            problem = problem_of(err.code) if isinstance(err, KeymoatError) else "Internal"
            if problem in FAULTS:
                _log.exception("keymoat: a request from %s is refused: it could not be judged", source)
            else:
                _log.warning("keymoat: a request from %s is refused: %s", source, err)
        return Denial(
            problem=problem,
            reason=decision.reason if decision is not None else None,
            source_ip=source.encode("utf-8", "surrogateescape"),
            vpc_id=(self._vpc or "").encode(),
            request_id=next((value for name, value in headers if name == b"x-request-id"), b""),
        )
