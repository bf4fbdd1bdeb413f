"""L0: answers as this process holds them, decoded, with what was made of them.

An entry is never an answer by itself. Its ETag goes with each question, and only the sidecar's 304 to that question makes it
one; so an entry may be as old as it likes, and evicting one costs time only.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

ENTRIES_MAX = 8192
"""More than this are evicted, the least recently asked for first."""


class Untold:
    """The type of `UNTOLD`."""

    def __repr__(self) -> str:
        return "UNTOLD"


UNTOLD: Final = Untold()
"""Said instead of a value where Postgres is to be asked as before."""


class Entry:
    """One answer, and what takers have made of it; `body` is none where there is no such thing."""

    __slots__ = ("_pickled", "_shared", "body", "etag")

    def __init__(self, etag: str, body: Any) -> None:
        self.etag = etag
        self.body = body
        # By the function that made it: the other entries it was made with, and the value. One function may serve both ways.
        self._pickled: dict[Callable[..., Any], tuple[tuple[Entry, ...], bytes]] = {}
        self._shared: dict[Callable[..., Any], tuple[tuple[Entry, ...], Any]] = {}

    def fresh(self, make: Callable[..., Any], others: tuple[Entry, ...] = ()) -> Any:
        """What `make` makes of this body and the others', as an object that is the caller's own."""
        made = self._pickled.get(make)
        if made is None or made[0] != others:
            value = self._make(make, others)
            if value is UNTOLD:
                return UNTOLD
            made = self._pickled[make] = (others, pickle.dumps(value, pickle.HIGHEST_PROTOCOL))
        return pickle.loads(made[1])

    def shared(self, make: Callable[..., Any], others: tuple[Entry, ...] = ()) -> Any:
        """The same, as one object for all: nobody may change it or hand it on."""
        made = self._shared.get(make)
        if made is None or made[0] != others:
            value = self._make(make, others)
            if value is UNTOLD:
                return UNTOLD
            made = self._shared[make] = (others, value)
        return made[1]

    def _make(self, make: Callable[..., Any], others: tuple[Entry, ...]) -> Any:
        try:
            return make(self.body, *(other.body for other in others))
        except Exception:
            # A row that the application's types refuse: its own function shall say so, as it always did.
            return UNTOLD


class Entries:
    """The entries of a process, by path."""

    def __init__(self, entries_max: int = ENTRIES_MAX) -> None:
        self._entries_max = entries_max
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def get(self, path: str) -> Entry | None:
        entry = self._entries.get(path)
        if entry is not None:
            try:
                self._entries.move_to_end(path)
            except KeyError:
                # Another thread has evicted it just now.
                pass
        return entry

    def put(self, path: str, entry: Entry) -> None:
        self._entries[path] = entry
        self._entries.move_to_end(path)
        while len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
