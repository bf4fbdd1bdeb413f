"""What one HTTP request of the application reads: one batch at one position instead of a read for each call.

The first read of a request asks for everything that this route and caller needed the last times, each with the ETag of what the
process holds; the reads after it are answered from that batch. A read that was not foreseen asks for everything again, itself
included: so whatever a request has from here is of one state, and that state only moves forward.

The promise: a read is never older than what the request did before it. A snapshot therefore ends, and the next read asks anew, when

* the request sent any statement of its own to Postgres, read or write (`move`);
* anybody in this process committed a change of something read here (`transactions.commits`);
* it is a second old (`AGE_SECONDS_MAX`); and
* for good when the response begins: background tasks, and what streams on, ask for each read by itself, as does
  everything outside of requests.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from contextvars import ContextVar
from functools import lru_cache
from time import monotonic
from typing import Any, TypeGuard
from urllib.parse import quote

from neverstale.openwebui import transactions
from neverstale.openwebui.entries import UNTOLD, Entry
from neverstale.openwebui.sidecar import READS_MAX, sidecar

AGE_SECONDS_MAX = 1.0
PLANS_MAX = 4096
PLAN_READS_MAX = 96
IDLE_REQUESTS_MAX = 3
"""A read that so many requests in a row had no use for is not foreseen any more."""

current: ContextVar[Snapshot | None] = ContextVar("neverstale_snapshot", default=None)
"""The snapshot of the request that runs here."""


# The sidecar's bounds.
_PATH_CHARS_MAX = 2048
_KEY_BYTES_MAX = 1024


@lru_cache(8192)
def path(view: str, key: str) -> str | None:
    """The path of a view's answer; none for a key that no row can have or that is too long to be asked for."""
    if not isinstance(key, str) or not key or "\0" in key or len(key.encode()) > _KEY_BYTES_MAX:
        return None
    path = f"/v1/views/{view}/{quote(key, safe='')}"
    return path if len(path) <= _PATH_CHARS_MAX else None


async def told(make: Callable[..., Any], *paths: str | None) -> Any:
    """What `make` makes of the answers, an object of the caller's own; `UNTOLD` where Postgres is to be asked."""
    entries = await _entries(paths)
    return UNTOLD if entries is None else entries[0].fresh(make, entries[1:])


async def held(*paths: str | None) -> tuple[Entry, ...] | None:
    """The answers themselves, whose bodies nobody may change or hand on; none where Postgres is to be asked."""
    return await _entries(paths)


async def seen(make: Callable[..., Any], *paths: str | None) -> Any:
    """The same, as one object for all callers: it may be looked at only."""
    entries = await _entries(paths)
    return UNTOLD if entries is None else entries[0].shared(make, entries[1:])


async def told_each(make: Callable[..., Any], paths: Sequence[str | None]) -> list[Any] | None:
    """What `make` makes of each answer, of one state; none where Postgres is to be asked."""
    entries = await _entries(tuple(dict.fromkeys(paths)))
    if entries is None:
        return None
    values = [entry.fresh(make) for entry in entries]
    return None if any(value is UNTOLD for value in values) else values


def told_now(make: Callable[..., Any], *paths: str | None) -> Any:
    """As `told`, for functions that are no coroutines: what is not at hand is asked for while everything else waits."""
    entries = _entries_now(paths)
    return UNTOLD if entries is None else entries[0].fresh(make, entries[1:])


def held_now(*paths: str | None) -> tuple[Entry, ...] | None:
    """As `held`, likewise."""
    return _entries_now(paths)


def seen_now(make: Callable[..., Any], *paths: str | None) -> Any:
    """As `seen`, likewise."""
    entries = _entries_now(paths)
    return UNTOLD if entries is None else entries[0].shared(make, entries[1:])


async def _entries(paths: tuple[str | None, ...]) -> tuple[Entry, ...] | None:
    if not _are_paths(paths):
        return None
    snapshot = current.get()
    if snapshot is None or snapshot.is_over:
        return _all(await sidecar().entries(paths))
    return snapshot.at_hand(paths) or await snapshot.entries(paths)


def _entries_now(paths: tuple[str | None, ...]) -> tuple[Entry, ...] | None:
    if not _are_paths(paths):
        return None
    snapshot = current.get()
    if snapshot is None or snapshot.is_over:
        return _all(sidecar().entries_now(paths))
    return snapshot.at_hand(paths) or snapshot.entries_now(paths)


def _are_paths(paths: tuple[str | None, ...]) -> TypeGuard[tuple[str, ...]]:
    return None not in paths


def _all(entries: Sequence[Entry | None] | None) -> tuple[Entry, ...] | None:
    if entries is None or None in entries:
        return None
    return tuple(entries)  # type: ignore[arg-type]


