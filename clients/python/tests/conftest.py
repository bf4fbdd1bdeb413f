"""Fixtures: one PostgreSQL, one Redis and one sidecar for the session, and each test once for every kind of client."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import house
import pytest
from askers import KINDS, Asker


@dataclass(frozen=True)
class House:
    """A database and its sidecar."""

    postgres: house.Postgres
    redis_url: str
    database: str
    sidecar: house.Sidecar

    def execute(self, sql: str) -> None:
        self.postgres.execute(self.database, sql)


@pytest.fixture(scope="session")
def postgres() -> Iterator[house.Postgres]:
    with house.postgres() as started:
        yield started


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    with house.redis() as url:
        yield url


@pytest.fixture(scope="session")
def shared(postgres: house.Postgres, redis_url: str) -> Iterator[House]:
    """The house of all tests that break nothing."""
    with new_house(postgres, redis_url) as opened:
        yield opened


@pytest.fixture
def own(postgres: house.Postgres, redis_url: str) -> Iterator[House]:
    """A house for a test that breaks something."""
    with new_house(postgres, redis_url) as opened:
        yield opened


@contextmanager
def new_house(postgres: house.Postgres, redis_url: str) -> Iterator[House]:
    environment = {"REDIS_URL": redis_url, "NEVERSTALE_API__SESSION_SECRET": house.SECRET}
    environment |= house.WRITES
    database = postgres.database()
    try:
        with house.sidecar(postgres.url(database), environment) as sidecar:
            yield House(postgres, redis_url, database, sidecar)
    finally:
        postgres.drop(database)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each kind of client."""
    return str(request.param)


@pytest.fixture(params=["tcp", "socket"])
def url(request: pytest.FixtureRequest, shared: House) -> str:
    """Each way to the shared sidecar."""
    return shared.sidecar.url if request.param == "tcp" else shared.sidecar.socket_url


@pytest.fixture
def asker(kind: str, shared: House) -> Iterator[Asker]:
    """A client of each kind of the shared sidecar, on its Unix socket."""
    with Asker(kind, shared.sidecar.socket_url) as opened:
        yield opened
