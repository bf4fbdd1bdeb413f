"""What can go wrong, as exceptions: one for each kind of problem that the sidecar answers (RFC 9457), and two of our own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

_PREFIX = "urn:neverstale:problem:"


@dataclass(frozen=True, slots=True)
class Problem:
    """The body of a refusal (`application/problem+json`)."""

    type: str
    """What a program compares: `urn:neverstale:problem:…`."""
    title: str
    status: int
    detail: str | None = None
    """What is particular about this occurrence, for a person."""
    retry_after_seconds: int | None = None
    current: Any = None
    """With `precondition-failed`: what a read of the value would say now, none where there is none."""

    @property
    def kind(self) -> str:
        """The last word of the type."""
        return self.type.removeprefix(_PREFIX)


class NeverstaleError(Exception):
    """The base of everything that this package raises about an answer."""


class ProblemError(NeverstaleError):
    """The sidecar refused, and said why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        problem = self.problem
        return f"{problem.status} {problem.kind}: {problem.detail or problem.title}"


class Malformed(ProblemError):
    """The request can't be understood."""


class Unauthorised(ProblemError):
    """A valid bearer token is required."""


class Forbidden(ProblemError):
    """This is not allowed."""


class SecretNeedsToken(Forbidden):
    """Answers that carry secrets need a bearer token or the Unix socket."""


class NotFound(ProblemError):
    """There is no such thing: a coherent answer like any other."""


class NotInThisSchema(NotFound):
    """The application's schema does not have this."""


class MethodNotAllowed(ProblemError):
    """The path does not have this method."""


class TooLarge(ProblemError):
    """The request is too large."""


class PreconditionFailed(ProblemError):
    """A write was refused: the value is not what it says that it changes. `problem.current` is what there is now."""


class PreconditionRequired(ProblemError):
    """A write has to say what it takes the place of."""


class OutcomeUnknown(ProblemError):
    """A write may or may not have been made. Until its deadline it may still be; only a read after that can tell.

    Raised for what the sidecar could not tell, and for every write whose answer did not come.
    """


class TooManyRequests(ProblemError):
    """Too many requests are running."""


class Internal(ProblemError):
    """An internal error occurred."""


class Unavailable(ProblemError):
    """The asked level of consistency can't be kept now; nothing old was given instead."""


class DeadlineExceeded(ProblemError, TimeoutError):
    """The deadline passed, at the sidecar or here."""


class Unreachable(NeverstaleError, ConnectionError):
    """There is no connection to the sidecar, or it broke before the answer."""


class BadAnswer(NeverstaleError):
    """What came is not an answer of the contract; the connection was closed and nothing of it was used."""


_KINDS: dict[str, type[ProblemError]] = {
    "malformed": Malformed,
    "unauthorised": Unauthorised,
    "forbidden": Forbidden,
    "secret-needs-token": SecretNeedsToken,
    "not-found": NotFound,
    "not-in-this-schema": NotInThisSchema,
    "method-not-allowed": MethodNotAllowed,
    "too-large": TooLarge,
    "precondition-failed": PreconditionFailed,
    "precondition-required": PreconditionRequired,
    "outcome-unknown": OutcomeUnknown,
    "too-many-requests": TooManyRequests,
    "internal": Internal,
    "unavailable": Unavailable,
    "deadline-exceeded": DeadlineExceeded,
}


def problem_error(status: int, body: bytes | dict[str, Any]) -> ProblemError:
    """Makes the exception for a refusal; a problem of a kind unknown here is still a `ProblemError`."""
    try:
        told = json.loads(body) if isinstance(body, bytes) else body
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise BadAnswer(f"status {status} came without a problem that says why")
    retry = told.get("retry_after_seconds")
    problem = Problem(
        type=str(told.get("type", "about:blank")),
        title=str(told.get("title", "")),
        status=status,
        detail=None if told.get("detail") is None else str(told["detail"]),
        retry_after_seconds=retry if isinstance(retry, int) else None,
        current=told.get("current"),
    )
    return _KINDS.get(problem.kind, ProblemError)(problem)


def deadline_exceeded(timeout_seconds: float) -> DeadlineExceeded:
    """The exception for a deadline that passed on this side."""
    detail = f"no answer came within {timeout_seconds:g} s"
    title = "The deadline of the request has passed"
    return DeadlineExceeded(Problem(f"{_PREFIX}deadline-exceeded", title, 504, detail))


def outcome_unknown(cause: NeverstaleError | None) -> OutcomeUnknown:
    """The exception for a write that was sent, and whose answer did not come, or can't be read."""
    detail = "no answer came" if cause is None else f"no answer came: {cause}"
    title = "The write may or may not have been made"
    return OutcomeUnknown(Problem(f"{_PREFIX}outcome-unknown", title, 504, detail))
