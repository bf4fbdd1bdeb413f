"""The sidecar as the adapter sees it: an answer, or nothing, in which case Postgres is asked as before.

Postgres is always right, so whatever goes wrong here costs time only. To bound that time a sidecar that is away is left alone for a
second, and is given a quarter of one to answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import monotonic
from typing import Any

from neverstale.answers import Batch
from neverstale.asynchronous import AsyncClient
from neverstale.blocking import Client
from neverstale.openwebui.entries import Entries, Entry
from neverstale.problems import (
    BadAnswer,
    DeadlineExceeded,
    NeverstaleError,
    NotFound,
    NotInThisSchema,
    ProblemError,
    TooManyRequests,
    Unavailable,
    Unreachable,
)
from neverstale.reads import Read

log = logging.getLogger("neverstale.openwebui")

TIMEOUT_SECONDS = 0.25
REST_SECONDS = 1.0
READS_MAX = 256
"""The sidecar's bound for a batch, unless it is set otherwise."""

_AWAY = (Unreachable, Unavailable, DeadlineExceeded, BadAnswer, TooManyRequests)


class Sidecar:
    """One sidecar, for all event loops and threads of the process."""

    def __init__(self, client: AsyncClient, blocking: Client) -> None:
        self._client = client
        self._blocking = blocking
        self._entries = Entries()
        self._rests_until = 0.0
        self.is_away = False
        """Whether it did not answer the last time."""

    async def secret(self, read: Read[Any]) -> Any | None:
        """The answer to one read that can't be part of a batch; none where there is no such thing, or no answer."""
        if monotonic() < self._rests_until:
            return None
        try:
            value = await self._client.read(read)
        except NotFound:
            self._answered()
            return None
        except NeverstaleError as error:
            self._failed(error)
            return None
        self._answered()
        return value

    async def entries(self, paths: Sequence[str]) -> list[Entry | None] | None:
        """The answers to several reads, of one state, asked now; none for what is not told, none at all where there is no answer."""
        if not 0 < len(paths) <= READS_MAX or monotonic() < self._rests_until:
            return None
        held = [self._entries.get(path) for path in paths]
        try:
            batch = await self._client.batch([_read(path) for path in paths], etags=_etags(held))
        except NeverstaleError as error:
            self._failed(error)
            return None
        return self._received(paths, held, batch)

    def entries_now(self, paths: Sequence[str]) -> list[Entry | None] | None:
        """The same, for functions that are no coroutines: it blocks."""
        if not 0 < len(paths) <= READS_MAX or monotonic() < self._rests_until:
            return None
        held = [self._entries.get(path) for path in paths]
        try:
            batch = self._blocking.batch([_read(path) for path in paths], etags=_etags(held))
        except NeverstaleError as error:
            self._failed(error)
            return None
        return self._received(paths, held, batch)

    def _received(self, paths: Sequence[str], held: list[Entry | None], batch: Batch) -> list[Entry | None]:
        self._answered()
        return [
            held[place] if batch.is_unchanged(place) else self._entry(path, batch, place)
            for place, path in enumerate(paths)
        ]

    def _entry(self, path: str, batch: Batch, place: int) -> Entry | None:
        try:
            body = batch[place]
        except NotInThisSchema:
            return None
        except NotFound:
            return Entry("", None)
        except ProblemError:
            return None
        entry = Entry(batch.etag(place), body)
        if entry.etag:
            self._entries.put(path, entry)
        return entry

    def _answered(self) -> None:
        if self.is_away:
            self.is_away = False
            log.info("the sidecar answers again")

    def _failed(self, error: NeverstaleError) -> None:
        if not isinstance(error, _AWAY):
            # This one request is refused; others need not be.
            return
        self._rests_until = monotonic() + REST_SECONDS
        if not self.is_away:
            self.is_away = True
            log.warning("reads go to Postgres: %s", error)


def _etags(held: list[Entry | None]) -> list[str | None]:
    return [entry.etag if entry is not None else None for entry in held]


_read: Callable[[str], Read[Any]] = lru_cache(8192)(Read)

_sidecar: Sidecar | None = None


def sidecar() -> Sidecar:
    """The process's sidecar, at `NEVERSTALE_URL`."""
    global _sidecar
    if _sidecar is None:
        _sidecar = Sidecar(AsyncClient(timeout=TIMEOUT_SECONDS), Client(timeout=TIMEOUT_SECONDS))
    return _sidecar
