"""What the walks have in common: they run in the application's process, each with the application that it is about."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

statements: list[str] = []
"""What the application has sent to Postgres."""


def counted(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
    """Listens to `before_cursor_execute` of an engine."""
    statements.append(statement)


def please(word: str) -> None:
    """Has the test do something, and waits until it is done."""
    print(word, flush=True)
    assert sys.stdin.readline().strip() == "done"


class Comparison:
    """Holds answers against the application's own; `plain` leaves out what need not be equal."""

    def __init__(self, plain: Callable[[Any], Any]) -> None:
        self._plain = plain
        self.compared = 0

    def same(self, ours: Any, theirs: Any, *asked: Any) -> None:
        self.compared += 1
        assert ours == theirs and type(ours) is type(theirs), (asked, ours, theirs)

    def own(self, table: Any, name: str, *asked: Any) -> None:
        """Asks the function that was taken over, and the one that the table's class still has."""
        ours, theirs = getattr(table, name)(*asked), getattr(type(table), name)(table, *asked)
        self.same(self._plain(ours), self._plain(theirs), name, *asked)
