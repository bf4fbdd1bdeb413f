"""Saves through the sidecar's `PATCH`: one path at a time, in place of exactly what was read, again where somebody was faster.

Whatever is in the way (writes are off, the sidecar is away, the path can't be written), the caller saves by itself, under the row's
lock. Of a write whose outcome is unknown nobody can say so before its deadline: only then its lock is free, or was never taken, and
the caller finds in the row what became of it. A condition is always the ETag of what was read, so a late write can't take the place
of a newer one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from time import monotonic
from typing import Any

from neverstale import reads, writes
from neverstale.answers import Answer
from neverstale.asynchronous import AsyncClient
from neverstale.blocking import Client
from neverstale.openwebui import transactions
from neverstale.openwebui.documents import ABSENT
from neverstale.openwebui.edits import Change, is_same
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.sidecar import TIMEOUT_SECONDS as READ_SECONDS
from neverstale.openwebui.snapshot import current
from neverstale.problems import (
    DeadlineExceeded,
    Forbidden,
    MethodNotAllowed,
    NeverstaleError,
    NotFound,
    NotInThisSchema,
    OutcomeUnknown,
    PreconditionFailed,
    Unauthorised,
    Unreachable,
)
from neverstale.reads import Read
from neverstale.writes import Write

log = logging.getLogger("neverstale.openwebui")

TIMEOUT_SECONDS = 1.0
SETTLED_SECONDS = TIMEOUT_SECONDS + 0.2
"""So long after it was sent no write is under way any more that does not hold the row's lock."""
ATTEMPTS_MAX = 16
REST_SECONDS = 1.0
OFF_SECONDS = 60.0
"""For so long a sidecar that writes nothing is not asked to."""

_OFF = (Forbidden, MethodNotAllowed, NotInThisSchema, Unauthorised)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value is read, and written."""

    read: Read[Any]
    write: Callable[[Any], Write[Any]]


def config(path: str) -> Place:
    """A global setting."""
    return Place(reads.stored_config_value(path), lambda value: writes.config(path, value))


def user_setting(id: str, path: str) -> Place:
    """One of a user's own settings; in NAGA, of an admin's document."""
    return Place(reads.own_setting(id, path), lambda value: writes.user_setting(id, path, value))


def are_paths(id: str, names: Iterable[str]) -> bool:
    """Whether the settings of a user can be named: a dot leads into a document, and not all texts are asked for."""
    return all(text and "\0" not in text and len(text) <= 255 for text in (id, *names)) and not any(
        "." in name for name in names
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """How steps are taken: by coroutines, or blocking. Both have the same face."""

    client: Any
    sleep: Callable[[float], Any]


Step = Callable[[_Way], Any]


class Saves:
    """Saves by one sidecar, for all event loops and threads of the process."""

    def __init__(self, client: AsyncClient, blocking: Client) -> None:
        self._client = client
        self._blocking = blocking
        self._rests_until = 0.0
        self._is_off = False

    async def save(self, place: Place, change: Change) -> Any:
        """Gives what is there now; `UNTOLD` where the caller is to save by itself. Raises what `change` raises."""
        steps, way = self._steps(place, change), _Way(self._client, asyncio.sleep)
        try:
            step = next(steps)
            while True:
                try:
                    outcome = await step(way)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as end:
            return end.value

    def save_now(self, place: Place, change: Change) -> Any:
        """The same, for functions that are no coroutines: it blocks."""
        steps, way = self._steps(place, change), _Way(self._blocking, time.sleep)
        try:
            step = next(steps)
            while True:
                try:
                    outcome = step(way)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(outcome)
        except StopIteration as end:
            return end.value

    def _steps(self, place: Place, change: Change) -> Generator[Step, Any, Any]:
        """What a save does, one step after the other; whoever takes them gives each outcome back, or throws what went wrong."""
        if monotonic() < self._rests_until:
            return UNTOLD
        begun = monotonic()
        try:
            for _ in range(ATTEMPTS_MAX):
                try:
                    was: Answer[Any] | None = yield lambda way: way.client.answer(place.read, timeout=READ_SECONDS)
                except NotInThisSchema:
                    raise
                except NotFound:
                    was = None
                value, is_new = _changed(was, change)
                if not is_new:
                    return value
                begun = monotonic()
                write, condition = place.write(value), was
                try:
                    yield lambda way: way.client.write(write, condition)
                except PreconditionFailed:
                    continue
                finally:
                    transactions.changed()
                return value
        except OutcomeUnknown as error:
            self._failed(error)
            yield lambda way: way.sleep(max(0.0, begun + SETTLED_SECONDS - monotonic()))
        except NeverstaleError as error:
            self._failed(error)
        return UNTOLD

    def _failed(self, error: NeverstaleError) -> None:
        if isinstance(error, _OFF):
            self._rests_until = monotonic() + OFF_SECONDS
            if not self._is_off:
                self._is_off = True
                log.info("settings are saved in Postgres under a lock: %s", error)
        elif isinstance(error, Unreachable | DeadlineExceeded | OutcomeUnknown):
            self._rests_until = monotonic() + REST_SECONDS


def _changed(was: Answer[Any] | None, change: Change) -> tuple[Any, bool]:
    snapshot = current.get()
    if snapshot is not None:
        # What the request reads from here on is not older than this.
        snapshot.move()
    now = ABSENT if was is None else was.value["value"]
    value = change(now)
    return value, not is_same(value, now)


_saves: Saves | None = None


def saves() -> Saves:
    """The process's, at `NEVERSTALE_URL`."""
    global _saves
    if _saves is None:
        _saves = Saves(AsyncClient(timeout=TIMEOUT_SECONDS), Client(timeout=TIMEOUT_SECONDS))
    return _saves
