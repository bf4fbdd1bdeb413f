"""Saves through the sidecar: nothing is lost between two who save at once; and what is not surely saved, the caller saves himself."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import house
import pytest
from conftest import House
from neverstale import AsyncClient, Client, writes
from neverstale.openwebui import saves, transactions
from neverstale.openwebui.documents import ABSENT
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.saves import Place, Saves
from test_broken_servers import Server, server

ROUNDS = 60
PATIENCE_SECONDS = 30.0
"""What is tested is not how fast this machine is."""


class Saver:
    """Saves in both ways with the same face."""

    def __init__(self, kind: str, url: str, timeout: float = PATIENCE_SECONDS) -> None:
        self._kind = kind
        self.saves = Saves(AsyncClient(url, timeout=timeout), Client(url, timeout=timeout))

    def save(self, place: Place, change: Callable[[Any], Any]) -> Any:
        if self._kind == "blocking":
            with self.saves._blocking:
                return self.saves.save_now(place, change)

        async def saved() -> Any:
            async with self.saves._client:
                return await self.saves.save(place, change)

        return asyncio.run(saved())


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saves, "READ_SECONDS", PATIENCE_SECONDS)


@pytest.fixture(params=["blocking", "asyncio"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def added(name: str, value: int) -> Callable[[Any], Any]:
    return lambda now: {**({} if now is ABSENT else now), name: value}


def count(shared: House, path: str) -> Any:
    with Client(shared.sidecar.socket_url) as client:
        return client.read(saves.config(path).read)["value"]


def test_of_two_who_save_at_once_neither_loses_anything(way: str, shared: House) -> None:
    path = f"saves.{way}"
    savers = [Saver(way, shared.sidecar.socket_url) for _ in range(2)]
    with ThreadPoolExecutor(2) as threads:
        for value in range(ROUNDS):
            works = [threads.submit(savers[n].save, saves.config(path), added("ab"[n], value)) for n in range(2)]
            assert all(work.result()["ab"[n]] == value for n, work in enumerate(works))
            assert count(shared, path) == {"a": value, "b": value}


def test_without_a_condition_something_is_lost(shared: House) -> None:
    """What the test above guards against."""
    path, lost, begin = "saves.lost", 0, threading.Barrier(2)
    shared.execute(f"""INSERT INTO config (key, value, updated_at) VALUES ('{path}', '{{"a": 0, "b": 0}}', 1)""")

    def save(name: str, value: int) -> None:
        with Client(shared.sidecar.socket_url) as client:
            now = client.read(saves.config(path).read)["value"]
            begin.wait()
            client.write(writes.config(path, {**now, name: value}), writes.ANYTHING)

    with ThreadPoolExecutor(2) as threads:
        for value in range(1, 10):
            for work in [threads.submit(save, name, value) for name in "ab"]:
                work.result()
            lost += count(shared, path) != {"a": value, "b": value}
    assert lost


def test_what_is_there_already_is_not_written(way: str, shared: House) -> None:
    saver, place = Saver(way, shared.sidecar.socket_url), saves.config(f"saves.same.{way}")
    assert saver.save(place, lambda now: 1) == 1
    commits = transactions.commits()
    assert saver.save(place, lambda now: 1) == 1
    assert transactions.commits() == commits
    assert saver.save(place, lambda now: now + 1) == 2
    # Whoever reads in this process asks anew.
    assert transactions.commits() > commits


def test_what_refuses_the_change_is_raised_and_nothing_is_written(way: str, shared: House) -> None:
    saver, place = Saver(way, shared.sidecar.socket_url), saves.config("rag.top_k")

    def refuse(now: Any) -> Any:
        raise RuntimeError(now)

    with pytest.raises(RuntimeError, match="7"):
        saver.save(place, refuse)


@pytest.fixture(scope="module")
def writes_nothing(postgres: house.Postgres, redis_url: str) -> Iterator[house.Sidecar]:
    database = postgres.database()
    try:
        with house.sidecar(postgres.url(database), {"REDIS_URL": redis_url}) as sidecar:
            yield sidecar
    finally:
        postgres.drop(database)


def test_where_writes_are_off_or_nobody_answers_the_caller_saves_at_once(
    way: str, writes_nothing: house.Sidecar
) -> None:
    saver = Saver(way, writes_nothing.socket_url)
    asked = []

    def change(now: Any) -> int:
        asked.append(now)
        return 1

    for _ in range(3):
        assert saver.save(saves.config("rag.top_k"), change) is UNTOLD
    # It is not asked again for a while.
    assert len(asked) == 1
    begun = time.monotonic()
    assert Saver(way, "http://127.0.0.1:1").save(saves.config("rag.top_k"), change) is UNTOLD
    assert time.monotonic() - begun < saves.TIMEOUT_SECONDS


def test_a_user_who_is_not_there_is_left_to_the_caller(way: str, shared: House) -> None:
    saver = Saver(way, shared.sidecar.socket_url)
    assert saver.save(saves.user_setting("nobody", "ui"), lambda now: {}) is UNTOLD
    # And nobody rests for that.
    assert saver.save(saves.user_setting("u40", "ui"), lambda now: {"a": 1}) == {"a": 1}


def test_after_an_unknown_outcome_the_caller_waits_until_the_write_is_over(way: str) -> None:
    body = json.dumps({"path": "k", "value": 1}).encode()

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(b'HTTP/1.1 200 OK\r\netag: "1"\r\ncontent-length: %d\r\n\r\n' % len(body) + body)
        # The write breaks without an answer.
        server.request(connection)

    with server(play) as broken:
        saver = Saver(way, broken.url, timeout=saves.TIMEOUT_SECONDS)
        begun, commits = time.monotonic(), transactions.commits()
        assert saver.save(saves.config("k"), lambda now: 2) is UNTOLD
        assert time.monotonic() - begun >= saves.SETTLED_SECONDS > saves.TIMEOUT_SECONDS
        # It may be written, so what was read is not to be believed any more.
        assert transactions.commits() > commits
        sent = [request for request in broken.requests if request.startswith(b"PATCH")]
        assert len(sent) <= 1