class Plan:
    """What the requests of one route and caller need. Only a guess: a wrong one costs time."""

    __slots__ = ("_idle",)

    def __init__(self) -> None:
        # By path: how many requests in a row had no use for it.
        self._idle: dict[str, int] = {}

    @property
    def paths(self) -> Iterable[str]:
        return self._idle

    def learn(self, used: dict[str, None]) -> None:
        """Takes what a request did use."""
        idle = self._idle
        for path in used:
            if path in idle or len(idle) < PLAN_READS_MAX:
                idle[path] = 0
        if len(idle) > len(used):
            for path in [path for path in idle if path not in used]:
                idle[path] += 1
                if idle[path] >= IDLE_REQUESTS_MAX:
                    del idle[path]


class Plans:
    """The plans of a process, by whatever tells routes and callers apart; the least recently used are evicted."""

    def __init__(self) -> None:
        self._plans: OrderedDict[int, Plan] = OrderedDict()

    def of(self, key: int) -> Plan:
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = Plan()
            if len(self._plans) > PLANS_MAX:
                self._plans.popitem(last=False)
        else:
            self._plans.move_to_end(key)
        return plan


class Snapshot:
    """The snapshot of one request."""

    __slots__ = ("_answers", "_commits", "_lock", "_loop", "_moves", "_plan", "_until", "_used", "given", "is_over")

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        # Those that are not told are none.
        self._answers: dict[str, Entry | None] = {}
        self._used: dict[str, None] = {}
        # What the answers rest on.
        self._commits = self._moves = 0
        self._until = 0.0
        self._lock: asyncio.Lock | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.given: dict[Hashable, list[Any]] = {}
        """What the application was given of what it may save, the first and the last (`edits`)."""
        self.is_over = False
        """Whether reads ask for themselves."""

    def at_hand(self, paths: tuple[str, ...]) -> tuple[Entry, ...] | None:
        """The answer to a single read, if it is here and still good."""
        if len(paths) != 1:
            return None
        entry = self._answers.get(paths[0])
        if entry is not None and self._is_good():
            self._used[paths[0]] = None
            return (entry,)
        return None

    async def entries(self, paths: tuple[str, ...]) -> tuple[Entry, ...] | None:
        """The answers to some reads, of one state; none where Postgres is to be asked."""
        loop = asyncio.get_running_loop()
        if self._lock is None:
            self._lock, self._loop = asyncio.Lock(), loop
        if self._loop is not loop:
            # A thread of the request's, with an event loop of its own.
            return _all(await sidecar().entries(paths))
        # Two tasks of one request ask one after the other, so that the second finds what the first got.
        async with self._lock:
            if self.is_over or not self._is_good() or any(path not in self._answers for path in paths):
                answers = await self._asked(paths)
            else:
                answers = self._answers
        if answers is None:
            return None
        self._used.update(dict.fromkeys(paths))
        return _all([answers[path] for path in paths])

    async def _asked(self, paths: tuple[str, ...]) -> dict[str, Entry | None] | None:
        """Asks for everything anew, and keeps it, unless the request went on meanwhile."""
        asked, begun = self._foreseen(paths), self._now()
        return self._kept(asked, await sidecar().entries(asked), begun)

    def entries_now(self, paths: tuple[str, ...]) -> tuple[Entry, ...] | None:
        """As `entries`, for functions that are no coroutines."""
        answers = self._answers
        if not self._is_good() or any(path not in answers for path in paths):
            asked, begun = self._foreseen(paths), self._now()
            kept = self._kept(asked, sidecar().entries_now(asked), begun)
            if kept is None:
                return None
            answers = kept
        self._used.update(dict.fromkeys(paths))
        return _all([answers[path] for path in paths])

    def _foreseen(self, paths: tuple[str, ...]) -> list[str]:
        foreseen = dict.fromkeys((*paths, *self._used, *self._plan.paths))
        return list(foreseen)[: max(len(paths), READS_MAX)]

    def _now(self) -> tuple[int, int, float]:
        return transactions.commits(), self._moves, monotonic()

    def _kept(
        self, asked: list[str], entries: list[Entry | None] | None, begun: tuple[int, int, float]
    ) -> dict[str, Entry | None] | None:
        if entries is None:
            # From here on Postgres answers, and nothing older than what it says.
            self.end()
            return None
        answers = dict(zip(asked, entries, strict=True))
        commits, moves, now = begun
        if moves == self._moves and not self.is_over:
            # One that began before this and comes after it, from another thread, must not take its place.
            self._moves += 1
            self._answers, self._commits, self._until = answers, commits, now + AGE_SECONDS_MAX
        return answers

    def _is_good(self) -> bool:
        return self._commits == transactions.commits() and monotonic() < self._until

    def move(self) -> None:
        """Forgets the answers: the request has seen, or done, something newer."""
        self._moves += 1
        self._until = 0.0

    def end(self) -> None:
        """Ends the snapshot for good."""
        if not self.is_over:
            self.is_over = True
            self._answers = {}
            if self._used:
                self._plan.learn(self._used)
