"""One face for the clients, so that each test is written once: the blocking one, and the asynchronous one on two event loops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from types import TracebackType
from typing import Any

import uvloop
from neverstale import AsyncClient, AsyncSession, Client, Event, Session

KINDS = ["blocking", "asyncio", "uvloop"]


class Asker:
    """A client that answers as the blocking one does, whatever it is."""

    def __init__(self, kind: str, url: str, **options: Any) -> None:
        self.kind = kind
        self._runner = None if kind == "blocking" else _runner(kind)
        self.client: Client | AsyncClient = (Client if kind == "blocking" else AsyncClient)(url, **options)

    def __getattr__(self, name: str) -> Any:
        return self._method(getattr(self.client, name))

    def session(self) -> SessionAsker:
        return SessionAsker(self, self.client.session())

    def events(self, *arguments: Any, **options: Any) -> Generator[Event, None, None]:
        events: Any = self.client.events(*arguments, **options)
        if self._runner is None:
            try:
                yield from events
            finally:
                events.close()
            return
        try:
            while True:
                try:
                    yield self._runner.run(anext(events))
                except StopAsyncIteration:
                    return
        finally:
            self._runner.run(_close(events))

    def run(self, work: Callable[[Any], Coroutine[Any, Any, Any]]) -> Any:
        """Runs a coroutine on the client's event loop; only for the asynchronous kinds."""
        assert self._runner is not None
        return self._runner.run(work(self.client))

    def _method(self, method: Any) -> Any:
        if self._runner is None:
            return method
        run = self._runner.run
        return lambda *arguments, **options: run(method(*arguments, **options))

    def __enter__(self) -> Asker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
        if self._runner is not None:
            self._runner.close()


class SessionAsker:
    """A session with the same face."""

    def __init__(self, asker: Asker, session: Session | AsyncSession) -> None:
        self._asker, self._session = asker, session

    @property
    def token(self) -> str | None:
        return self._session.token

    def __getattr__(self, name: str) -> Any:
        return self._asker._method(getattr(self._session, name))


def _runner(kind: str) -> asyncio.Runner:
    return asyncio.Runner(loop_factory=uvloop.new_event_loop if kind == "uvloop" else None)


async def _close(events: AsyncIterator[Event]) -> None:
    await events.aclose()  # type: ignore[attr-defined]
