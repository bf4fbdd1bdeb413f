"""The blocking client: for threads, scripts, and applications without asyncio.

A request takes an idle connection or opens one, sends, and in nearly all cases receives once. The kernel keeps the deadline
(`SO_RCVTIMEO`), which saves a call of `poll` for each receive. A client may be shared by threads, and survives a fork.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Any, TypeVar

from neverstale.address import Address
from neverstale.answers import Answer, Batch, answer, written
from neverstale.events import SILENCE_SECONDS_MAX, Event, EventStream
from neverstale.freshness import Freshness
from neverstale.levels import Level
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
from neverstale.responses import Response, Responses
from neverstale.writes import Write, condition

T = TypeVar("T")

IDLE_CONNECTIONS_MAX = 32
"""More idle connections than this are closed."""

_RECEIVE_BYTES = 64 * 1024


class Client:
    """Asks one sidecar. Threads may share it; each request has a connection of its own while it runs."""

    def __init__(
        self, url: str | Address | None = None, *, token: str | None = None, timeout: float = TIMEOUT_SECONDS
    ) -> None:
        """`url` is `http://host:port` or `unix:///its/path`, else `NEVERSTALE_URL`; `timeout` is in seconds, for each request."""
        self.address = url if isinstance(url, Address) else Address.parse(url)
        self._requests = Requests(self.address, token, timeout)
        self._timeout = timeout
        self._idle: list[_Connection] = []
        _clients.add(self)

    def read(self, read: Read[T], *, level: Level | None = None, timeout: float | None = None) -> T:
        """Asks, and gives the data. Raises a `NeverstaleError`, such as `NotFound` or `Unavailable`."""
        response = self._exchange(self._requests.of(read, level, timeout), timeout)
        if response.status == 200:
            try:
                return json.loads(response.body)  # type: ignore[no-any-return]
            except ValueError as error:
                raise BadAnswer("the body is no JSON") from error
        raise problem_error(response.status, response.body)

    def answer(
        self,
        read: Read[T],
        *,
        level: Level | None = None,
        timeout: float | None = None,
        known: Answer[T] | None = None,
    ) -> Answer[T]:
        """Asks, and gives the data with its position, level and tag; what is `known` already is not sent again."""
        etag = known.etag or None if known is not None else None
        return answer(read, self._exchange(self._requests.of(read, level, timeout, etag), timeout), known)

    def batch(
        self,
        reads: Sequence[Read[Any]],
        *,
        etags: Sequence[str | None] | None = None,
        level: Level | None = None,
        timeout: float | None = None,
    ) -> Batch:
        """Asks several things at one state, in one round trip; what has the tag given for it is not sent again."""
        return Batch.of(self._exchange(self._requests.batch(reads, etags, level, timeout), timeout), len(reads))

    def write(self, write: Write[T], was: Answer[T] | str | None, *, timeout: float | None = None) -> Answer[T]:
        """Writes one value in place of the one that was read: its answer, its ETag, or none where there was none.

        Gives the new value; its position is empty where no fence could be had, although the write is made. Raises
        `PreconditionFailed` where somebody was faster. After any exception but `OutcomeUnknown` nothing was written.
        """
        timeout = self._timeout if timeout is None else timeout
        deadline = monotonic() + timeout
        request = self._requests.write(write, condition(was), timeout)
        # One that was kept may be closed without a word, and a write is not sent twice.
        connection = _Connection.open(self.address, timeout)
        try:
            response = self._ask(connection, request, deadline, timeout)
        except _StaleError as error:
            raise outcome_unknown(None) from error
        except (BadAnswer, DeadlineExceeded, Unreachable) as error:
            raise outcome_unknown(error) from error
        return written(response)

    def position(self, *, timeout: float | None = None) -> str:
        """Takes a fence: a token at least as new as everything committed before."""
        response = self._exchange(self._requests.position(timeout), timeout)
        if response.status != 200:
            raise problem_error(response.status, response.body)
        return response.header("neverstale-position")

    def session(self) -> Session:
        """Begins a session: reads that never go behind what it has seen or written, at the lowest price."""
        return Session(self)

    def events(self, since: str | None = None, *, silence: float = SILENCE_SECONDS_MAX) -> Iterator[Event]:
        """Follows the changes, from where a token was if one is given.

        Ends when the sidecar ends the stream; raises `Unreachable` when it broke, and `DeadlineExceeded` when nothing, not even
        a heartbeat, came for `silence` seconds. Whoever comes back with the last event's position misses nothing, or is told so.
        """
        connection = _Connection.open(self.address, self._timeout)
        try:
            connection.send(self._requests.events(since))
            stream = EventStream()
            while not stream.is_over:
                data = connection.receive(monotonic() + silence, silence)
                if not data:
                    raise Unreachable(f"{self.address}: the stream of events broke")
                yield from stream.feed(data)
        finally:
            connection.close()

    def close(self) -> None:
        """Closes the idle connections. The client may be used again."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _exchange(self, request: bytes, timeout: float | None) -> Response:
        if timeout is None:
            timeout = self._timeout
        deadline = monotonic() + timeout
        try:
            connection = self._idle.pop()
        except IndexError:
            connection = _Connection.open(self.address, timeout)
        else:
            try:
                return self._ask(connection, request, deadline, timeout)
            except _StaleError:
                # The server closed it while nobody looked, and the others as well, most likely. All requests are reads.
                self.close()
                connection = _Connection.open(self.address, _left(deadline, timeout))
        try:
            return self._ask(connection, request, deadline, timeout)
        except _StaleError as error:
            raise Unreachable(f"{self.address}: the connection was closed before the answer") from error

    def _ask(self, connection: _Connection, request: bytes, deadline: float, timeout: float) -> Response:
        try:
            response = connection.ask(request, deadline, timeout)
        except BaseException:
            connection.close()
            raise
        if response.is_last or len(self._idle) >= IDLE_CONNECTIONS_MAX:
            connection.close()
        else:
            self._idle.append(connection)
        return response

    def _forget(self) -> None:
        """In a forked child: the connections are the parent's."""
        self._idle = []


