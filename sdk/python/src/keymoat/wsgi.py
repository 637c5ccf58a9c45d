"""WSGI middleware: requests that a guard refuses do not reach the application.

WSGI joins headers that occur several times, and does not tell ``X_A`` from
``X-A``. With ``forwarded_for`` use a server, or a proxy in front, that drops
names with an underscore: a caller could write X_Forwarded_For.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from keymoat.guard import Guard

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

__all__ = ["Middleware"]


class Middleware:
    """Wraps a WSGI application."""

    def __init__(self, app: Application, guard: Guard) -> None:
        self._app = app
        self._guard = guard

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Serve a request."""
        refusal = self._guard.judge(environ.get("REMOTE_ADDR") or "", _target(environ), _headers(environ))
        if refusal is None:
            return self._app(environ, start_response)
        status = f"{refusal.status} {HTTPStatus(refusal.status).phrase}"
        start_response(status, [(n.decode("ascii").title(), v.decode("ascii")) for n, v in refusal.headers])
        return [refusal.body]


# Text in an environ is bytes that were decoded as Latin-1.
def _target(environ: dict[str, Any]) -> bytes:
    path = quote((environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")).encode("latin-1"))
    query: str = environ.get("QUERY_STRING", "")
    return path.encode("ascii") + b"?" + query.encode("latin-1")


def _headers(environ: dict[str, Any]) -> list[tuple[bytes, bytes]]:
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    if kind := environ.get("CONTENT_TYPE"):  # has a place of its own in an environ
        headers.append((b"content-type", kind.encode("latin-1")))
    return headers
