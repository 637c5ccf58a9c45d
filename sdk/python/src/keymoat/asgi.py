"""ASGI middleware: requests and WebSockets that a guard refuses do not reach the application."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from keymoat.guard import Guard, Refusal

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]

__all__ = ["Middleware"]


class Middleware:
    """Wraps an ASGI application. A decision takes some microseconds, and is made on the event loop."""

    def __init__(self, app: Application, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        kind = scope["type"]
        if kind == "lifespan":  # of the server, not of a caller
            await self._app(scope, receive, send)
            return
        if kind not in ("http", "websocket"):
            raise ValueError(f"keymoat cannot judge connections of the type {kind!r}")
        refusal = self._judge(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif kind == "http":
            await _answer(refusal, send, "http.response")
        else:
            await receive()  # the request to connect
            if "websocket.http.response" in (scope.get("extensions") or {}):
                await _answer(refusal, send, "websocket.http.response")
            else:
                await send({"type": "websocket.close", "code": 1008})  # servers answer with 403

    def _judge(self, scope: Message) -> Refusal | None:
        client = scope.get("client")
        path = scope.get("raw_path") or quote(scope["path"]).encode()
        query = scope.get("query_string") or b""
        headers = [(bytes(name).lower(), bytes(value)) for name, value in scope["headers"]]
        return self._guard.judge(client[0] if client else "", b"%b?%b" % (path, query), headers)


async def _answer(refusal: Refusal, send: Send, kind: str) -> None:
    await send({"type": f"{kind}.start", "status": refusal.status, "headers": list(refusal.headers)})
    await send({"type": f"{kind}.body", "body": refusal.body})
