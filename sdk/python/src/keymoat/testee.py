"""The package at the other end of the conformance protocol: ``python -m keymoat.testee``.

conformance/README.md specifies it. Requests go the way that users send them:
each is judged alone and as a batch of one, and the answers must be the same.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from typing import Any

from keymoat import (
    BatchError,
    Decision,
    Evaluator,
    HttpRequest,
    InvalidDocumentError,
    KeymoatError,
    Request,
    validate,
)


def main() -> None:
    """Answer each line of standard input with one line until it ends."""
    with Evaluator() as evaluator:
        for line in sys.stdin.buffer:
            if not line.strip():
                continue
            try:
                answer = _answer(evaluator, line)
            except KeymoatError as err:
                answer = {"Error": _error(err)}
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def _answer(evaluator: Evaluator, line: bytes) -> Mapping[str, Any]:
    [(verb, value)] = json.loads(line).items()
    raw = verb.removesuffix("Raw")
    document = base64.b64decode(value) if raw != verb else json.dumps(value).encode()
    match raw:
        case "Load":
            return {"Revision": evaluator.load(document)}
        case "Validate":
            return validate(document).to_dict()
        case "Evaluate":
            return _evaluate(evaluator, Request.from_json(document)).to_dict()
        case "Explain":
            return evaluator.explain(Request.from_json(document)).to_dict()
        case "Authorize":
            return evaluator.authorize(HttpRequest.from_json(document)).to_dict()
    raise KeymoatError(f"the protocol has no verb {verb}", "InvalidArgument")


def _evaluate(evaluator: Evaluator, request: Request) -> Decision:
    try:
        [in_batch] = evaluator.evaluate_many([request])
    except BatchError as err:
        in_batch_error: str | None = err.code
    except KeymoatError as err:
        in_batch_error = err.code
    else:
        in_batch_error = None
    try:
        decision = evaluator.evaluate(request)
    except KeymoatError as err:
        if err.code != in_batch_error:
            raise KeymoatError(f"{err.code} alone, {in_batch_error} in a batch") from err
        raise
    if in_batch_error or in_batch != decision:
        raise KeymoatError(f"{decision} alone, {in_batch_error or in_batch} in a batch")
    return decision


def _error(err: KeymoatError) -> dict[str, object]:
    error: dict[str, object] = {"Code": err.code, "Message": str(err)}
    if isinstance(err, InvalidDocumentError):
        error["Report"] = err.report.to_dict()
    return error


if __name__ == "__main__":
    main()
