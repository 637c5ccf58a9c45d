"""What several tests share. They run on the installed wheel; nothing here puts src/ on the path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from keymoat import Evaluator

ROOT = Path(__file__).parents[3]

LISTED = "LTAI5tExample0000000001"
CLOSED = "LTAI5tExample0000000002"
ACCOUNT = "1000000000000001"
VPC = "vpc-m5ekxe1zi8zwgqrtc1234"


def policy(*statements: dict[str, object]) -> dict[str, object]:
    return {"Version": 1, "Status": "Active", "Statements": list(statements)}


def public(*entries: str) -> dict[str, object]:
    return {"Type": "ClassicWhiteList", "IPList": list(entries)}


# LISTED may be used from some networks and the loopback, CLOSED from one address alone.
POLICY_SET = json.dumps(
    {
        "Version": 1,
        "Accounts": [
            {
                "AccountId": ACCOUNT,
                "AccessKeyPolicy": policy(public("198.51.100.0/24")),
                "AccessKeys": [
                    {
                        "AccessKeyId": LISTED,
                        "AccessKeyPolicy": policy(
                            public("203.0.113.0/24", "203.0.113.7", "2001:db8::/32", "127.0.0.1"),
                            {"Type": "VPCWhiteList", "Value": VPC, "IPList": ["192.168.0.0/16"]},
                        ),
                    },
                    {"AccessKeyId": CLOSED, "AccessKeyPolicy": policy(public("203.0.113.9"))},
                ],
            }
        ],
    }
)


@pytest.fixture
def evaluator() -> Iterator[Evaluator]:
    with Evaluator.from_json(POLICY_SET) as e:
        yield e
