"""Puts the Extism plug-in, run by Python, at the other end of the conformance protocol.

    python testee.py keymoat-extism.wasm

The runner starts it. A trap ends it: the runner then starts another.
"""

import base64
import json
import sys
from typing import Any, BinaryIO

import extism  # type: ignore[import-untyped]

FUNCTIONS = {
    "Load": "load",
    "Validate": "validate",
    "Evaluate": "evaluate",
    "Explain": "explain",
    "Authorize": "authorize",
}


def answer(plugin: extism.Plugin, line: bytes) -> bytes:
    """Puts one question to the plug-in, which answers with the protocol's own JSON."""
    [(verb, value)] = json.loads(line).items()
    if verb.endswith("Raw"):
        document = base64.b64decode(value, validate=True)
    else:
        document = json.dumps(value).encode()
    try:
        return bytes(plugin.call(FUNCTIONS[verb.removesuffix("Raw")], document))
    except extism.Error as error:
        return refusal(error)


def refusal(error: extism.Error) -> bytes:
    """The JSON that the plug-in set as its error. Any other error is a trap."""
    text = str(error)
    if not text.startswith('{"Error":'):
        raise error
    return text.encode()


def serve(wasm: bytes, questions: BinaryIO, answers: BinaryIO) -> None:
    manifest: dict[str, Any] = {"wasm": [{"data": wasm}]}
    plugin = extism.Plugin(manifest, wasi=True)
    for line in questions:
        answers.write(answer(plugin, line).strip() + b"\n")
        answers.flush()


if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        module = file.read()
    serve(module, sys.stdin.buffer, sys.stdout.buffer)