class Session:
    """What one caller sees: never less than it has seen before, and always its own writes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._freshness = Freshness()

    @property
    def token(self) -> str | None:
        """The newest state that this session has seen; another session or process can go on from it."""
        return self._freshness.token

    def read(self, read: Read[T], *, timeout: float | None = None) -> T:
        """As `Client.read`."""
        return self.answer(read, timeout=timeout).value

    def answer(self, read: Read[T], *, timeout: float | None = None, known: Answer[T] | None = None) -> Answer[T]:
        """As `Client.answer`."""
        freshness = self._freshness
        answer = self._client.answer(read, level=freshness.level, timeout=timeout, known=known)
        freshness.seen(answer.position)
        return answer

    def batch(
        self, reads: Sequence[Read[Any]], *, etags: Sequence[str | None] | None = None, timeout: float | None = None
    ) -> Batch:
        """As `Client.batch`."""
        freshness = self._freshness
        batch = self._client.batch(reads, etags=etags, level=freshness.level, timeout=timeout)
        freshness.seen(batch.position)
        return batch

    def write(self, write: Write[T], was: Answer[T] | str | None, *, timeout: float | None = None) -> Answer[T]:
        """As `Client.write`; this session reads it from then on."""
        fence = self._freshness.wrote()
        answer = self._client.write(write, was, timeout=timeout)
        if answer.position:
            self._freshness.fenced(answer.position, fence)
        return answer

    def wrote(self, *, timeout: float | None = None) -> None:
        """Tells that something was committed: takes a fence. Until one is answered, reads are fully consistent."""
        fence = self._freshness.wrote()
        self._freshness.fenced(self._client.position(timeout=timeout), fence)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Surrounds a write, from before its begin to after its commit; also one that may or may not have happened."""
        self._freshness.wrote()
        try:
            yield
        finally:
            fence = self._freshness.wrote()
            try:
                self._freshness.fenced(self._client.position(), fence)
            except NeverstaleError:
                # The write is done, and reads are fully consistent from here on.
                pass


class _StaleError(Exception):
    """A kept connection turned out to be closed, before any byte of an answer."""


class _Connection:
    """One connection, used by one request at a time."""

    __slots__ = ("_receive", "_responses", "_send", "_socket", "_timeout")

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._send: Callable[[bytes], int] = connected.send
        self._receive: Callable[[int], bytes] = connected.recv
        self._responses = Responses()
        self._timeout = 0.0

    @classmethod
    def open(cls, address: Address, timeout: float) -> _Connection:
        try:
            if address.socket is not None:
                connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                try:
                    connected.settimeout(timeout)
                    connected.connect(address.socket)
                except BaseException:
                    connected.close()
                    raise
            else:
                connected = socket.create_connection((address.host, address.port), timeout)
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connected.settimeout(None)
        except TimeoutError as error:
            raise deadline_exceeded(timeout) from error
        except OSError as error:
            raise Unreachable(f"{address}: {error.strerror or error}") from error
        return cls(connected)

    def ask(self, request: bytes, deadline: float, timeout: float) -> Response:
        """Sends and receives until the answer is whole. Whoever gets an exception closes the connection."""
        if timeout != self._timeout:
            self._limit(timeout)
        responses = self._responses
        try:
            self.send(request)
            data = self._receive(_RECEIVE_BYTES)
            while data:
                response = responses.feed(data)
                if response is not None:
                    return response
                data = self.receive(deadline, timeout)
        except NeverstaleError:
            raise
        except BlockingIOError as error:
            raise deadline_exceeded(timeout) from error
        except (BrokenPipeError, ConnectionResetError) as error:
            if not responses.has_begun:
                raise _StaleError from error
            raise Unreachable("the connection broke within the answer") from error
        except OSError as error:
            raise Unreachable(str(error)) from error
        if responses.has_begun:
            raise Unreachable("the connection was closed within the answer")
        raise _StaleError

    def send(self, request: bytes) -> None:
        sent = self._send(request)
        while sent < len(request):
            sent += self._send(request[sent:])

    def receive(self, deadline: float, timeout: float) -> bytes:
        """Receives with what is left of the time."""
        self._limit(_left(deadline, timeout))
        try:
            return self._receive(_RECEIVE_BYTES)
        except BlockingIOError as error:
            raise deadline_exceeded(timeout) from error

    def close(self) -> None:
        self._socket.close()

    def _limit(self, seconds: float) -> None:
        whole, micros = divmod(max(1, int(seconds * 1_000_000)), 1_000_000)
        limit = struct.pack("@ll", whole, micros)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self._timeout = seconds


def _left(deadline: float, timeout: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise deadline_exceeded(timeout)
    return left


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _forget_all() -> None:
    for client in list(_clients):
        client._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
