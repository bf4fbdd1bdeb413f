"""Real servers for the tests: PostgreSQL, Redis and sidecars, all throw-away and on loopback.

`cargo xtask test` lends its PostgreSQL (`NEVERSTALE_TEST_POSTGRES_PORT`) and names the binary (`NEVERSTALE_BIN`); by themselves
the tests start the system's PostgreSQL. Postgres refuses to run as root, so root becomes the user `postgres`.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import http.client
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import IO, Any

import psycopg

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "flavours/schema/openwebui-0.12.sql"
SECRET = "a-secret-of-the-tests-that-is-long-enough"
TOKEN = "a-token-of-the-tests"
WRITES = {"NEVERSTALE_API__WRITES_ALLOWED": "true"}
_PATIENCE_SECONDS = 30.0
_ports: list[IO[str]] = []
"""Held for as long as this process lives."""

POPULATION = """
INSERT INTO "user" (id, email, name, role, profile_image_url, created_at, updated_at, last_active_at)
SELECT 'u' || n, 'User' || n || '@example.com', 'User ' || n, CASE WHEN n = 1 THEN 'admin' ELSE 'user' END, '', n, n, n
FROM generate_series(1, 50) AS n;
INSERT INTO auth (id, email, password, active, session_stamp)
SELECT 'u' || n, 'user' || n || '@example.com', 'hash', true, 'stamp' FROM generate_series(1, 50) AS n;
INSERT INTO "group" (id, user_id, name, description, permissions, created_at, updated_at)
VALUES ('g1', 'u1', 'First', 'of two', '{"features": {"web_search": true}}', 1, 1), ('g2', 'u1', 'Second', '', NULL, 2, 2);
INSERT INTO group_member (id, group_id, user_id, created_at, updated_at)
VALUES ('m1', 'g1', 'u2', 1, 1), ('m2', 'g2', 'u2', 1, 1);
INSERT INTO config (key, value, updated_at)
VALUES ('rag.top_k', '7', 1), ('openai.api_keys', '["sk-of-a-provider"]', 1), ('ui.name', '"Größe & 100 %"', 1);
INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES ('k1', 'u2', 'sk-of-user-2', 1, 1);
"""


def binary() -> str:
    """The sidecar's binary."""
    chosen = os.environ.get("NEVERSTALE_BIN")
    built = ROOT / "target/debug/neverstale"
    if not chosen and built.exists():
        chosen = str(built)
    if not chosen:
        raise RuntimeError("name the sidecar's binary in NEVERSTALE_BIN, or build it: cargo build")
    return chosen


def free_port() -> int:
    """A loopback port that no other test on this machine is given while this process lives.

    Below the kernel's own range, whose ports any outgoing connection may be given, and held by a locked file that all
    of the project's tests agree on (`crates/testkit/src/ports.rs`).
    """
    held = Path("/tmp" if os.getuid() == 0 else tempfile.gettempdir()) / f"neverstale-ports-{os.getuid()}"
    held.mkdir(exist_ok=True)
    for port in random.sample(range(10_000, 32_768), 2_000):
        lock = (held / str(port)).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with closing(socket.socket()) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _ports.append(lock)
        return port
    raise RuntimeError("no loopback port from 10000 to 32767 is free")


