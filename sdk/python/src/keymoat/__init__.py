"""keymoat decides whether an AccessKey may be used from where a call comes from.

An :class:`Evaluator` judges requests by a policy set. ``keymoat.asgi`` and
``keymoat.wsgi`` guard web applications with one.
"""

from keymoat._abi import RELEASE as __version__  # noqa: N811
from keymoat._abi import Effect, FindingCode, Level, Network, Reason, Status
from keymoat._decision import Decision, StatementTrace, Step, Trace
from keymoat._errors import (
    BatchError,
    GuestError,
    InvalidAccessKeyIdError,
    InvalidDocumentError,
    InvalidImageError,
    InvalidRequestError,
    InvalidSourceIpError,
    KeymoatError,
    NotLoadedError,
    TooLargeError,
    TrapError,
    WorkLimitError,
)
from keymoat._evaluator import Evaluator, Options, compile, validate  # noqa: A004
from keymoat._report import Finding, Report
from keymoat._request import HttpRequest, Request

__all__ = [
    "BatchError",
    "Decision",
    "Effect",
    "Evaluator",
    "Finding",
    "FindingCode",
    "GuestError",
    "HttpRequest",
    "InvalidAccessKeyIdError",
    "InvalidDocumentError",
    "InvalidImageError",
    "InvalidRequestError",
    "InvalidSourceIpError",
    "KeymoatError",
    "Level",
    "Network",
    "NotLoadedError",
    "Options",
    "Reason",
    "Report",
    "Request",
    "StatementTrace",
    "Status",
    "Step",
    "TooLargeError",
    "Trace",
    "TrapError",
    "WorkLimitError",
    "__version__",
    "compile",
    "validate",
]
