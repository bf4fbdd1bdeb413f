"""The stream of changes (`GET /v1/events`), read without doing any input or output."""

from __future__ import annotations

import json
from dataclasses import dataclass

from neverstale.problems import BadAnswer, problem_error
from neverstale.responses import HEAD_BYTES_MAX, Chunks, header

SILENCE_SECONDS_MAX = 30.0
"""The sidecar says something every ten seconds; a stream that is silent for so long is dead."""

_EVENT_BYTES_MAX = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Event:
    """One event."""

    name: str
    """`invalidation`, `heartbeat`; `incarnation` and `gap` say that whatever was kept is void. Ignore what you do not know."""
    position: str
    """The token from which to go on."""
    tags: tuple[str, ...] = ()
    """What an invalidation invalidated."""


class EventStream:
    """Takes what arrives, head and all, and gives events."""

    __slots__ = ("_buffer", "_chunks", "is_over")

    def __init__(self) -> None:
        self._buffer = b""
        self._chunks: Chunks | None = None
        self.is_over = False
        """Whether the sidecar ended the stream in order."""

    def feed(self, data: bytes) -> list[Event]:
        """Raises the problem when the sidecar refuses, and `BadAnswer` for what is no stream of events."""
        if self._chunks is None:
            data = self._take_head(self._buffer + data)
        if self._chunks is None:
            return []
        text = self._buffer + b"".join(self._chunks.feed(data))
        self.is_over = self._chunks.is_over
        *frames, self._buffer = text.split(b"\n\n")
        if len(self._buffer) > _EVENT_BYTES_MAX:
            raise BadAnswer("an event does not end")
        return [event for frame in frames if (event := _event(frame)) is not None]

    def _take_head(self, data: bytes) -> bytes:
        head, end, rest = data.partition(b"\r\n\r\n")
        if not end:
            if len(data) > HEAD_BYTES_MAX:
                raise BadAnswer("the head of the stream does not end")
            self._buffer = data
            return b""
        if head[9:12] != b"200":
            length = header(head, b"content-length")
            if not head[9:12].isdigit() or not length.isdigit():
                raise BadAnswer("this is no stream of events")
            if len(rest) < int(length):
                self._buffer = data
                return b""
            raise problem_error(int(head[9:12]), rest)
        if header(head.lower(), b"transfer-encoding") != b"chunked":
            raise BadAnswer("this is no stream of events")
        self._buffer = b""
        self._chunks = Chunks()
        return rest


def _event(frame: bytes) -> Event | None:
    name, data = "", b""
    for line in frame.split(b"\n"):
        field, _, value = line.partition(b":")
        if field == b"event":
            name = value.strip().decode()
        elif field == b"data":
            data = value.strip()
    if not data:
        return None
    try:
        told = json.loads(data)
        return Event(name, told["position"], tuple(told.get("tags", ())))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadAnswer("an event can't be read") from error
