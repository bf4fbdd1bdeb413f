"""The adapter for NAGA 0.5.18, on a stand-in with its functions' signatures and SQL: NAGA's source is in no package registry.

`NEVERSTALE_TEST_OPENWEBUI_06` names a Python that has what the stand-in needs (SQLAlchemy, psycopg2, pydantic). Whoever has NAGA's
source names its folder `backend` in `NEVERSTALE_TEST_NAGA`, and the same walk is done with that.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import house
import pytest
from conftest import House

PYTHON = os.environ.get("NEVERSTALE_TEST_OPENWEBUI_06")
NAGA = os.environ.get("NEVERSTALE_TEST_NAGA")
HERE = Path(__file__).parent
SCHEMA = house.ROOT / "flavours/schema/naga-0.5.18.sql"

pytestmark = pytest.mark.skipif(not PYTHON, reason="NEVERSTALE_TEST_OPENWEBUI_06 names no Python with SQLAlchemy")


@pytest.fixture
def of_naga(postgres: house.Postgres, redis_url: str) -> Iterator[House]:
    """A database with NAGA's schema, and its sidecar."""
    database = postgres.empty_database()
    try:
        postgres.execute(database, SCHEMA.read_text())
        with house.sidecar(postgres.url(database), {"REDIS_URL": redis_url} | house.WRITES) as sidecar:
            yield House(postgres, redis_url, database, sidecar)
    finally:
        postgres.drop(database)


def migrated(opened: House, backend: Path) -> None:
    """Tells NAGA's own migrations that the schema is as they leave it."""
    for step in sorted((backend / "open_webui/internal/migrations").glob("*.py")):
        opened.execute(f"INSERT INTO migratehistory (name, migrated_at) VALUES ('{step.stem}', now())")
    opened.execute("INSERT INTO alembic_version VALUES ('b2c3d4e5f6a7')")


@pytest.mark.parametrize("application", ["stand-in", "naga"])
def test_functions_answer_as_their_own_do(of_naga: House, tmp_path: Path, application: str) -> None:
    if application == "naga" and not NAGA:
        pytest.skip("NEVERSTALE_TEST_NAGA names no source of NAGA")
    backend = Path(NAGA or "") if application == "naga" else HERE / "naga_stand_in"
    if application == "naga":
        migrated(of_naga, backend)
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": os.pathsep.join([str(house.ROOT / "clients/python/src"), str(backend)]),
        "DATABASE_URL": of_naga.postgres.url(of_naga.database),
        "REDIS_URL": of_naga.redis_url,
        "DATA_DIR": str(tmp_path),
        "WEBUI_SECRET_KEY": "a-secret-of-the-application-that-is-long-enough",
        "GLOBAL_LOG_LEVEL": "CRITICAL",
    }
    house.walk(str(PYTHON), "naga_walk.py", environment, tmp_path, of_naga.sidecar)
