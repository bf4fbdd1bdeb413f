"""What one session has seen, so that none of its reads goes behind that or behind its own writes.

A token that came with an ordinary answer is not enough after a write of one's own: the sidecar may give an answer about other
things from a state before the write, rightly, and names that state. So a write is followed by a fence, and until the fence is
answered every read is fully consistent.
"""

from __future__ import annotations

from neverstale.levels import Level, at_least_as_fresh


class Freshness:
    """The newest token of a session. Decides, and does nothing else."""

    __slots__ = ("_fences", "_level", "_token")

    def __init__(self) -> None:
        self._token: str | None = None
        self._level: Level | None = None
        # Fences that were begun; counts generations, so that an answer asked before a write is known as such.
        self._fences = 0

    @property
    def token(self) -> str | None:
        """The newest state seen; none before the first answer, and while a fence after a write is under way or has failed."""
        return self._token

    @property
    def level(self) -> Level | None:
        """The level for the next read; none is fully consistent, the default."""
        return self._level

    @property
    def generation(self) -> int:
        """Goes with a read, and comes back with its answer."""
        return self._fences

    def wrote(self) -> int:
        """Begins a fence, because something was written; gives its generation."""
        self._fences += 1
        self._token = self._level = None
        return self._fences

    def fenced(self, token: str, generation: int) -> None:
        """Ends a fence, unless something was written since."""
        if generation == self._fences:
            self._keep(token)

    def seen(self, token: str, generation: int) -> None:
        """Takes the token of an answer."""
        if generation != self._fences:
            return
        if self._token is None:
            # Before any write the first answer begins the session; after one only the fence does.
            if self._fences == 0 and token:
                self._keep(token)
        elif token != self._token and _is_newer(token, self._token):
            self._keep(token)

    def _keep(self, token: str) -> None:
        self._token, self._level = token, at_least_as_fresh(token)


def _is_newer(token: str, than: str) -> bool:
    """Answers may come in another order than they were asked for.

    Of another database it is the newer one: if that is wrong, the sidecar sees that and answers fully consistently.
    """
    database, _, position = token.rpartition("-")
    other_database, _, other_position = than.rpartition("-")
    return database != other_database or (len(position), position) > (len(other_position), other_position)
