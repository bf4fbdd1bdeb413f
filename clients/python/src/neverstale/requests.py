"""Writes HTTP/1.1 requests, without doing any input or output.

What does not change between the requests of a client is put together once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from neverstale import traces
from neverstale.address import Address
from neverstale.levels import Level
from neverstale.reads import Read
from neverstale.writes import Write

TIMEOUT_SECONDS = 5.0
"""The time that a request has when nobody says otherwise."""

_BEARER = re.compile(r"[!-~]+").fullmatch
_encode = json.JSONEncoder(separators=(",", ":")).encode
_BATCH_PATH = "/v1/batch"
_POSITION_PATH = "/v1/position"


class Requests:
    """Writes the requests of one client."""

    __slots__ = ("_head", "_usual", "timeout")

    def __init__(self, address: Address, token: str | None, timeout: float) -> None:
        if not timeout > 0:
            raise ValueError("a timeout is more than 0 seconds")
        head = f" HTTP/1.1\r\nhost: {address.authority}\r\n"
        if token is not None:
            if not _BEARER(token):
                raise ValueError("a bearer token is visible ASCII without spaces")
            head += f"authorization: Bearer {token}\r\n"
        self.timeout = timeout
        self._head = head
        # How nearly all requests end.
        self._usual = f"{head}{_timeout(timeout)}\r\n".encode("ascii")

    def of(self, read: Read[Any], level: Level | None, timeout: float | None, etag: str | None = None) -> bytes:
        """One read, with whatever differs from the usual."""
        trace = traces.lines()
        if level is None and timeout is None and etag is None and read.body is None and not trace:
            return b"GET " + read.path.encode("ascii") + self._usual
        return self._written(read.path, read.body, level, timeout, etag, trace)

    def batch(
        self,
        reads: Sequence[Read[Any]],
        etags: Sequence[str | None] | None,
        level: Level | None,
        timeout: float | None,
    ) -> bytes:
        """Several reads at one state, each with the tag of what the caller has, if it has something."""
        if any(read.body is not None for read in reads):
            raise ValueError("API keys and sessions are resolved by themselves, not in a batch")
        if etags is None:
            asked: list[Any] = [read.path for read in reads]
        else:
            asked = [
                {"path": read.path, "etag": etag} if etag else read.path
                for read, etag in zip(reads, etags, strict=True)
            ]
        body = _encode({"reads": asked})
        return self._written(_BATCH_PATH, body.encode("ascii"), level, timeout, None, traces.lines())

    def position(self, timeout: float | None) -> bytes:
        """A fence."""
        return self._written(_POSITION_PATH, None, None, timeout, None, traces.lines())

    def events(self, since: str | None) -> bytes:
        """The stream of events, which has no deadline."""
        resume = "" if since is None else f"last-event-id: {_line(since)}\r\n"
        return f"GET /v1/events{self._head}accept: text/event-stream\r\n{resume}\r\n".encode("ascii")

    def write(self, write: Write[Any], condition: str, timeout: float) -> bytes:
        """One write, on the condition that a header names."""
        head = f"PATCH {write.target}{self._head}{traces.lines()}{_timeout(timeout)}{_line(condition)}\r\n"
        head += f"content-type: application/json\r\ncontent-length: {len(write.body)}\r\n\r\n"
        return head.encode("ascii") + write.body

    def _written(
        self,
        path: str,
        body: bytes | None,
        level: Level | None,
        timeout: float | None,
        etag: str | None,
        trace: str,
    ) -> bytes:
        head = f"{'GET' if body is None else 'POST'} {path}{self._head}{trace}"
        head += _timeout(self.timeout if timeout is None else timeout)
        if level is not None:
            head += f"neverstale-consistency: {_line(level)}\r\n"
        if etag is not None:
            head += f"if-none-match: {_line(etag)}\r\n"
        if body is None:
            return f"{head}\r\n".encode("ascii")
        return f"{head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n".encode("ascii") + body


def _timeout(seconds: float) -> str:
    if not seconds > 0:
        raise ValueError("a timeout is more than 0 seconds")
    return f"neverstale-timeout-ms: {max(1, round(seconds * 1000))}\r\n"


def _line(text: str) -> str:
    """Refuses what would be more than one header."""
    if not text.isascii() or not text.isprintable():
        raise ValueError("a header is one line of visible ASCII")
    return text
