"""Asks a Neverstale sidecar: reads that are never stale, in microseconds, blocking or in asyncio.

What is asked is a value, made by `reads`, or `writes`; who asks is a `Client` or an `AsyncClient`; what comes back is the application's
data, or an exception with the sidecar's problem inside. Nothing is cached here: that is the sidecar's part.
"""

from neverstale import reads, traces, writes
from neverstale.address import Address
from neverstale.answers import Answer, Batch
from neverstale.asynchronous import AsyncClient, AsyncSession
from neverstale.blocking import Client, Session
from neverstale.events import Event
from neverstale.levels import FULLY_CONSISTENT, FULLY_CONSISTENT_OR_BOUNDED, MINIMIZE_LATENCY, Level, at_least_as_fresh
from neverstale.problems import (
    BadAnswer,
    DeadlineExceeded,
    Forbidden,
    Internal,
    Malformed,
    MethodNotAllowed,
    NeverstaleError,
    NotFound,
    NotInThisSchema,
    OutcomeUnknown,
    PreconditionFailed,
    PreconditionRequired,
    Problem,
    ProblemError,
    SecretNeedsToken,
    TooLarge,
    TooManyRequests,
    Unauthorised,
    Unavailable,
    Unreachable,
)
from neverstale.reads import Read
from neverstale.writes import Write

__all__ = [
    "FULLY_CONSISTENT",
    "FULLY_CONSISTENT_OR_BOUNDED",
    "MINIMIZE_LATENCY",
    "Address",
    "Answer",
    "AsyncClient",
    "AsyncSession",
    "BadAnswer",
    "Batch",
    "Client",
    "DeadlineExceeded",
    "Event",
    "Forbidden",
    "Internal",
    "Level",
    "Malformed",
    "MethodNotAllowed",
    "NeverstaleError",
    "NotFound",
    "NotInThisSchema",
    "OutcomeUnknown",
    "PreconditionFailed",
    "PreconditionRequired",
    "Problem",
    "ProblemError",
    "Read",
    "SecretNeedsToken",
    "Session",
    "TooLarge",
    "TooManyRequests",
    "Unauthorised",
    "Unavailable",
    "Unreachable",
    "Write",
    "at_least_as_fresh",
    "reads",
    "traces",
    "writes",
]
