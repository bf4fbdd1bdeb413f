"""The sidecar as the adapter sees it: an answer, or nothing, in which case Postgres is asked as before.

Postgres is always right, so whatever goes wrong here costs time only. To bound that time a sidecar that is away is left alone for a
second, and is given a quarter of one to answer.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from time import monotonic
from typing import Any

from neverstale.answers import Batch
from neverstale.asynchronous import AsyncClient
from neverstale.problems import (
    BadAnswer,
    DeadlineExceeded,
    NeverstaleError,
    NotFound,
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
    """One sidecar, for all event loops of the process."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._rests_until = 0.0
        self.is_away = False
        """Whether it did not answer the last time."""

    async def value(self, read: Read[Any]) -> Any | None:
        """The answer to one read; none where there is no such thing, or no answer."""
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

    async def values(self, reads: Sequence[Read[Any]]) -> Batch | None:
        """The answers to several reads, of one state; none where there is no answer."""
        if not 0 < len(reads) <= READS_MAX or monotonic() < self._rests_until:
            return None
        try:
            batch = await self._client.batch(reads)
        except NeverstaleError as error:
            self._failed(error)
            return None
        self._answered()
        return batch

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


_sidecar: Sidecar | None = None


def sidecar() -> Sidecar:
    """The process's sidecar, at `NEVERSTALE_URL`."""
    global _sidecar
    if _sidecar is None:
        _sidecar = Sidecar(AsyncClient(timeout=TIMEOUT_SECONDS))
    return _sidecar
