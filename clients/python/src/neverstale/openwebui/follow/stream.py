"""Follows the sidecar's stream of changes, for what has no request: one stream for each process, from its start to
its end.

A listener is told of each invalidation, and of each time when some may have been missed: at the begin, after the
stream broke, and when the sidecar says that there is a gap. So whoever looks at everything then misses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from types import ModuleType

from neverstale.asynchronous import AsyncClient
from neverstale.events import Event
from neverstale.problems import NeverstaleError

log = logging.getLogger("neverstale.openwebui")

PAUSE_SECONDS = 1.0
"""Between a stream that broke and the next try."""

Changed = Callable[[Event], Awaitable[None]]
Lost = Callable[[], Awaitable[None]]

_listeners: list[tuple[Changed, Lost]] = []
_task: asyncio.Task[None] | None = None


def listen(changed: Changed, lost: Lost) -> None:
    """Tells of each invalidation, and of each time when some may have been missed."""
    _listeners.append((changed, lost))


def take(module: ModuleType) -> None:
    """Takes `open_webui.main`: begins with the application's start-up, ends with its process."""
    module.app.add_middleware(_Beginning)


class _Beginning:
    """Begins to follow when the application begins: at its lifespan's first message, in its own event loop."""

    def __init__(self, app: Callable[..., Awaitable[None]]) -> None:
        self._app = app

    async def __call__(self, scope: object, receive: object, send: object) -> None:
        global _task
        if _task is None and _listeners:
            _task = asyncio.get_running_loop().create_task(_follow(), name="neverstale-events")
        await self._app(scope, receive, send)


async def _follow() -> None:
    async with AsyncClient() as client:
        while True:
            try:
                # First the position, then the look: what comes in between is in both.
                since = await client.position()
                await _tell_lost()
                async for event in client.events(since):
                    if event.name in ("gap", "incarnation"):
                        await _tell_lost()
                    elif event.name == "invalidation":
                        for changed, _ in _listeners:
                            await _guarded(changed(event))
            except NeverstaleError as error:
                log.debug("the stream of changes is followed again: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)


async def _tell_lost() -> None:
    for _, lost in _listeners:
        await _guarded(lost())


async def _guarded(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:
        # One listener's trouble is not another's, and never the application's.
        log.exception("a change can't be followed")
