"""The sidecar is killed and started again under load, and no request of the application fails because of it."""

from __future__ import annotations

import itertools
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from api import Api
from people import People, Town
from stage import Stage

CALLERS = 6
KILLS = 3
REQUESTS_BETWEEN = 60
"""So many requests are answered before the sidecar is killed, while it is away, and after it is back."""
ANSWERS_MAX = 20_000

_COMPLETION = {"model": "m0", "stream": False, "messages": [{"role": "user", "content": "hi"}]}


class Load:
    """Callers that ask without a pause, until they are told to stop."""

    def __init__(self, port: int, people: People) -> None:
        self._port = port
        self._people = people
        self._is_over = False
        self._answered = threading.Condition()
        self.answers = 0
        self.refused: list[str] = []

    def run(self, number: int) -> None:
        person = self._people.users[number % len(self._people.users)]
        calls: list[tuple[str, str, Any]] = [("GET", "/api/v1/users/user/settings", None), ("GET", "/api/models", None)]
        calls += [("GET", "/api/v1/chats/?page=1", None), ("POST", "/api/chat/completions", _COMPLETION)]
        with Api(self._port, person["api_key"] if number % 2 else person["token"]) as api:
            for method, path, body in itertools.cycle(calls):
                if self._is_over:
                    return
                try:
                    reply = api.ask(method, path, body)
                    problem = None if reply.status == 200 else f"{method} {path}: {reply.status} {reply.body}"
                except OSError as error:
                    problem = f"{method} {path}: {error!r}"
                with self._answered:
                    self.answers += 1
                    if problem:
                        self.refused.append(problem)
                    self._answered.notify_all()

    def wait(self, requests: int) -> None:
        """Waits for so many answers more."""
        assert self.answers < ANSWERS_MAX, "the sidecar is not asked again"
        with self._answered:
            goal = self.answers + requests
            assert self._answered.wait_for(lambda: self.answers >= goal, 120), "the load stands still"

    def stop(self) -> None:
        self._is_over = True


def test_no_request_fails_while_the_sidecar_is_killed_and_comes_back(empty: Stage) -> None:
    replica = empty.put(attached=True)
    replica.wait()
    assert replica.sidecar is not None
    with Api(replica.port) as api:
        town = Town(api, is_old=empty.is_old)
        people = town.settle(users=4)
        town.model("m0")
        api.get("/api/models")
    load = Load(replica.port, people)
    with ThreadPoolExecutor(CALLERS) as callers:
        runs = [callers.submit(load.run, number) for number in range(CALLERS)]
        try:
            load.wait(REQUESTS_BETWEEN)
            for _ in range(KILLS):
                replica.sidecar.stop()
                load.wait(REQUESTS_BETWEEN)
                replica.sidecar.start()
                load.wait(REQUESTS_BETWEEN)
                while not replica.sidecar.reads():
                    # Until it is asked again: the adapter leaves it alone for a second.
                    load.wait(1)
        finally:
            load.stop()
    for run in runs:
        run.result()
    assert not load.refused, load.refused[:5]
