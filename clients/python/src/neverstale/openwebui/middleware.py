"""Gives each HTTP request of the application a snapshot, and ends it when the response begins.

Stands outermost, as plain ASGI, and does nothing else: what is read, and when, the takers decide.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from types import ModuleType
from typing import Any

from neverstale import traces
from neverstale.openwebui import transactions
from neverstale.openwebui.snapshot import Plans, Snapshot, current

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_TRACE = frozenset((b"traceparent", b"tracestate"))
_CALLERS = frozenset((b"authorization", b"x-api-key"))
# A segment with digits, or a long one, names a thing and not a kind of things.
_NAME = re.compile(r"(?<=/)(?!v\d(?:/|$))(?:[^/]*\d[^/]*|[^/]{24,})")
_TOKEN = re.compile(rb"(?:^|; ?)token=([^;]*)")


def take(module: ModuleType) -> None:
    """Puts the middleware around the application, before its first request."""
    if transactions.are_watched() and hasattr(module, "app"):
        module.app.add_middleware(Middleware)


class Middleware:
    """ASGI middleware; HTTP only."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._plans = Plans()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        snapshot = Snapshot(self._plans.of(_who_asks_what(scope)))

        async def sending(message: Message) -> None:
            # Whoever has seen the response may act on it, and what is read from here on must show that.
            snapshot.end()
            await send(message)

        token = current.set(snapshot)
        try:
            # Where the application makes spans of its own, what is read stands below those.
            with _trace(scope):
                await self._app(scope, receive, sending)
        finally:
            snapshot.end()
            current.reset(token)


def _trace(scope: MutableMapping[str, Any]) -> AbstractContextManager[None]:
    """The trace that the request came with; a header that is none is nobody's."""
    found = {name: value for name, value in scope["headers"] if name in _TRACE}
    parent = found.get(b"traceparent")
    if parent is None:
        return nullcontext()
    try:
        return traces.within(parent.decode("ascii"), found.get(b"tracestate", b"").decode("ascii"))
    except ValueError:
        return nullcontext()


def _who_asks_what(scope: MutableMapping[str, Any]) -> int:
    """Tells routes and callers apart, mostly: two that are mixed up cost a needless read. Nothing of a caller's secret is kept."""
    caller = None
    for name, value in scope["headers"]:
        if name in _CALLERS:
            caller = value
            break
        if name == b"cookie" and caller is None:
            found = _TOKEN.search(value)
            caller = found and found[1]
    # Keyed by a secret of this process, as all hashes of texts are.
    return hash((scope["method"], _shape(scope["path"]), caller))


@lru_cache(4096)
def _shape(path: str) -> str:
    return _NAME.sub("*", path)
