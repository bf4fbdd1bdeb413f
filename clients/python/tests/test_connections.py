"""Connections: kept, shared, found closed, cancelled, bounded, forked; with the real sidecar going away and coming back."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

import neverstale
import pytest
from askers import Asker
from conftest import House
from neverstale import Client, reads
from neverstale.blocking import IDLE_CONNECTIONS_MAX


def test_a_restarted_sidecar_costs_no_request(kind: str, own: House) -> None:
    for url in (own.sidecar.url, own.sidecar.socket_url):
        with Asker(kind, url) as asker:
            for _ in range(3):
                assert asker.read(reads.user("u1"))["id"] == "u1"
                own.sidecar.stop()
                own.sidecar.start()


def test_a_sidecar_that_is_away_is_unreachable_and_nothing_else(kind: str, own: House) -> None:
    urls = (own.sidecar.url, own.sidecar.socket_url)
    for url in urls:
        with Asker(kind, url) as asker:
            asker.read(reads.user("u1"))
            own.sidecar.stop()
            for ask in (asker.position, lambda asker=asker: asker.read(reads.user("u1"))):
                with pytest.raises(neverstale.Unreachable):
                    ask()
            with pytest.raises(neverstale.Unreachable):
                next(asker.events())
            own.sidecar.start()
            assert asker.read(reads.user("u1"))["id"] == "u1"


def test_without_its_database_nothing_old_is_answered_and_the_problem_says_so(own: House) -> None:
    own.postgres.execute("postgres", f"ALTER DATABASE {own.database} ALLOW_CONNECTIONS false")
    try:
        own.postgres.execute(
            "postgres", f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{own.database}'"
        )
        with Asker("blocking", own.sidecar.url) as asker, pytest.raises(neverstale.ProblemError) as refused:
            while True:
                # A lease may cover it for some milliseconds.
                asker.read(reads.user("u1"))
        assert isinstance(refused.value, neverstale.Unavailable | neverstale.DeadlineExceeded)
        if isinstance(refused.value, neverstale.Unavailable):
            assert refused.value.problem.retry_after_seconds == 1
    finally:
        own.postgres.execute("postgres", f"ALTER DATABASE {own.database} ALLOW_CONNECTIONS true")


def test_a_deadline_is_kept_by_the_sidecar_too(asker: Asker) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        asker.read(reads.user("u1"), timeout=0)
    assert asker.read(reads.user("u1"), timeout=3.5)["id"] == "u1"


def test_threads_share_a_client(shared: House) -> None:
    wrong: list[object] = []
    with Client(shared.sidecar.socket_url) as client:

        def ask(number: int) -> None:
            for _ in range(50):
                user = client.read(reads.user(f"u{number}"))
                if user["id"] != f"u{number}":
                    wrong.append(user)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(10, 22)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert 1 <= len(client._idle) <= min(len(threads), IDLE_CONNECTIONS_MAX)


def test_a_forked_child_has_connections_of_its_own(shared: House) -> None:
    with Client(shared.sidecar.socket_url) as client:
        client.read(reads.user("u1"))
        kept = client._idle[0]
        child = os.fork()
        if child == 0:
            is_right = client._idle == [] and client.read(reads.user("u2"))["id"] == "u2"
            os._exit(0 if is_right else 1)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert client._idle == [kept]
        assert client.read(reads.user("u1"))["id"] == "u1"


@pytest.fixture(params=["asyncio", "uvloop"])
def loop_kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_a_thousand_tasks_share_few_connections_and_get_their_own_answers(loop_kind: str, shared: House) -> None:
    async def work(client: Any) -> tuple[int, int]:
        async def ask(number: int) -> bool:
            user = await client.read(reads.user(f"u{number % 50 + 1}"), timeout=30)
            return bool(user["id"] == f"u{number % 50 + 1}")

        right = await asyncio.gather(*(ask(number) for number in range(1000)))
        return sum(right), len(client._pool()._connections)

    with Asker(loop_kind, shared.sidecar.socket_url, connections_max=5) as asker:
        assert asker.run(work) == (1000, 5)


def test_cancelled_requests_neither_leak_nor_mix_up_answers(loop_kind: str, shared: House) -> None:
    async def work(client: Any) -> int:
        for number in range(200):
            tasks = [asyncio.ensure_future(client.read(reads.user(f"u{one}"))) for one in range(1, 9)]
            for _ in range(number % 5):
                await asyncio.sleep(0)
            for task in tasks[::2]:
                task.cancel()
            done = await asyncio.gather(*tasks, return_exceptions=True)
            for place, answer in enumerate(done):
                if isinstance(answer, BaseException):
                    assert isinstance(answer, asyncio.CancelledError) and place % 2 == 0
                else:
                    assert answer["id"] == f"u{place + 1}"
        pool = client._pool()
        assert len(pool.idle) == len(pool._connections) <= 3
        assert not any(not waiter.done() for waiter in pool._waiting)
        return pool._opening  # type: ignore[no-any-return]

    with Asker(loop_kind, shared.sidecar.socket_url, connections_max=3) as asker:
        assert asker.run(work) == 0


def test_each_event_loop_has_its_own_pool(shared: House) -> None:
    client = neverstale.AsyncClient(shared.sidecar.url)

    async def work() -> int:
        assert (await client.read(reads.user("u1")))["id"] == "u1"
        count = len(client._pools)
        await client.close()
        return count

    assert [asyncio.run(work()) for _ in range(3)] == [1, 1, 1]
    assert len(client._pools) == 0
