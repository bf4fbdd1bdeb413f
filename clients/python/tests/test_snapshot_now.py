"""The snapshot for functions that are no coroutines, as those of 0.6 and NAGA: the same promises, by a batch that blocks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest
from neverstale.openwebui import snapshot, transactions
from neverstale.openwebui.entries import UNTOLD, Entry
from neverstale.openwebui.snapshot import Plan, Snapshot, current, seen_now, told, told_now


class FakeSidecar:
    """Answers with how many batches there were, so that each answer tells of which state it is."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_away = False
        self.meanwhile: Callable[[], None] = lambda: None

    def entries_now(self, paths: Sequence[str]) -> list[Entry | None] | None:
        if self.is_away:
            return None
        self.batches.append(list(paths))
        state = len(self.batches)
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()
        return [Entry("", {"state": state}) for _ in paths]

    async def entries(self, paths: Sequence[str]) -> list[Entry | None] | None:
        answers = self.entries_now(paths)
        await asyncio.sleep(0)
        return answers


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> FakeSidecar:
    fake = FakeSidecar()
    monkeypatch.setattr(snapshot, "sidecar", lambda: fake)
    return fake


@contextmanager
def request(plan: Plan) -> Iterator[Snapshot]:
    opened = Snapshot(plan)
    token = current.set(opened)
    try:
        yield opened
    finally:
        opened.end()
        current.reset(token)


def state(name: str) -> Any:
    """The state of which a read is answered."""
    body = told_now(dict, f"/v1/views/v/{name}")
    return body if body is UNTOLD else body["state"]


def test_a_request_asks_once_for_what_the_last_one_needed(sidecar: FakeSidecar) -> None:
    plan = Plan()
    with request(plan):
        assert [state("a"), state("b"), state("a")] == [1, 2, 2]
    with request(plan):
        assert [state("a"), state("b"), state("a")] == [3, 3, 3]
    assert [len(batch) for batch in sidecar.batches] == [1, 2, 2]


def test_outside_of_requests_each_read_asks_for_itself(sidecar: FakeSidecar) -> None:
    assert [state("a"), state("a")] == [1, 2]
    with request(Plan()) as opened:
        assert [state("a"), state("a")] == [3, 3]
        opened.end()
        assert [state("a"), state("a")] == [4, 5]


def test_what_the_request_or_the_process_did_is_seen(sidecar: FakeSidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    with request(Plan()) as opened:
        assert state("a") == 1
        opened.move()
        assert state("a") == 2
        monkeypatch.setattr(transactions, "_commits", transactions.commits() + 1)
        assert [state("a"), state("a")] == [3, 3]


def test_threads_of_a_request_share_its_snapshot(sidecar: FakeSidecar) -> None:
    with request(Plan()):
        assert state("a") == 1
        found: list[Any] = []
        thread = threading.Thread(target=copy_context().run, args=(lambda: found.append(state("a")),))
        thread.start()
        thread.join()
        assert found == [1] and len(sidecar.batches) == 1


def test_what_was_asked_earlier_does_not_take_the_place_of_what_was_asked_later(sidecar: FakeSidecar) -> None:
    with request(Plan()):
        # While the first batch is under way another thread of the request asks, and is answered.
        sidecar.meanwhile = lambda: found.append(state("a"))
        found: list[Any] = []
        assert state("a") == 1 and found == [2]
        assert state("a") == 2


def test_coroutines_and_functions_share_it_too(sidecar: FakeSidecar) -> None:
    async def main() -> None:
        with request(Plan()):
            assert (await told(dict, "/v1/views/v/a"))["state"] == 1
            assert state("a") == 1
            earlier = asyncio.create_task(told(dict, "/v1/views/v/b"))
            await asyncio.sleep(0)
            assert state("c") == 3
            # It was asked before, and is not kept.
            assert (await earlier)["state"] == 2
            assert [state("a"), state("b")] == [3, 4]

    asyncio.run(main())


def test_where_the_sidecar_is_away_nothing_is_told_any_more(sidecar: FakeSidecar) -> None:
    with request(Plan()) as opened:
        assert state("a") == 1
        sidecar.is_away = True
        assert state("b") is UNTOLD and opened.is_over
        sidecar.is_away = False
        assert [state("a"), state("a")] == [2, 3]
    assert told_now(dict, None) is UNTOLD and seen_now(dict, None) is UNTOLD
