"""Fixtures: one PostgreSQL for the session, and a stage for each release."""

from __future__ import annotations

from collections.abc import Iterator

import environments
import house
import pytest
from stage import Stage, stage


@pytest.fixture(scope="session")
def postgres() -> Iterator[house.Postgres]:
    with house.postgres() as started:
        yield started


@pytest.fixture(scope="session", params=environments.RELEASES)
def release(request: pytest.FixtureRequest) -> str:
    """Each release of the application."""
    return str(request.param)


@pytest.fixture
def empty(release: str, postgres: house.Postgres) -> Iterator[Stage]:
    """A stage on which nobody has signed up."""
    with stage(release, postgres) as built:
        yield built