class Postgres:
    """A PostgreSQL: borrowed, or started and thrown away."""

    def __init__(self, port: int, log: Path | None = None) -> None:
        self.port = port
        self.log = log
        """What it says, if it was started here."""
        self._databases = 0

    def url(self, database: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def execute(self, database: str, sql: str) -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(sql.encode())

    def database(self) -> str:
        """Makes a database with the application's schema and a few people; `drop` it."""
        name = self.empty_database()
        self.execute(name, SCHEMA.read_text())
        self.execute(name, POPULATION)
        return name

    def empty_database(self) -> str:
        """Makes a database with nothing in it; `drop` it."""
        self._databases += 1
        name = f"python_{os.getpid()}_{self._databases}"
        self.execute("postgres", f"CREATE DATABASE {name}")
        return name

    def drop(self, database: str) -> None:
        self.execute("postgres", f"DROP DATABASE {database} WITH (FORCE)")


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Borrows or starts a server."""
    lent = os.environ.get("NEVERSTALE_TEST_POSTGRES_PORT")
    if lent:
        yield Postgres(int(lent))
        return
    binaries = _postgres_binaries()
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="neverstale-python-") as home:
        if user:
            account = pwd.getpwnam(user)
            os.chown(home, account.pw_uid, account.pw_gid)
        data = f"{home}/data"
        identity: dict[str, Any] = {"user": user, "group": user, "extra_groups": []} if user else {}
        initdb = [f"{binaries}/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "-N"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=home, **identity)
        port = free_port()
        words = [f"{binaries}/postgres", "-D", data, "-k", home, "-p", str(port), "-c", "listen_addresses=127.0.0.1"]
        with open(f"{home}/log", "wb") as log:
            server = subprocess.Popen([*words, "-c", "fsync=off"], stdout=log, stderr=log, cwd=home, **identity)
        try:
            started = Postgres(port, Path(f"{home}/log"))
            wait_until(lambda: _answers(started), server, Path(f"{home}/log"))
            yield started
        finally:
            # At once: nothing of it is kept.
            server.send_signal(signal.SIGQUIT)
            server.wait(_PATIENCE_SECONDS)


@contextmanager
def redis() -> Iterator[str]:
    """Starts a Redis and gives its URL."""
    program = os.environ.get("NEVERSTALE_TEST_REDIS_BIN") or shutil.which("redis-server")
    if not program:
        raise RuntimeError("install redis-server, or name it in NEVERSTALE_TEST_REDIS_BIN")
    with tempfile.TemporaryDirectory(prefix="neverstale-python-") as home:
        port = free_port()
        words = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", home]
        with open(f"{home}/log", "wb") as log:
            server = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            wait_until(lambda: _pings(port), server, Path(f"{home}/log"))
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait(_PATIENCE_SECONDS)


class Sidecar:
    """A running sidecar, on TCP and on a Unix socket."""

    def __init__(self, database_url: str, environment: dict[str, str]) -> None:
        self.home = tempfile.TemporaryDirectory(prefix="neverstale-python-")
        self.port, self.admin_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.socket_url = f"unix://{self.home.name}/api.sock"
        # Its own environment: whatever else is called NEVERSTALE_… is an unknown setting to it, which it refuses.
        self._environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._environment |= {"DATABASE_URL": database_url, **environment}
        self.process: subprocess.Popen[bytes] | None = None

    def install(self) -> None:
        subprocess.run([binary(), "install"], check=True, capture_output=True, env=self._environment)

    def start(self) -> None:
        words = [binary(), "serve", "--api-listen", f"127.0.0.1:{self.port}", "--api-socket", self.socket_url[7:]]
        words += ["--admin-listen", f"127.0.0.1:{self.admin_port}"]
        log = Path(self.home.name) / "log"
        with log.open("ab") as file:
            self.process = subprocess.Popen(words, stdout=file, stderr=file, env=self._environment)
        wait_until(self._is_ready, self.process, log)

    def stop(self) -> None:
        """Kills it, as a crash does."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(_PATIENCE_SECONDS)
            self.process = None

    def end(self) -> int:
        """Tells it to end, and gives the exit code."""
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(_PATIENCE_SECONDS)
        self.process = None
        return code

    def reads(self) -> int:
        """How many reads and batches it has answered since it was started."""
        counters = ("neverstale_reads_total{", "neverstale_batch_rounds_total{")
        return sum(int(line.rsplit(" ", 1)[1]) for line in self.metrics().splitlines() if line.startswith(counters))

    def metrics(self) -> str:
        return self._admin("/metrics")[1].decode()

    def _is_ready(self) -> bool:
        return self._admin("/readyz")[0] == 200

    def _admin(self, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=5)) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read()


@contextmanager
def sidecar(database_url: str, environment: dict[str, str] | None = None) -> Iterator[Sidecar]:
    """Installs and starts a sidecar."""
    started = Sidecar(database_url, environment or {})
    try:
        started.install()
        started.start()
        yield started
    finally:
        started.stop()
        started.home.cleanup()


def session_token(user_id: str) -> str:
    """A session as the application signs it."""
    now = int(time.time())
    claims = {"id": user_id, "session_stamp": "stamp", "iat": now, "exp": now + 600, "jti": "a-session"}
    return signed(claims, SECRET)


def signed(claims: dict[str, Any], secret: str) -> str:
    """A JWT."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    head = {"alg": "HS256", "typ": "JWT"}
    text = ".".join(part(json.dumps(one).encode()) for one in (head, claims))
    return f"{text}.{part(hmac.digest(secret.encode(), text.encode(), hashlib.sha256))}"


def _postgres_binaries() -> str:
    chosen = os.environ.get("NEVERSTALE_TEST_POSTGRES_BIN")
    if chosen:
        return chosen
    for place in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True):
        if (place / "initdb").exists():
            return str(place)
    found = shutil.which("initdb")
    if not found:
        raise RuntimeError("install PostgreSQL, or lend one by NEVERSTALE_TEST_POSTGRES_PORT")
    return str(Path(found).resolve().parent)


def _answers(server: Postgres) -> bool:
    server.execute("postgres", "SELECT 1")
    return True


def _pings(port: int) -> bool:
    with closing(socket.create_connection(("127.0.0.1", port), 5)) as connection:
        connection.sendall(b"PING\r\n")
        return connection.recv(16).startswith(b"+PONG")


def wait_until(
    is_there: Callable[[], bool],
    process: subprocess.Popen[bytes],
    log: Path,
    patience_seconds: float = _PATIENCE_SECONDS,
) -> None:
    """Waits for a server that was started."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            if is_there():
                return
        except (OSError, psycopg.Error, http.client.HTTPException):
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{process.args!r} did not come up:\n{log.read_text(errors='replace')[-4000:]}")
        time.sleep(0.02)


def walk(python: str, script: str, environment: dict[str, str], home: Path, sidecar: Sidecar) -> None:
    """Runs a script beside this file in a process that has the application attached, to its end; kills and starts the sidecar where the
    script says so."""
    words = [python, "-m", "neverstale.openwebui", str(Path(__file__).with_name(script))]
    with (home / "errors").open("w+") as errors:
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True}
        walking = subprocess.Popen(words, env=environment | {"NEVERSTALE_URL": sidecar.socket_url}, cwd=home, **pipes)
        assert walking.stdin is not None and walking.stdout is not None
        with walking:
            said = []
            for line in walking.stdout:
                said.append(line.split()[0] if line.split() else "")
                if said[-1] in ("stop", "start"):
                    sidecar.stop() if said[-1] == "stop" else sidecar.start()
                    walking.stdin.write("done\n")
                    walking.stdin.flush()
        errors.seek(0)
        assert walking.returncode == 0 and said[-3:] == ["stop", "start", "walked"], errors.read()[-4000:]
