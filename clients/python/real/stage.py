"""The real application on a stage: PostgreSQL, Redis, an upstream, and replicas of one release, each with a sidecar
of its own.

A stage has one database, migrated by the application itself before the sidecar's triggers are installed, as an
operator would do it. What a replica is started with is the whole of what an operator sets: `NEVERSTALE_URL`, and the
start through `neverstale.openwebui`.
"""

from __future__ import annotations

import http.client
import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import environments
import house
import psycopg

HERE = Path(__file__).resolve().parent
SOURCES = HERE.parent / "src"
SECRET_KEY = "a-secret-of-the-application-that-is-long-enough"
_PATIENCE_SECONDS = 300.0


class Replica:
    """One process of the application, with a sidecar beside it or without."""

    def __init__(
        self,
        stage: Stage,
        home: Path,
        sidecar: house.Sidecar | None,
        environment: Mapping[str, str],
        runner: Sequence[str] | None,
    ) -> None:
        self.port = house.free_port()
        self.sidecar = sidecar
        self.log = home / f"replica-{self.port}.log"
        self._environment = stage.environment(home / f"replica-{self.port}")
        words = [str(stage.python), *(runner or ["-m"])]
        if sidecar is not None:
            self._environment["NEVERSTALE_URL"] = sidecar.socket_url
            words += ["neverstale.openwebui", "-m"]
        self._environment |= environment
        self._words = [*words, "uvicorn", "open_webui.main:app", "--host", "127.0.0.1", "--port", str(self.port)]
        self._words += ["--log-level", "warning", "--no-access-log"]
        self.process: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Starts it and does not wait."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self._words, stdout=log, stderr=log, env=self._environment, cwd=self._environment["DATA_DIR"]
            )

    def wait(self) -> None:
        """Waits until it answers."""
        assert self.process is not None
        house.wait_until(self._is_healthy, self.process, self.log, _PATIENCE_SECONDS)

    def stop(self) -> None:
        """Ends the process; its sidecar goes on."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _is_healthy(self) -> bool:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200


class Stage:
    """A release on its database; replicas are put on it."""

    def __init__(self, release: str, postgres: house.Postgres, redis_url: str, upstream_url: str, home: Path) -> None:
        self.release = release
        self.python = environments.python(release)
        self.postgres = postgres
        self.redis_url = redis_url
        self.upstream_url = upstream_url
        self.database = postgres.empty_database()
        self._home = home
        self.sidecars: list[house.Sidecar] = []
        self._replicas: list[Replica] = []
        # The application's own migrations run when its settings are imported.
        words = [str(self.python), "-c", "import open_webui.config"]
        subprocess.run(words, check=True, capture_output=True, env=self.environment(home / "migration"), cwd=home)

    @property
    def is_old(self) -> bool:
        """Whether settings are one document and access is a column, as before 0.10."""
        return self.release.startswith("0.6.")

    def environment(self, data: Path) -> dict[str, str]:
        """What a process of the application is started with, its own data directory included."""
        (data / "static").mkdir(parents=True, exist_ok=True)
        upstream = f"{self.upstream_url}/v1"
        own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        return own | {
            "PYTHONPATH": str(SOURCES),
            "DATABASE_URL": self.postgres.url(self.database),
            "DATABASE_POOL_SIZE": "20",
            "REDIS_URL": self.redis_url,
            "WEBSOCKET_MANAGER": "redis",
            "WEBSOCKET_REDIS_URL": self.redis_url,
            "DATA_DIR": str(data),
            "STATIC_DIR": str(data / "static"),
            "FROM_INIT_PY": "true",
            "WEBUI_SECRET_KEY": SECRET_KEY,
            "OPENAI_API_BASE_URL": upstream,
            "OPENAI_API_KEY": "sk-of-the-upstream",
            "ENABLE_OLLAMA_API": "false",
            "RAG_EMBEDDING_ENGINE": "openai",
            "RAG_EMBEDDING_MODEL": "embedder",
            "RAG_OPENAI_API_BASE_URL": upstream,
            "RAG_OPENAI_API_KEY": "sk-of-the-upstream",
            "ENABLE_API_KEYS": "true",
            "ENABLE_SIGNUP": "true",
            "CORS_ALLOW_ORIGIN": "*",
            # Nothing that only a network would have.
            "OFFLINE_MODE": "true",
            "HF_HUB_OFFLINE": "1",
            "ENABLE_VERSION_UPDATE_CHECK": "false",
            "ENABLE_PIP_INSTALL_FRONTMATTER_REQUIREMENTS": "false",
            "ANONYMIZED_TELEMETRY": "false",
            "GLOBAL_LOG_LEVEL": "WARNING",
        }

    def put(
        self,
        *,
        attached: bool,
        saves: bool = True,
        environment: Mapping[str, str] | None = None,
        runner: Sequence[str] | None = None,
    ) -> Replica:
        """Starts one more replica, with a sidecar or without, and does not wait for it.

        `saves` is whether the sidecar writes settings; `runner` stands for `-m`.
        """
        if self._replicas:
            # The first one writes the settings of a new database down, and bears no company in that.
            self._replicas[0].wait()
        sidecar = None
        if attached:
            settings = {"REDIS_URL": self.redis_url, "NEVERSTALE_API__SESSION_SECRET": SECRET_KEY}
            if saves:
                settings |= house.WRITES
            sidecar = house.Sidecar(self.postgres.url(self.database), settings)
            if not self.sidecars:
                sidecar.install()
            self.sidecars.append(sidecar)
            sidecar.start()
        replica = Replica(self, self._home, sidecar, environment or {}, runner)
        self._replicas.append(replica)
        replica.begin()
        return replica

    def sql(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        """Does something behind the application's back."""
        with psycopg.connect(self.postgres.url(self.database), autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    def close(self) -> None:
        for replica in self._replicas:
            replica.stop()
        for sidecar in self.sidecars:
            sidecar.stop()
            sidecar.home.cleanup()
        self.postgres.drop(self.database)


@contextmanager
def upstream(release: str, models: int = 3) -> Iterator[str]:
    """Starts the upstream and gives its URL."""
    port = house.free_port()
    words = [str(environments.python(release)), str(HERE / "upstream.py"), str(port), str(models)]
    with tempfile.TemporaryDirectory(prefix="neverstale-real-") as home:
        log = Path(home) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen(words, stdout=file, stderr=file)
        try:
            house.wait_until(lambda: _serves(port), process, log)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()
            process.wait()


@contextmanager
def stage(release: str, postgres: house.Postgres, models: int = 3) -> Iterator[Stage]:
    """Sets a stage up, with a Redis of its own: what the application keeps there outlives its database."""
    with (
        tempfile.TemporaryDirectory(prefix="neverstale-real-", ignore_cleanup_errors=True) as home,
        house.redis() as redis_url,
        upstream(release, models) as upstream_url,
    ):
        built = Stage(release, postgres, redis_url, upstream_url, Path(home))
        try:
            yield built
        finally:
            built.close()


def _serves(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/v1/models")
        return connection.getresponse().status == 200
