"""A web application that a guard stands before, and what three callers get.

    python guarded.py

The server is wsgiref, on the loopback, and the callers are in this program.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from keymoat import Evaluator
from keymoat.guard import Guard
from keymoat.wsgi import Middleware


def application(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer whoever gets here."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"Hello.\n"]


class QuietHandler(WSGIRequestHandler):
    """A handler that keeps no log."""

    def log_message(self, *_args: object) -> None:
        """Do nothing."""


def ask(port: int, key: str) -> str:
    """Call the application with a key, and return what it answers."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Authorization": f"OSS {key}:c2lnbmF0dXJl"})
    try:
        with urllib.request.urlopen(request) as response:  # noqa: S310
            return f"{response.status} {response.read().decode()}"
    except urllib.error.HTTPError as refused:
        with refused:
            return f"{refused.code} {refused.read().decode()}"


def main() -> None:
    """Serve, call and print."""
    with Evaluator.from_file(Path(__file__).with_name("policies.json")) as evaluator:
        guarded = Middleware(application, Guard(evaluator))
        with make_server("127.0.0.1", 0, guarded, handler_class=QuietHandler) as server:
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            port = server.server_port
            print("a key that is listed with this address:", ask(port, "LTAI5tExample0000000001"), end="")
            print("a key that is listed with another one:", ask(port, "LTAI5tExample0000000002"), end="")
            evaluator.load('{"Status": "Active", "Statements": []}')
            print("the first key, after the rules have changed:", ask(port, "LTAI5tExample0000000001"), end="")
            server.shutdown()
            thread.join()


if __name__ == "__main__":
    main()
