"""What one request of the application reads: in one batch, of one state, and never older than what the request did before."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from neverstale.openwebui import snapshot, transactions
from neverstale.openwebui.entries import UNTOLD, Entries, Entry
from neverstale.openwebui.middleware import Middleware, _shape
from neverstale.openwebui.snapshot import path, told, told_each


class FakeSidecar:
    """Answers with how many batches there were, so that each answer tells of which state it is."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.is_away = False
        self.untold: set[str] = set()

    async def entries(self, paths: Sequence[str]) -> list[Entry | None] | None:
        if self.is_away:
            return None
        self.batches.append(list(paths))
        state = len(self.batches)
        await asyncio.sleep(0)
        return [None if path in self.untold else Entry("", {"state": state}) for path in paths]


Work = Callable[[Callable[[], Awaitable[None]]], Awaitable[Any]]


class Requests:
    """The middleware around whatever a test does in a request."""

    def __init__(self) -> None:
        self._work: Work | None = None
        self._middleware = Middleware(self._app)

    async def run(self, work: Work, path: str = "/api/models", token: bytes = b"Bearer one") -> None:
        self._work = work
        scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"authorization", token)]}

        async def send(message: Any) -> None:
            pass

        async def receive() -> Any:
            return {}

        await self._middleware(scope, receive, send)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        assert self._work is not None
        await self._work(lambda: send({"type": "http.response.start"}))


@pytest.fixture
def sidecar(monkeypatch: pytest.MonkeyPatch) -> FakeSidecar:
    fake = FakeSidecar()
    monkeypatch.setattr(snapshot, "sidecar", lambda: fake)
    return fake


async def state(name: str) -> Any:
    """The state of which a read is answered."""
    body = await told(dict, f"/v1/views/v/{name}")
    return body if body is UNTOLD else body["state"]


async def a_and_b(begin: Callable[[], Awaitable[None]]) -> None:
    await state("a")
    await state("b")


