"""Connections of one event loop: idle ones to take, and a bound on how many there are."""

from __future__ import annotations

import asyncio
from collections import deque

from neverstale.address import Address
from neverstale.problems import BadAnswer, NeverstaleError, Unreachable, deadline_exceeded
from neverstale.responses import Response, Responses


class StaleError(Exception):
    """The connection was closed before any byte of an answer."""


class Pool:
    """Whoever finds nothing in `idle` asks for a `connection`."""

    __slots__ = ("_address", "_connections", "_connections_max", "_loop", "_opening", "_waiting", "idle", "time")

    def __init__(self, address: Address, connections_max: int, loop: asyncio.AbstractEventLoop) -> None:
        self._address = address
        self._connections_max = connections_max
        self._loop = loop
        self.time = loop.time
        self.idle: list[Connection] = []
        """Connections that nobody uses; the last used is the last."""
        self._connections: set[Connection] = set()
        self._opening = 0
        # Requests beyond the bound, in the order they came; each is woken when it may look again.
        self._waiting: deque[asyncio.Future[None]] = deque()

    async def connection(self, deadline: float, timeout: float) -> Connection:
        """Takes an idle connection, opens one, or waits for one when there are as many as may be."""
        while not self.idle:
            if len(self._connections) + self._opening < self._connections_max:
                return await self.open(deadline, timeout)
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiting.append(waiter)
            try:
                async with asyncio.timeout_at(deadline):
                    await waiter
            except TimeoutError as error:
                self._wake_next_of(waiter)
                raise deadline_exceeded(timeout) from error
            except BaseException:
                self._wake_next_of(waiter)
                raise
        return self.idle.pop()

    async def fresh(self, deadline: float, timeout: float) -> Connection:
        """Opens a connection after one turned out to be stale; the idle ones most likely are too."""
        while self.idle:
            self.idle[-1].close()
        return await self.open(deadline, timeout)

    async def open(self, deadline: float, timeout: float) -> Connection:
        """Opens a connection that has carried no request, whatever is idle."""
        address, loop = self._address, self._loop
        self._opening += 1
        connection = Connection(self, loop)
        try:
            async with asyncio.timeout_at(deadline):
                if address.socket is not None:
                    await loop.create_unix_connection(lambda: connection, address.socket)
                else:
                    await loop.create_connection(lambda: connection, address.host, address.port)
        except TimeoutError as error:
            raise deadline_exceeded(timeout) from error
        except OSError as error:
            raise Unreachable(f"{address}: {error.strerror or error}") from error
        finally:
            self._opening -= 1
            if connection.is_closed:
                self._wake()
        self._connections.add(connection)
        return connection

    async def open_stream(self, timeout: float) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Opens a connection outside of the pool."""
        address = self._address
        try:
            async with asyncio.timeout(timeout):
                if address.socket is not None:
                    return await asyncio.open_unix_connection(address.socket)
                return await asyncio.open_connection(address.host, address.port)
        except TimeoutError as error:
            raise deadline_exceeded(timeout) from error
        except OSError as error:
            raise Unreachable(f"{address}: {error.strerror or error}") from error

    async def close(self) -> None:
        """Closes all connections and waits until they are closed."""
        closed = [connection.closed for connection in self._connections]
        for connection in list(self._connections):
            connection.close()
        for one in closed:
            await one.wait()

    def release(self, connection: Connection) -> None:
        """Takes a connection back."""
        self.idle.append(connection)
        if self._waiting:
            self._wake()

    def remove(self, connection: Connection) -> None:
        """Forgets a connection that is closed or about to be."""
        self._connections.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_next_of(self, waiter: asyncio.Future[None]) -> None:
        """Passes on what a waiter was woken for and can't use any more."""
        if waiter.done() and not waiter.cancelled():
            self._wake()


class Connection(asyncio.Protocol):
    """One connection, used by one request at a time."""

    __slots__ = (
        "_deadline",
        "_loop",
        "_pool",
        "_responses",
        "_timeout",
        "_timer",
        "_timer_at",
        "_transport",
        "_waiter",
        "closed",
        "is_closed",
        "is_used",
    )

    def __init__(self, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._pool = pool
        self._loop = loop
        self._responses = Responses()
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Response] | None = None
        self._deadline = self._timeout = self._timer_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self.closed = asyncio.Event()
        """Set when the transport is gone."""
        self.is_closed = True
        self.is_used = False
        """Whether it has carried a request: only then may it be stale."""

    async def ask(self, request: bytes, deadline: float, timeout: float) -> Response:
        """Sends and waits for the answer, and gives the connection back to its pool, or closes it."""
        if self.is_closed:
            raise StaleError
        waiter = self._waiter = self._loop.create_future()
        self._deadline, self._timeout = deadline, timeout
        # One timer goes on from request to request: it looks at the deadline of whatever is under way when it fires.
        if self._timer is None or deadline < self._timer_at:
            self._set_timer(deadline)
        self._transport.write(request)  # type: ignore[union-attr]
        try:
            response: Response = await waiter
        except BaseException:
            self.close()
            raise
        self.is_used = True
        if response.is_last:
            self.close()
        elif not self.is_closed:
            self._pool.release(self)
        return response

    def close(self) -> None:
        """Closes it; a request that waits finds it `Unreachable`."""
        if self.is_closed:
            return
        self.is_closed = True
        self._pool.remove(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fail(Unreachable("the client was closed"))
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.is_closed = False

    def data_received(self, data: bytes) -> None:
        waiter = self._waiter
        if waiter is None:
            # Nobody asked.
            self.close()
            return
        try:
            response = self._responses.feed(data)
        except BadAnswer as error:
            self._fail(error)
            return
        if response is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(response)

    def connection_lost(self, error: Exception | None) -> None:
        self.closed.set()
        if self._responses.has_begun:
            self._fail(Unreachable("the connection was closed within the answer"))
        else:
            self._fail(StaleError())
        self.close()

    def _fail(self, error: NeverstaleError | StaleError) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(at, self._look_at_deadline)
        self._timer_at = at

    def _look_at_deadline(self) -> None:
        self._timer = None
        if self._waiter is None:
            return
        if self._loop.time() >= self._deadline:
            self._fail(deadline_exceeded(self._timeout))
        else:
            self._set_timer(self._deadline)
