"""The adapter on the real Open WebUI 0.6: equal answers, no statement, no outage; settings that are never old and never lost.

The application is too heavy for every run: `NEVERSTALE_TEST_OPENWEBUI_06` names a Python that has it (0.6.43).
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import house
import psycopg
import pytest
from conftest import House

APPLICATION = os.environ.get("NEVERSTALE_TEST_OPENWEBUI_06")
SECRET_KEY = "a-secret-of-the-application-that-is-long-enough"

pytestmark = pytest.mark.skipif(
    not APPLICATION, reason="NEVERSTALE_TEST_OPENWEBUI_06 names no Python with the application"
)


def environment(url: str, home: Path) -> dict[str, str]:
    return {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(house.ROOT / "clients/python/src"),
        "DATABASE_URL": url,
        "DATA_DIR": str(home),
        "STATIC_DIR": str(home / "static"),
        "WEBUI_SECRET_KEY": SECRET_KEY,
        "GLOBAL_LOG_LEVEL": "CRITICAL",
        "OFFLINE_MODE": "true",
        "HF_HUB_OFFLINE": "1",
    }


@pytest.fixture
def installed(postgres: house.Postgres, redis_url: str, tmp_path: Path) -> Iterator[House]:
    """A database that the application itself has migrated, and its sidecar."""
    database = postgres.empty_database()
    try:
        migrates = environment(postgres.url(database), tmp_path)
        words = [str(APPLICATION), "-c", "import open_webui.config"]
        subprocess.run(words, check=True, capture_output=True, env=migrates, cwd=tmp_path)
        with house.sidecar(postgres.url(database), {"REDIS_URL": redis_url} | house.WRITES) as sidecar:
            yield House(postgres, redis_url, database, sidecar)
    finally:
        postgres.drop(database)


def test_the_functions_of_the_real_application_answer_as_its_own_do(installed: House, tmp_path: Path) -> None:
    variables = environment(installed.postgres.url(installed.database), tmp_path)
    house.walk(str(APPLICATION), "openwebui_06_walk.py", variables, tmp_path, installed.sidecar)


class Replica:
    """The settings of one replica."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def get(self, name: str) -> Any:
        return self._ask({"get": name})

    def set(self, name: str, value: Any) -> None:
        assert self._ask({"set": name, "value": value}) == "done"

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self.heard()

    def heard(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith(("{", "[", '"', "null", "true", "false")) or line[:1].isdigit():
                return json.loads(line)
        raise AssertionError("the replica ended")


@contextmanager
def replicas(opened: House, home: Path, *, is_attached: bool, has_redis: bool) -> Iterator[list[Replica]]:
    """Two replicas that have started before anything is changed."""
    variables = environment(opened.postgres.url(opened.database), home)
    if is_attached:
        variables["NEVERSTALE_URL"] = opened.sidecar.socket_url
    if has_redis:
        variables["REDIS_URL"] = opened.redis_url
    words = [str(APPLICATION), "-m", "neverstale.openwebui", str(Path(__file__).with_name("openwebui_06_replica.py"))]
    with ExitStack() as stack:
        started = []
        for _ in range(2):
            pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
            with (home / "errors").open("w") as errors:
                process = subprocess.Popen(words, env=variables, cwd=home, stderr=errors, **pipes)
            # Its input is closed at the end, and that ends it.
            started.append(Replica(stack.enter_context(process)))
            assert started[-1].heard() == "ready"
        yield started


def stored(opened: House) -> Any:
    with psycopg.connect(opened.postgres.url(opened.database), autocommit=True) as connection:
        found = connection.execute("SELECT data FROM config ORDER BY id DESC LIMIT 1").fetchone()
    return found and found[0]


def what_is_old_or_lost(opened: House, a: Replica, b: Replica) -> list[str]:
    """Changes settings on replica A, on replica B and by plain SQL, and tells which change somebody did not see, or erased."""
    wrong = []

    def by_sql(path: str, value: str) -> None:
        opened.execute(f"UPDATE config SET data = jsonb_set(data::jsonb, '{path}', '{value}', true)")

    def right(what: str, is_right: bool) -> None:
        if not is_right:
            wrong.append(what)

    a.set("TOP_K", 11)
    right("S1 set on A, read on B", b.get("TOP_K") == 11)
    by_sql("{rag,top_k}", "12")
    right("S2 set by SQL, read on A", a.get("TOP_K") == 12)
    right("S2 set by SQL, read on B", b.get("TOP_K") == 12)
    a.set("DEFAULT_MODELS", "m1")
    right("S2c another setting saved on A after it", stored(opened)["rag"]["top_k"] == 12)
    b.set("TOP_K", 13)
    a.set("DEFAULT_MODELS", "m2")
    b.set("USER_PERMISSIONS", {"chat": {"edit": False}})
    told = stored(opened)
    kept = (told["rag"].get("top_k"), told["ui"].get("default_models"))
    right("S2d kept what A and B saved by turns", kept == (13, "m2"))
    by_sql("{user,permissions,chat,edit}", "true")
    right("S3 default permission by SQL, read on A", a.get("USER_PERMISSIONS") == {"chat": {"edit": True}})
    right("S3 default permission by SQL, read on B", b.get("USER_PERMISSIONS") == {"chat": {"edit": True}})
    return wrong


@pytest.mark.parametrize("has_redis", [True, False])
def test_settings_are_never_old_and_never_lost(installed: House, tmp_path: Path, has_redis: bool) -> None:
    with replicas(installed, tmp_path, is_attached=True, has_redis=has_redis) as (a, b):
        assert what_is_old_or_lost(installed, a, b) == []
        # However often.
        for value in range(100):
            a.set("TOP_K", value)
            assert b.get("TOP_K") == value
            b.set("DEFAULT_MODELS", f"m{value}")
            assert a.get("DEFAULT_MODELS") == f"m{value}" and stored(installed)["rag"]["top_k"] == value


def test_settings_saved_at_the_same_time_are_all_kept(installed: House, tmp_path: Path) -> None:
    with replicas(installed, tmp_path, is_attached=True, has_redis=False) as (a, b), ThreadPoolExecutor(2) as threads:
        lost = []
        for value in range(300):
            saved = [threads.submit(a.set, "TOP_K", value), threads.submit(b.set, "DEFAULT_MODELS", value)]
            wait(saved)
            told = stored(installed)
            if (told["rag"]["top_k"], told["ui"]["default_models"]) != (value, value):
                lost.append(value)
        assert lost == []


@pytest.mark.parametrize("has_redis", [True, False])
def test_without_us_they_are(installed: House, tmp_path: Path, has_redis: bool) -> None:
    """What the test above guards against is there in the application: otherwise it would prove nothing."""
    with replicas(installed, tmp_path, is_attached=False, has_redis=has_redis) as (a, b):
        wrong = {one.split()[0] for one in what_is_old_or_lost(installed, a, b)}
        assert wrong == ({"S2", "S2c", "S2d", "S3"} if has_redis else {"S1", "S2", "S2c", "S2d", "S3"})
