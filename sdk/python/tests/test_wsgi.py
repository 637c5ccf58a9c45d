"""The WSGI middleware behind a real server, wsgiref, on the loopback."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.util import setup_testing_defaults

from conftest import CLOSED, LISTED
from keymoat import Evaluator
from keymoat.guard import Guard
from keymoat.wsgi import Middleware
from test_asgi import OPEN, SHUT, get


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"reached ", environ["PATH_INFO"].encode("latin-1")]


class Handler(WSGIRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(guard: Guard) -> Iterator[int]:
    with make_server("127.0.0.1", 0, Middleware(application, guard), handler_class=Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_requests_reach_the_application_or_are_refused(evaluator: Evaluator) -> None:
    with serving(Guard(evaluator)) as port:
        assert get(port, "/a%20%c3%a9", OPEN)[:2] == (200, "reached /a é".encode())
        assert get(port, f"/?AccessKeyId={LISTED}")[0] == 200
        status, body, headers = get(port, headers={**SHUT, "X-Request-Id": "r-1"})
        assert status == 403
        assert json.loads(body)["SourceIp"] == "127.0.0.1"
        assert json.loads(body)["RequestId"] == "r-1"
        assert headers["Content-Type"] == "application/json"
        assert headers["Cache-Control"] == "no-store"
        assert get(port, f"/?AccessKeyId={CLOSED}")[0] == 403
        assert get(port, f"/?AccessKeyId={LISTED}", SHUT)[0] == 403
        assert get(port, headers=[("Authorization", f"OSS {k}:x") for k in (LISTED, CLOSED)])[0] == 403
        assert get(port, headers={"x-ots-accesskeyid": CLOSED})[0] == 403
        evaluator.close()
        assert json.loads(get(port, headers=OPEN)[1])["Code"] == "NotLoaded"


def test_behind_a_proxy_the_caller_is_who_the_proxy_names(evaluator: Evaluator) -> None:
    with serving(Guard(evaluator, forwarded_for=["127.0.0.0/8"])) as port:
        assert get(port, headers={**SHUT, "X-Forwarded-For": "203.0.113.9"})[0] == 200
        lines = [*SHUT.items(), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1")]
        assert get(port, headers=lines)[0] == 403


def test_forms_are_refused_where_that_is_asked_for(evaluator: Evaluator) -> None:
    form = {**OPEN, "Content-Type": "application/x-www-form-urlencoded"}
    with serving(Guard(evaluator, deny_form_body=True)) as port:
        assert get(port, headers=OPEN)[0] == 200
        assert json.loads(get(port, headers=form)[1])["Code"] == "InvalidAccessKeyId"
    with serving(Guard(evaluator)) as port:
        assert get(port, headers=form)[0] == 200


def test_bytes_that_are_no_text_are_judged_all_the_same(evaluator: Evaluator) -> None:
    environ: dict[str, Any] = {
        "PATH_INFO": "/\xff",
        "QUERY_STRING": "a=\xff",
        "HTTP_AUTHORIZATION": f"OSS {CLOSED}:\xff",
    }
    setup_testing_defaults(environ)
    environ["REMOTE_ADDR"] = "127.0.0.1"
    seen: list[str] = []
    Middleware(application, Guard(evaluator))(environ, lambda status, _: seen.append(status))
    assert seen == ["403 Forbidden"]
    del environ["REMOTE_ADDR"]
    environ["HTTP_AUTHORIZATION"] = ""
    Middleware(application, Guard(evaluator))(environ, lambda status, _: seen.append(status))
    assert seen[1:] == ["403 Forbidden"]
