"""What the sidecar gives the real application: statements, transactions, CPU, latency and throughput, before and
after, in one run.

Three replicas share a database, a Redis and an upstream: one as it is, one with its sidecar, and one with the
incoherent dictionary of `ceiling.py`, which nothing coherent can beat. They take turns at each request, in short
rounds, so that whatever else the machine does disturbs all alike; what is told is the median of the rounds. Prints
Markdown.

    NEVERSTALE_BIN=target/release/neverstale python clients/python/real/bench.py --release 0.12.4
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))

import environments
import house
import psycopg
from api import Api
from people import Town
from stage import Replica, Stage, stage

COUNTED = 20
"""Requests of which the statements are counted."""
_STATEMENT = re.compile(r"^ns:(\S*) LOG:  (?:statement|execute [^:]*): (.*)$", re.MULTILINE)
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Question:
    """A request, as it goes over the wire."""

    name: str
    request: bytes


@dataclass(frozen=True)
class Round:
    """One replica at one question for a moment."""

    rate: float
    p50_ms: float
    p99_ms: float
    app_ms: float
    postgres_ms: float
    sidecar_ms: float


class Bench:
    """Three replicas, and who takes turns how."""

    def __init__(self, on: Stage, seconds: float, rounds: int) -> None:
        self._on = on
        self._seconds, self._rounds = seconds, rounds
        self._replicas = {
            "before": on.put(attached=False, environment={"PGAPPNAME": "before"}),
            "after": on.put(attached=True, environment={"PGAPPNAME": "after"}),
            "ceiling": on.put(attached=False, environment={"PGAPPNAME": "ceiling"}, runner=[str(HERE / "ceiling.py")]),
        }
        for replica in self._replicas.values():
            replica.wait()
        self._postmaster = self._of_postgres()

    def run(self) -> None:
        with Api(self._replicas["before"].port) as api:
            town = Town(api, is_old=self._on.is_old)
            people = town.settle(users=10)
            for n in range(3):
                town.model(f"m{n}")
            town.pipe()
            for n in range(6):
                town.model(f"preset{n}", "m0")
            user, admin = people.users[0], people.admin
            body = {"model": "m0", "stream": False, "messages": [{"role": "user", "content": "hi"}]}
            questions = [
                question("sign-in check", "/api/v1/auths/", user["token"]),
                question("`/api/config`", "/api/config", user["token"]),
                question("settings", "/api/v1/users/user/settings", user["token"]),
                question("chats page", "/api/v1/chats/?page=1", user["token"]),
                question("functions", "/api/v1/functions/", admin["token"]),
                question("10 models", "/api/models", user["token"]),
                question("10 models, API key", "/api/models", user["api_key"]),
                question("chat completion", "/api/chat/completions", user["token"], body),
                question("chat completion, API key", "/api/chat/completions", user["api_key"], body),
            ]
            print(_HEAD)
            for asked in questions:
                self._take_turns(asked)
            for n in range(90):
                town.model(f"more{n}", "m0")
            # The dictionary would go on listing ten.
            if ceiling := self._replicas["ceiling"].process:
                ceiling.send_signal(signal.SIGHUP)
            self._take_turns(question("100 models", "/api/models", user["token"]))

    def _take_turns(self, asked: Question) -> None:
        counts = {name: self._counted(name, replica, asked) for name, replica in self._replicas.items()}
        rounds: dict[tuple[str, int], list[Round]] = {}
        for number in range(self._rounds):
            for connections in (1, 8):
                order = list(self._replicas.items())
                # Nobody always comes after the same one.
                shift = number % len(order)
                for name, replica in order[shift:] + order[:shift]:
                    rounds.setdefault((name, connections), []).append(self._round(replica, asked, connections))
        rate = {name: _median(rounds[name, 8], "rate") for name in self._replicas}
        for name in self._replicas:
            one, eight = rounds[name, 1], rounds[name, 8]
            latency = [f"{_median(of, at):.1f}" for of in (one, eight) for at in ("p50_ms", "p99_ms")]
            cpu = [f"{_median(eight, at):.2f}" for at in ("app_ms", "postgres_ms", "sidecar_ms")]
            cells = [f"{counts[name][0]:.0f}", f"{counts[name][1]:.0f}", *cpu, *latency, f"{_median(one, 'rate'):.0f}"]
            cells += [f"{rate[name]:.0f}", f"{rate[name] / rate['before']:.1f}", f"{rate[name] / rate['ceiling']:.2f}"]
            print(f"| {asked.name if name == 'before' else ''} | {name} | {' | '.join(cells)} |", flush=True)

    def _round(self, replica: Replica, asked: Question, connections: int) -> Round:
        processes = [replica.process, replica.sidecar.process if replica.sidecar else None]
        before = [_cpu_seconds(one.pid) if one else 0.0 for one in processes], self._postgres_cpu()
        told = load(replica.port, asked, connections, self._seconds)
        after = [_cpu_seconds(one.pid) if one else 0.0 for one in processes], self._postgres_cpu()
        if told["refused"] or not told["answers"]:
            raise RuntimeError(f"{asked.name}: {told}")
        each = 1000 / told["answers"]
        app, sidecar = ((a - b) * each for a, b in zip(after[0], before[0], strict=True))
        postgres = (after[1] - before[1]) * each
        return Round(told["answers"] / told["seconds"], told["p50_ms"], told["p99_ms"], app, postgres, sidecar)

    def _counted(self, name: str, replica: Replica, asked: Question) -> tuple[float, float]:
        """Statements and transactions of one request, once it is warm."""
        load(replica.port, asked, 1, 0.5)
        with self._logged() as said:
            told = load(replica.port, asked, 1, 1.0)
        statements = [text for who, text in _STATEMENT.findall(said()) if who == name]
        begun = sum(text.upper().startswith("BEGIN") for text in statements)
        return len(statements) / told["answers"], begun / told["answers"]

    @contextmanager
    def _logged(self) -> Iterator[Any]:
        """Lets Postgres write down what it is told, and gives that."""
        log = self._on.postgres.log
        if log is None:
            raise RuntimeError(
                "a Postgres that is lent does not show what it is told: unset NEVERSTALE_TEST_POSTGRES_PORT"
            )
        self._log_statements("all")
        at = log.stat().st_size
        try:
            yield lambda: log.read_bytes()[at:].decode(errors="replace")
        finally:
            self._log_statements("none")

    def _log_statements(self, which: str) -> None:
        with psycopg.connect(self._on.postgres.url("postgres"), autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET log_line_prefix = 'ns:%a '")
            connection.execute(f"ALTER SYSTEM SET log_statement = '{which}'".encode())
            connection.execute("SELECT pg_reload_conf()")

    def _of_postgres(self) -> int:
        """The first process of Postgres, the parent of all others."""
        with psycopg.connect(self._on.postgres.url("postgres")) as connection:
            backend = connection.info.backend_pid
            return int(_stat(backend)[1])

    def _postgres_cpu(self) -> float:
        ticks = sum(int(one) for one in _stat(self._postmaster)[11:15])
        for path in Path("/proc").glob("[0-9]*"):
            try:
                stat = _stat(int(path.name))
            except (OSError, IndexError):
                continue
            if int(stat[1]) == self._postmaster:
                ticks += int(stat[11]) + int(stat[12])
        return ticks / _TICKS


def question(name: str, path: str, token: str, body: Any = None) -> Question:
    data = b"" if body is None else json.dumps(body).encode()
    head = [f"{'GET' if body is None else 'POST'} {path} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token}"]
    if data:
        head += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return Question(name, "\r\n".join([*head, "", ""]).encode() + data)


def load(port: int, asked: Question, connections: int, seconds: float) -> dict[str, Any]:
    words = [sys.executable, str(HERE / "load.py"), str(port), str(connections), str(seconds)]
    done = subprocess.run(words, input=asked.request, capture_output=True, check=True)
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def _stat(pid: int) -> list[str]:
    """Of `/proc/…/stat`, from the state on: the parent is 1, CPU times are 11 to 14."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def _cpu_seconds(pid: int) -> float:
    stat = _stat(pid)
    return (int(stat[11]) + int(stat[12])) / _TICKS


def _median(rounds: list[Round], of: str) -> float:
    return float(statistics.median(getattr(one, of) for one in rounds))


_COLUMNS = [
    *("request", "", "statements", "transactions", "app CPU ms", "Postgres CPU ms", "sidecar CPU ms"),
    *("p50 ms, 1", "p99 ms, 1", "p50 ms, 8", "p99 ms, 8", "req/s, 1", "req/s, 8", "× before", "of ceiling"),
]
_HEAD = f"\n| {' | '.join(_COLUMNS)} |\n| --- | --- |{' --: |' * (len(_COLUMNS) - 2)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", action="append", choices=environments.RELEASES)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each turn")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with house.postgres() as postgres:
        for release in options.release or environments.RELEASES:
            with closing(_Output(release)), stage(release, postgres) as on:
                Bench(on, options.seconds, options.rounds).run()


class _Output:
    def __init__(self, release: str) -> None:
        load_average = " ".join(f"{one:.1f}" for one in os.getloadavg())
        print(f"\n### {release}\n\n{os.cpu_count()} cores, load average at the begin {load_average}.", flush=True)

    def close(self) -> None:
        print(flush=True)


if __name__ == "__main__":
    main()
