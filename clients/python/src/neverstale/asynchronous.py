"""The client for asyncio and uvloop: each event loop has a pool of connections of its own.

A request takes an idle connection, writes, and waits for one future. A cancelled request closes its connection: whatever comes
on it would answer the wrong question.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from neverstale.address import Address
from neverstale.answers import Answer, Batch, answer, written
from neverstale.events import SILENCE_SECONDS_MAX, Event, EventStream
from neverstale.freshness import Freshness
from neverstale.levels import Level
from neverstale.pool import Pool, StaleError
from neverstale.problems import (
    BadAnswer,
    DeadlineExceeded,
    NeverstaleError,
    Unreachable,
    deadline_exceeded,
    outcome_unknown,
    problem_error,
)
from neverstale.reads import Read
from neverstale.requests import TIMEOUT_SECONDS, Requests
from neverstale.responses import Response
from neverstale.writes import Write, condition

T = TypeVar("T")

CONNECTIONS_MAX = 64
"""So many connections each event loop opens; more requests wait for one of them."""


class AsyncClient:
    """Asks one sidecar, from any number of tasks and event loops."""

    def __init__(
        self,
        url: str | Address | None = None,
        *,
        token: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        connections_max: int = CONNECTIONS_MAX,
    ) -> None:
        """`url` is `http://host:port` or `unix:///its/path`, else `NEVERSTALE_URL`; `timeout` is in seconds, for each request."""
        if connections_max < 1:
            raise ValueError("a client needs a connection")
        self.address = url if isinstance(url, Address) else Address.parse(url)
        self._requests = Requests(self.address, token, timeout)
        self._timeout = timeout
        self._connections_max = connections_max
        self._pools: WeakKeyDictionary[asyncio.AbstractEventLoop, Pool] = WeakKeyDictionary()

    async def read(self, read: Read[T], *, level: Level | None = None, timeout: float | None = None) -> T:
        """Asks, and gives the data. Raises a `NeverstaleError`, such as `NotFound` or `Unavailable`."""
        response = await self._exchange(self._requests.of(read, level, timeout), timeout)
        if response.status == 200:
            try:
                return json.loads(response.body)  # type: ignore[no-any-return]
            except ValueError as error:
                raise BadAnswer("the body is no JSON") from error
        raise problem_error(response.status, response.body)

    async def answer(
        self,
        read: Read[T],
        *,
        level: Level | None = None,
        timeout: float | None = None,
        known: Answer[T] | None = None,
    ) -> Answer[T]:
        """Asks, and gives the data with its position, level and tag; what is `known` already is not sent again."""
        etag = known.etag or None if known is not None else None
        return answer(read, await self._exchange(self._requests.of(read, level, timeout, etag), timeout), known)

    async def batch(
        self,
        reads: Sequence[Read[Any]],
        *,
        etags: Sequence[str | None] | None = None,
        level: Level | None = None,
        timeout: float | None = None,
    ) -> Batch:
        """Asks several things at one state, in one round trip; what has the tag given for it is not sent again."""
        return Batch.of(await self._exchange(self._requests.batch(reads, etags, level, timeout), timeout), len(reads))

    async def write(self, write: Write[T], was: Answer[T] | str | None, *, timeout: float | None = None) -> Answer[T]:
        """Writes one value in place of the one that was read: its answer, its ETag, or none where there was none.

        Gives the new value; its position is empty where no fence could be had, although the write is made. Raises
        `PreconditionFailed` where somebody was faster. After any exception but `OutcomeUnknown` nothing was written; if it is
        cancelled, that is unknown too.
        """
        pool = self._pool()
        timeout = self._timeout if timeout is None else timeout
        deadline = pool.time() + timeout
        request = self._requests.write(write, condition(was), timeout)
        # One that was kept may be closed without a word, and a write is not sent twice.
        connection = await pool.open(deadline, timeout)
        try:
            response = await connection.ask(request, deadline, timeout)
        except StaleError as error:
            raise outcome_unknown(None) from error
        except (BadAnswer, DeadlineExceeded, Unreachable) as error:
            raise outcome_unknown(error) from error
        return written(response)

    async def position(self, *, timeout: float | None = None) -> str:
        """Takes a fence: a token at least as new as everything committed before."""
        response = await self._exchange(self._requests.position(timeout), timeout)
        if response.status != 200:
            raise problem_error(response.status, response.body)
        return response.header("neverstale-position")

    def session(self) -> AsyncSession:
        """Begins a session: reads that never go behind what it has seen or written, at the lowest price."""
        return AsyncSession(self)

    async def events(self, since: str | None = None, *, silence: float = SILENCE_SECONDS_MAX) -> AsyncIterator[Event]:
        """Follows the changes, from where a token was if one is given.

        Ends when the sidecar ends the stream; raises `Unreachable` when it broke, and `DeadlineExceeded` when nothing, not even
        a heartbeat, came for `silence` seconds. Whoever comes back with the last event's position misses nothing, or is told so.
        """
        reader, writer = await self._pool().open_stream(self._timeout)
        try:
            writer.write(self._requests.events(since))
            stream = EventStream()
            while not stream.is_over:
                try:
                    async with asyncio.timeout(silence):
                        data = await reader.read(64 * 1024)
                except TimeoutError as error:
                    raise deadline_exceeded(silence) from error
                except OSError as error:
                    raise Unreachable(f"{self.address}: the stream of events broke") from error
                if not data:
                    raise Unreachable(f"{self.address}: the stream of events broke")
                for event in stream.feed(data):
                    yield event
        finally:
            writer.close()

    async def close(self) -> None:
        """Closes the connections of this event loop; requests under way are `Unreachable`. The client may be used again."""
        pool = self._pools.pop(asyncio.get_running_loop(), None)
        if pool is not None:
            await pool.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _pool(self) -> Pool:
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._pools[loop] = Pool(self.address, self._connections_max, loop)
        return pool

    async def _exchange(self, request: bytes, timeout: float | None) -> Response:
        pool = self._pool()
        if timeout is None:
            timeout = self._timeout
        deadline = pool.time() + timeout
        try:
            connection = pool.idle.pop()
        except IndexError:
            connection = await pool.connection(deadline, timeout)
        if connection.is_used:
            try:
                return await connection.ask(request, deadline, timeout)
            except StaleError:
                # The server closed it while nobody looked. These are reads, so asking again is safe; once, and anew.
                connection = await pool.fresh(deadline, timeout)
        try:
            return await connection.ask(request, deadline, timeout)
        except StaleError as error:
            raise Unreachable(f"{self.address}: the connection was closed before the answer") from error


class AsyncSession:
    """What one caller sees: never less than it has seen before, and always its own writes."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._freshness = Freshness()

    @property
    def token(self) -> str | None:
        """The newest state that this session has seen; another session or process can go on from it."""
        return self._freshness.token

    async def read(self, read: Read[T], *, timeout: float | None = None) -> T:
        """As `AsyncClient.read`."""
        return (await self.answer(read, timeout=timeout)).value

    async def answer(self, read: Read[T], *, timeout: float | None = None, known: Answer[T] | None = None) -> Answer[T]:
        """As `AsyncClient.answer`."""
        freshness = self._freshness
        answer = await self._client.answer(read, level=freshness.level, timeout=timeout, known=known)
        freshness.seen(answer.position)
        return answer

    async def batch(
        self, reads: Sequence[Read[Any]], *, etags: Sequence[str | None] | None = None, timeout: float | None = None
    ) -> Batch:
        """As `AsyncClient.batch`."""
        freshness = self._freshness
        batch = await self._client.batch(reads, etags=etags, level=freshness.level, timeout=timeout)
        freshness.seen(batch.position)
        return batch

    async def write(self, write: Write[T], was: Answer[T] | str | None, *, timeout: float | None = None) -> Answer[T]:
        """As `AsyncClient.write`; this session reads it from then on."""
        fence = self._freshness.wrote()
        answer = await self._client.write(write, was, timeout=timeout)
        if answer.position:
            self._freshness.fenced(answer.position, fence)
        return answer

    async def wrote(self, *, timeout: float | None = None) -> None:
        """Tells that something was committed: takes a fence. Until one is answered, reads are fully consistent."""
        fence = self._freshness.wrote()
        self._freshness.fenced(await self._client.position(timeout=timeout), fence)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[None]:
        """Surrounds a write, from before its begin to after its commit; also one that may or may not have happened."""
        self._freshness.wrote()
        try:
            yield
        finally:
            fence = self._freshness.wrote()
            try:
                self._freshness.fenced(await self._client.position(), fence)
            except NeverstaleError:
                # The write is done, and reads are fully consistent from here on.
                pass
