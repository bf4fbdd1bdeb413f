"""What a round trip costs, beside what one would use instead, in one run on one machine.

    NEVERSTALE_BIN=target/release/neverstale python benches/round_trip.py

Each contender asks for the same user a few hundred times in a row; contenders take turns, and turns are repeated, so that whatever
else the machine does disturbs all alike. What is told is the median of each turn's p50, its spread over turns, and the ratio to
this client on the same event loop. Ours decode the JSON, as users do; so do httpx and aiohttp; asyncpg fetches the row by its
primary key from the same database, redis-py GETs the same JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import aiohttp
import asyncpg
import httpx
import redis
import redis.asyncio
import uvloop

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import house
from neverstale import AsyncClient, Client, reads

SQL = 'SELECT id, email, name, role, username, created_at FROM "user" WHERE id = $1'
BARS_MICROS = {"blocking": 15, "asyncio": 45, "uvloop": 20}

Turn = Callable[[int], float]


async def _asked(ask: Callable[[], Awaitable[Any]], count: int) -> float:
    """The p50 of one turn, in microseconds."""
    times = []
    for _ in range(count):
        begun = perf_counter_ns()
        await ask()
        times.append(perf_counter_ns() - begun)
    return statistics.median(times) / 1000


def _asked_blocking(ask: Callable[[], Any], count: int) -> float:
    times = []
    for _ in range(count):
        begun = perf_counter_ns()
        ask()
        times.append(perf_counter_ns() - begun)
    return statistics.median(times) / 1000


class Contenders:
    """Everybody, each with connections of its own, on three ways to run."""

    def __init__(self, sidecar: house.Sidecar, postgres_url: str, redis_url: str) -> None:
        self.turns: dict[tuple[str, str], Turn] = {}
        self._ends: list[Callable[[], Any]] = []
        url = f"{sidecar.url}/v1/users/u2"
        with Client(sidecar.url) as client:
            user = client.read(reads.user("u2"))
        blocking_redis: Any = redis.Redis.from_url(redis_url)
        blocking_redis.set("bench:user", json.dumps(user))
        for name, address in (("neverstale tcp", sidecar.url), ("neverstale socket", sidecar.socket_url)):
            self._add_blocking(name, Client(address))
        http_client = httpx.Client()
        self._ends += [http_client.close, blocking_redis.close]
        self.turns["blocking", "httpx"] = lambda count: _asked_blocking(lambda: http_client.get(url).json(), count)
        self.turns["blocking", "redis-py GET"] = lambda count: _asked_blocking(
            lambda: json.loads(blocking_redis.get("bench:user")), count
        )
        for loop_name, factory in (("asyncio", None), ("uvloop", uvloop.new_event_loop)):
            runner = asyncio.Runner(loop_factory=factory)
            for name, ask, end in runner.run(_clients(sidecar, url, postgres_url, redis_url)):
                self._add(loop_name, name, runner, ask)
                self._ends.append(partial(_end, runner, end))
            self._ends.append(runner.close)

    def close(self) -> None:
        for end in self._ends:
            end()

    def _add_blocking(self, name: str, client: Client) -> None:
        self.turns["blocking", name] = lambda count: _asked_blocking(lambda: client.read(reads.user("u2")), count)
        self._ends.append(client.close)

    def _add(self, loop_name: str, name: str, runner: asyncio.Runner, ask: Callable[[], Awaitable[Any]]) -> None:
        self.turns[loop_name, name] = lambda count: runner.run(_asked(ask, count))


def _end(runner: asyncio.Runner, end: Callable[[], Awaitable[Any]]) -> None:
    async def ended() -> None:
        await end()

    runner.run(ended())


async def _clients(
    sidecar: house.Sidecar, url: str, postgres_url: str, redis_url: str
) -> list[tuple[str, Callable[[], Awaitable[Any]], Callable[[], Awaitable[Any]]]]:
    tcp, unix = AsyncClient(sidecar.url), AsyncClient(sidecar.socket_url)
    http_client, session = httpx.AsyncClient(), aiohttp.ClientSession()
    postgres = await asyncpg.connect(postgres_url)
    cache: Any = redis.asyncio.Redis.from_url(redis_url)

    async def ask_httpx() -> Any:
        return (await http_client.get(url)).json()

    async def ask_aiohttp() -> Any:
        async with session.get(url) as response:
            return await response.json()

    async def ask_redis() -> Any:
        return json.loads(await cache.get("bench:user"))

    return [
        ("neverstale tcp", lambda: tcp.read(reads.user("u2")), tcp.close),
        ("neverstale socket", lambda: unix.read(reads.user("u2")), unix.close),
        ("httpx", ask_httpx, http_client.aclose),
        ("aiohttp", ask_aiohttp, session.close),
        ("asyncpg by primary key", lambda: postgres.fetchrow(SQL, "u2"), postgres.close),
        ("redis-py GET", ask_redis, cache.aclose),
    ]


def measure(turns: dict[tuple[str, str], Turn], rounds: int, count: int) -> dict[tuple[str, str], list[float]]:
    """Lets everybody take turns."""
    taken: dict[tuple[str, str], list[float]] = {name: [] for name in turns}
    for turn in turns.values():
        turn(count)
    for number in range(rounds):
        order = list(turns.items())
        # Nobody always comes after the same one.
        shift = number % len(order)
        for name, turn in order[shift:] + order[:shift]:
            taken[name].append(turn(count))
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--count", type=int, default=500, help="requests in a row")
    parser.add_argument("--json", action="store_true", help="prints all turns instead of the table")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(house.postgres())
        redis_url = stack.enter_context(house.redis())
        database = postgres.database()
        environment = {"REDIS_URL": redis_url}
        sidecar = stack.enter_context(house.sidecar(postgres.url(database), environment))
        contenders = Contenders(sidecar, postgres.url(database), redis_url)
        stack.callback(contenders.close)
        taken = measure(contenders.turns, options.rounds, options.count)
    if options.json:
        print(json.dumps({" ".join(name): turns for name, turns in taken.items()}))
        return
    print(f"python {sys.version.split()[0]}, {options.rounds} turns of {options.count}, p50 in µs\n")
    print("| runs in | asks with | median | quietest turn | middle half of turns | ratio |")
    print("| --- | --- | --: | --: | --: | --: |")
    for (way, name), turns in taken.items():
        ours = statistics.median(taken[way, "neverstale tcp"])
        low, median, high = statistics.quantiles(turns, n=4)
        print(f"| {way} | {name} | {median:.1f} | {min(turns):.1f} | {low:.1f} – {high:.1f} | {median / ours:.1f} |")
    for way, bar in BARS_MICROS.items():
        median = statistics.median(taken[way, "neverstale tcp"])
        print(f"\n{way}: {median:.1f} µs, bar {bar} µs: {'kept' if median <= bar else 'MISSED'}", end="")
    print()


if __name__ == "__main__":
    main()