def run(main: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(main())  # type: ignore[arg-type]


def test_a_request_asks_once_for_what_the_last_one_needed(sidecar: FakeSidecar) -> None:
    async def main() -> None:
        requests = Requests()
        await requests.run(a_and_b)
        assert [len(batch) for batch in sidecar.batches] == [1, 2]
        await requests.run(a_and_b)
        assert [len(batch) for batch in sidecar.batches] == [1, 2, 2]
        # Another caller, another route: nothing is foreseen.
        await requests.run(a_and_b, token=b"Bearer two")
        await requests.run(a_and_b, path="/api/config")
        assert [len(batch) for batch in sidecar.batches[3:]] == [1, 2, 1, 2]

    run(main)


def test_all_answers_are_of_one_state_also_with_one_that_was_not_foreseen(sidecar: FakeSidecar) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert [await state("a"), await state("b"), await state("a")] == [1, 2, 2]
        both = await told_each(dict, ["/v1/views/v/a", "/v1/views/v/c"])
        assert both == [{"state": 3}, {"state": 3}]

    run(lambda: Requests().run(work))


def test_the_snapshot_moves_with_the_request_s_own_statements(sidecar: FakeSidecar) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert [await state("a"), await state("a")] == [1, 1]
        found = snapshot.current.get()
        assert found is not None
        found.move()
        assert [await state("a"), await state("a")] == [2, 2]

    run(lambda: Requests().run(work))


def test_what_was_asked_before_a_statement_is_not_kept_after_it(sidecar: FakeSidecar) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        asked = asyncio.create_task(state("a"))
        await asyncio.sleep(0)
        found = snapshot.current.get()
        assert found is not None and len(sidecar.batches) == 1
        found.move()
        assert await asked == 1
        assert await state("a") == 2

    run(lambda: Requests().run(work))


def test_a_commit_of_this_process_ends_every_snapshot(sidecar: FakeSidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert [await state("a"), await state("a")] == [1, 1]
        monkeypatch.setattr(transactions, "_commits", transactions.commits() + 1)
        assert [await state("a"), await state("a")] == [2, 2]

    run(lambda: Requests().run(work))


def test_a_snapshot_serves_for_a_second(sidecar: FakeSidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(snapshot, "monotonic", lambda: now)

    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        nonlocal now
        assert await state("a") == 1
        now += snapshot.AGE_SECONDS_MAX - 0.01
        assert await state("a") == 1
        now += 0.02
        assert await state("a") == 2

    run(lambda: Requests().run(work))


def test_it_ends_when_the_response_begins(sidecar: FakeSidecar) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert [await state("a"), await state("a")] == [1, 1]
        await begin()
        # What streams on, and background tasks.
        assert [await state("a"), await state("a")] == [2, 3]

    run(lambda: Requests().run(work))


def test_a_task_that_outlives_its_request_asks_for_itself(sidecar: FakeSidecar) -> None:
    async def main() -> None:
        is_over, states = asyncio.Event(), []

        async def later() -> None:
            await is_over.wait()
            states.extend([await state("a"), await state("a")])

        async def work(begin: Callable[[], Awaitable[None]]) -> None:
            await state("a")
            tasks.append(asyncio.create_task(later()))

        tasks: list[asyncio.Task[None]] = []
        await Requests().run(work)
        is_over.set()
        await tasks[0]
        assert states == [2, 3]
        # And so does everything outside of requests.
        assert [await state("a"), await state("a")] == [4, 5]

    run(main)


def test_two_tasks_of_a_request_ask_once(sidecar: FakeSidecar) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert list(await asyncio.gather(state("a"), state("a"))) == [1, 1]
        assert list(await asyncio.gather(state("b"), state("c"))) == [2, 3]
        assert await state("b") == 3

    run(lambda: Requests().run(work))


def test_a_thread_with_an_event_loop_of_its_own_asks_for_itself(sidecar: FakeSidecar) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert await state("a") == 1
        assert await asyncio.to_thread(lambda: asyncio.run(state("b"))) == 2
        assert await state("a") == 1

    run(lambda: Requests().run(work))


def test_what_is_not_used_is_not_foreseen_for_long(sidecar: FakeSidecar) -> None:
    async def main() -> None:
        requests = Requests()
        await requests.run(a_and_b)

        async def only_a(begin: Callable[[], Awaitable[None]]) -> None:
            await state("a")

        for _ in range(snapshot.IDLE_REQUESTS_MAX):
            await requests.run(only_a)
            assert len(sidecar.batches[-1]) == 2
        await requests.run(only_a)
        assert sidecar.batches[-1] == ["/v1/views/v/a"]

    run(main)


def test_without_the_sidecar_postgres_answers_to_the_end_of_the_request(sidecar: FakeSidecar) -> None:
    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert await state("a") == 1
        sidecar.is_away = True
        assert await state("b") is UNTOLD
        # Older than what Postgres has said by now.
        assert await state("a") is UNTOLD

    run(lambda: Requests().run(work))


def test_what_is_not_told_is_left_to_postgres_and_asked_once(sidecar: FakeSidecar) -> None:
    sidecar.untold.add("/v1/views/v/a")

    async def work(begin: Callable[[], Awaitable[None]]) -> None:
        assert [await state("a"), await state("a")] == [UNTOLD, UNTOLD]
        assert await told_each(dict, ["/v1/views/v/a"]) is None
        assert len(sidecar.batches) == 1
        assert await told(dict, None) is UNTOLD

    run(lambda: Requests().run(work))


def test_values_are_fresh_and_made_once() -> None:
    made = []

    def make(body: Any, other: Any = None) -> Any:
        made.append(body)
        if body == "refused":
            raise ValueError(body)
        return {"list": list(body), "other": other}

    entry, one, two = Entry("", "ab"), Entry("", 1), Entry("", 2)
    first = entry.fresh(make)
    first["list"].append("c")
    assert entry.fresh(make) == {"list": ["a", "b"], "other": None} and made == ["ab"]
    assert [entry.fresh(make, (other,))["other"] for other in (one, one, two)] == [1, 1, 2] and len(made) == 3
    assert entry.shared(len) == entry.shared(len) == 2
    assert Entry("", "refused").fresh(make) is UNTOLD
    assert Entry("", "refused").shared(make) is UNTOLD


def test_the_least_recently_asked_is_evicted() -> None:
    entries = Entries(2)
    for name in ("a", "b"):
        entries.put(name, Entry(name, None))
    assert entries.get("a") is not None
    entries.put("c", Entry("c", None))
    assert entries.get("b") is None and entries.get("a") is not None and entries.get("c") is not None


def test_paths_name_kinds_of_things() -> None:
    assert _shape("/api/v1/chats/e685a4bd-34d4-4c74-be9f-3eded08919ba/messages") == "/api/v1/chats/*/messages"
    assert _shape("/api/v1/auths/") == "/api/v1/auths/" and _shape("/api/models") == "/api/models"


@pytest.mark.parametrize("key", ["", "a\0b", "x" * 1025, "ü" * 513, None])
def test_what_no_row_can_have_is_not_asked_for(key: Any) -> None:
    assert path("app-user", key) is None
    assert path("app-user", "u 5/ä") == "/v1/views/app-user/u%205%2F%C3%A4"
