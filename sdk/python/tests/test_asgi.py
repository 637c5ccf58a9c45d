"""The ASGI middleware behind a real server, uvicorn, on the loopback."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from conftest import CLOSED, LISTED
from keymoat import Evaluator
from keymoat.asgi import Message, Middleware, Receive, Send
from keymoat.guard import Guard

OPEN, SHUT = {"Authorization": f"OSS {LISTED}:c2ln"}, {"Authorization": f"OSS {CLOSED}:c2ln"}


async def application(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    elif scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": "reached"})
        await send({"type": "websocket.close"})
    else:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"reached"})


@contextmanager
def serving(guard: Guard) -> Iterator[int]:
    """Serve the application behind a guard, and yield the port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:  # it listens already, so nobody has to wait
        config = uvicorn.Config(
            Middleware(application, guard),
            proxy_headers=False,  # else uvicorn believes X-Forwarded-For from the loopback
            log_config=None,
            lifespan="on",
            ws="websockets-sansio",
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def get(port: int, target: str = "/", headers: Any = ()) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.putrequest("GET", target)
    for name, value in headers.items() if isinstance(headers, dict) else headers:
        connection.putheader(name, value)
    connection.endheaders()
    response = connection.getresponse()
    try:
        return response.status, response.read(), response.headers
    finally:
        connection.close()


def test_requests_reach_the_application_or_are_refused(evaluator: Evaluator) -> None:
    with serving(Guard(evaluator)) as port:
        assert get(port, headers=OPEN)[:2] == (200, b"reached")
        assert get(port, f"/a%20b?x=1&AccessKeyId={LISTED}")[:2] == (200, b"reached")
        assert get(port)[:2] == (200, b"reached")

        status, body, headers = get(port, headers={**SHUT, "X-Request-Id": "r-1"})
        assert status == 403
        assert json.loads(body) == {
            "Code": "InvalidAccessKeyId.AccessPolicyDenied",
            "Message": "Specified access key denied due to access policy. The source address is 127.0.0.1.",
            "SourceIp": "127.0.0.1",
            "RequestId": "r-1",
        }
        assert headers["Content-Type"] == "application/json"
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"

        assert get(port, f"/?AccessKeyId={CLOSED}")[0] == 403
        assert get(port, f"/?AccessKeyId={LISTED}", SHUT)[0] == 403
        assert get(port, headers=[("Authorization", f"OSS {k}:x") for k in (LISTED, CLOSED)])[0] == 403
        assert get(port, headers={**SHUT, "X-Forwarded-For": "203.0.113.9"})[0] == 403


def test_rules_change_while_it_serves(evaluator: Evaluator) -> None:
    with serving(Guard(evaluator)) as port:
        assert get(port, headers=OPEN)[0] == 200
        evaluator.load('{"Status":"Active","Statements":[]}')
        assert get(port, headers=OPEN)[0] == 403
        evaluator.close()
        status, body, _ = get(port, headers=OPEN)
        assert (status, json.loads(body)["Code"]) == (403, "NotLoaded")


def test_behind_a_proxy_the_caller_is_who_the_proxy_names(evaluator: Evaluator) -> None:
    with serving(Guard(evaluator, forwarded_for=["127.0.0.0/8"])) as port:
        assert get(port, headers={**SHUT, "X-Forwarded-For": "203.0.113.9"})[0] == 200
        assert get(port, headers={**SHUT, "X-Forwarded-For": "203.0.113.9, 192.0.2.1"})[0] == 403
        lines = [*SHUT.items(), ("X-Forwarded-For", "203.0.113.9"), ("X-Forwarded-For", "192.0.2.1")]
        assert get(port, headers=lines)[0] == 403
        assert get(port, headers={**SHUT, "X_Forwarded_For": "203.0.113.9"})[0] == 403


def test_websockets_are_judged_too(evaluator: Evaluator) -> None:
    with serving(Guard(evaluator)) as port:
        with connect(f"ws://127.0.0.1:{port}/", additional_headers=OPEN) as ws:
            assert ws.recv() == "reached"
        with pytest.raises(InvalidStatus) as refused, connect(f"ws://127.0.0.1:{port}/?AccessKeyId={CLOSED}"):
            pass
        assert refused.value.response.status_code == 403
        assert json.loads(refused.value.response.body or b"{}")["Code"] == "InvalidAccessKeyId.AccessPolicyDenied"


def test_forms_are_refused_where_that_is_asked_for(evaluator: Evaluator) -> None:
    form = {**OPEN, "Content-Type": "multipart/form-data; boundary=x"}
    with serving(Guard(evaluator, deny_form_body=True)) as port:
        assert get(port, headers=OPEN)[0] == 200
        assert json.loads(get(port, headers=form)[1])["Code"] == "InvalidAccessKeyId"
    with serving(Guard(evaluator)) as port:
        assert get(port, headers=form)[0] == 200


def run(guard: Guard, scope: dict[str, Any]) -> list[Message]:
    """Put a connection to the middleware without a server, for what servers do not send."""
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": f"{scope['type']}.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(Middleware(application, guard)(scope, receive, send))
    return sent


def test_a_websocket_of_a_server_without_the_extension_is_closed(evaluator: Evaluator) -> None:
    scope = {"type": "websocket", "path": "/", "headers": [(b"Authorization", f"OSS {CLOSED}:x".encode())]}
    assert run(Guard(evaluator), scope) == [{"type": "websocket.close", "code": 1008}]


def test_a_connection_without_an_address_or_of_an_unknown_type_does_not_pass(evaluator: Evaluator) -> None:
    http_scope: dict[str, Any] = {"type": "http", "path": "/é", "headers": [], "query_string": b"", "client": None}
    assert run(Guard(evaluator), http_scope)[0]["status"] == 403
    with pytest.raises(ValueError, match="cannot judge"):
        run(Guard(evaluator), {"type": "webtransport", "headers": []})
