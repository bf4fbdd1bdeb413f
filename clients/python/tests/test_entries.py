"""What is made of an answer: one function may serve those who get an object of their own and those who share one."""

from __future__ import annotations

from typing import Any

from neverstale.openwebui.entries import Entry


def test_a_function_may_serve_both_ways() -> None:
    def make(body: Any) -> list[int]:
        return list(body)

    entry = Entry("etag", (1, 2))
    own = entry.fresh(make)
    own.append(3)
    assert entry.shared(make) == [1, 2] and entry.shared(make) is entry.shared(make)
    assert entry.fresh(make) == [1, 2]
