"""Measures this package beside its peers on one workload, in one run, and prints one table.

    python compare.py FOLDER

FOLDER is what sdk/bench/workload writes; "make bench-python" does both. Every
contender is first proved right on every request. Rounds of all contenders take
turns, and the quickest round of each counts, so that what else the machine
does falls on nobody alone.
"""

from __future__ import annotations

import gc
import ipaddress
import json
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import cedarpy

from keymoat import Evaluator, HttpRequest, Request

ROUNDS = 5
PASSES = 4  # in each round, of which the first finds the caches full of what others left
BATCH = 1000

Line = dict[str, Any]
Judge = Callable[[], Sequence[object]]  # what is true is allowed


def networks(request: Line) -> str:
    """Return the name of the network that a request comes from."""
    return str(request.get("VpcId", "public"))


def lists(policy_set: Line) -> dict[str, dict[str, list[str]]]:
    """Return the entries of each key's statements by network."""
    return {
        key["AccessKeyId"]: {
            statement.get("Value", "public"): statement["IPList"] for statement in key["AccessKeyPolicy"]["Statements"]
        }
        for key in policy_set["Accounts"][0]["AccessKeys"]
    }


def with_ipaddress(policy_set: Line, requests: list[Line]) -> Judge:
    """Walk lists of networks that were parsed before."""
    parsed = {
        key: {name: [ipaddress.ip_network(e) for e in entries] for name, entries in by_network.items()}
        for key, by_network in lists(policy_set).items()
    }
    asked = [(r["AccessKeyId"], networks(r), r["SourceIp"]) for r in requests]

    def judge() -> list[bool]:
        answers = []
        for key, name, text in asked:
            ip = ipaddress.ip_address(text)
            answers.append(any(ip in n for n in parsed[key].get(name, ())))
        return answers

    return judge


def with_cedar(policy_set: Line, requests: list[Line]) -> Judge:
    """Ask Cedar, with a policy set parsed before for each key."""
    sets = {}
    for key, by_network in lists(policy_set).items():
        text = ""
        for name, entries in by_network.items():
            ranges = " || ".join(f'context.sourceIp.isInRange(ip("{e}"))' for e in entries)
            text += (
                f'permit (principal, action == Action::"call", resource == Network::"{name}") when {{ {ranges} }};\n'
            )
        sets[key] = cedarpy.PolicySet.from_str(text)
    nobody = cedarpy.Entities.from_json_str("[]")
    asked = [
        (
            r["AccessKeyId"],
            {
                "principal": {"type": "AccessKey", "id": r["AccessKeyId"]},
                "action": {"type": "Action", "id": "call"},
                "resource": {"type": "Network", "id": networks(r)},
                "context": {"sourceIp": {"__extn": {"fn": "ip", "arg": r["SourceIp"]}}},
            },
        )
        for r in requests
    ]

    def judge() -> list[bool]:
        return [cedarpy.is_authorized(request, sets[key], nobody).allowed for key, request in asked]

    return judge


def with_keymoat(evaluator: Evaluator, lines: list[Line]) -> dict[str, Judge]:
    """Return the ways to ask this package."""
    fields = [(r["AccessKeyId"], r["SourceIp"], r.get("VpcId", "")) for r in lines]
    requests = [Request(*f) for f in fields]
    batches = [requests[i : i + BATCH] for i in range(0, len(requests), BATCH)]
    acs3 = "ACS3-HMAC-SHA256 Credential={},SignedHeaders=host;x-acs-action,Signature=" + 64 * "0"
    https = [HttpRequest("/", ip, [("Authorization", acs3.format(key))], vpc_id=vpc) for key, ip, vpc in fields]
    return {
        "keymoat, evaluate": lambda: [evaluator.evaluate(r) for r in requests],
        "keymoat, making the request and evaluate": lambda: [evaluator.evaluate(Request(*f)) for f in fields],
        "keymoat, evaluate_many, batches of 1,000": lambda: [d for b in batches for d in evaluator.evaluate_many(b)],
        "keymoat, authorize, an ACS3 header": lambda: [evaluator.authorize(h) for h in https],
    }


def main() -> None:
    """Prove, measure and print."""
    folder = Path(sys.argv[1])
    policy_set = json.loads((folder / "policy-set.json").read_text())
    lines = [json.loads(line) for line in (folder / "requests.ndjson").open()]
    requests = [line["Evaluate"] for line in lines]
    right = [line["Expect"]["Effect"] == "Allow" for line in lines]
    with Evaluator.from_file(folder / "policy-set.image") as evaluator:
        whole = [evaluator.evaluate(Request.from_json(json.dumps(r))).to_dict() for r in requests]
        if whole != [line["Expect"] for line in lines]:
            raise SystemExit("compare: keymoat answers otherwise than the workload expects")
        contenders = with_keymoat(evaluator, requests)
        contenders["ipaddress, the same lists, parsed before"] = with_ipaddress(policy_set, requests)
        contenders["cedarpy, a policy set per key, parsed before"] = with_cedar(policy_set, requests)
        for name, judge in contenders.items():
            if [bool(answer) for answer in judge()] != right:
                raise SystemExit(f"compare: {name} answers otherwise than the workload expects")
        gc.collect()
        gc.freeze()  # what one contender holds must not cost the others collections
        best = dict.fromkeys(contenders, float("inf"))
        for _ in range(ROUNDS):
            for name, judge in contenders.items():
                for _ in range(PASSES):
                    start = time.perf_counter()
                    judge()
                    best[name] = min(best[name], time.perf_counter() - start)
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("wasmtime", "cedarpy"))
    print(f"{len(requests)} requests, 100 keys with full lists; Python {platform.python_version()}, {versions}\n")
    print("| what | µs per request | beside evaluate |\n|---|--:|--:|")
    one = best["keymoat, evaluate"]
    for name, seconds in best.items():
        print(f"| {name} | {seconds / len(requests) * 1e6:.2f} | {seconds / one:.2f}\u00d7 |")


if __name__ == "__main__":
    main()
