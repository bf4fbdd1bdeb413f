"""The adapter: what it takes over and what not; and on the real Open WebUI equal answers, no statement, no outage.

The application is too heavy for every run: `NEVERSTALE_TEST_OPENWEBUI` names a Python that has it (0.12.4).
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import house
import pytest
from conftest import House
from neverstale.openwebui import hook
from neverstale.openwebui.recognise import fingerprint, recognised

APPLICATION = os.environ.get("NEVERSTALE_TEST_OPENWEBUI")
SECRET_KEY = "a-secret-of-the-application-that-is-long-enough"


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package `open_webui` that is not the application."""
    models = tmp_path / "open_webui/models"
    models.mkdir(parents=True)
    (tmp_path / "open_webui/__init__.py").touch()
    (models / "__init__.py").touch()
    (models / "config.py").write_text("class Config:\n    async def get(key): return 'as ever'\n")
    (models / "functions.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setenv("NEVERSTALE_URL", "unix:///no/such.sock")
    yield models
    for name in [name for name in sys.modules if name.split(".")[0] == "open_webui"]:
        del sys.modules[name]


def test_what_is_not_known_is_left_alone_and_said_once(fake: Path, caplog: pytest.LogCaptureFixture) -> None:
    hook.attach()
    hook.attach()
    assert sum(type(finder).__name__ == "_Finder" for finder in sys.meta_path) == 1
    config = importlib.import_module("open_webui.models.config")
    assert config.Config.get.__module__ == "open_webui.models.config"
    importlib.import_module("open_webui.models.functions")
    importlib.import_module("open_webui.models.config")
    assert len(caplog.messages) == 2
    assert "Config.get, Config.get_many" in caplog.messages[0]


@pytest.mark.parametrize(
    "switch",
    [
        {"NEVERSTALE_OPENWEBUI": "off"},
        {"NEVERSTALE_URL": ""},
        {"NEVERSTALE_URL": "nonsense"},
        {"NEVERSTALE_URL": "http://127.0.0.1:7380"},
    ],
)
def test_the_environment_decides(fake: Path, monkeypatch: pytest.MonkeyPatch, switch: dict[str, str]) -> None:
    for name, value in switch.items():
        monkeypatch.setenv(name, value)
    before = list(sys.meta_path)
    hook.attach()
    assert sys.meta_path == before


def test_a_function_is_known_by_its_whole_text() -> None:
    known = fingerprint(recognised)
    assert known == fingerprint(recognised) and known != fingerprint(fingerprint)
    assert fingerprint(None) is None
    assert fingerprint(len) is None
    module = importlib.import_module("neverstale.openwebui.recognise")
    assert recognised(module, "log", {"warning": frozenset()}) is None


def test_the_module_runs_scripts_and_modules(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text("import sys; print(sys.argv[1:], any(type(f).__name__ == '_Finder' for f in sys.meta_path))")
    words = [sys.executable, "-m", "neverstale.openwebui", str(script), "a", "-m"]
    environment = {**os.environ, "NEVERSTALE_URL": "unix:///no/such.sock"}
    run = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert run.stdout == "['a', '-m'] True\n"
    run = subprocess.run(words[:3], capture_output=True, text=True, env=environment)
    assert run.returncode == 1 and "usage" in run.stderr


@pytest.mark.skipif(not APPLICATION, reason="NEVERSTALE_TEST_OPENWEBUI names no Python with the application")
def test_the_functions_of_the_real_application_answer_as_its_own_do(own: House, tmp_path: Path) -> None:
    environment = {
        **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        "PYTHONPATH": str(house.ROOT / "clients/python/src"),
        "DATABASE_URL": own.postgres.url(own.database),
        "DATA_DIR": str(tmp_path),
        "WEBUI_SECRET_KEY": SECRET_KEY,
        "ENABLE_DB_MIGRATIONS": "false",
        "FROM_INIT_PY": "true",
        "STATIC_DIR": str(tmp_path / "static"),
    }
    house.walk(str(APPLICATION), "openwebui_walk.py", environment, tmp_path, own.sidecar)
