"""The list of routes that the door's rules are checked against is that of the installed application."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import environments

_HERE = Path(__file__).resolve().parent
_LISTS = _HERE.parents[2] / "crates/guard/tests/routes"
_FLAVOURS = {"0.12.4": "openwebui-0.12", "0.6.43": "openwebui-0.6"}
# Everything that an operator can turn on is listed.
_ALL = {"ENABLE_SCIM": "true", "SCIM_ENABLED": "true", "SCIM_TOKEN": "a-token"}


def test_the_committed_routes_are_those_of_the_application(release: str, tmp_path: Path) -> None:
    (tmp_path / "static").mkdir()
    own = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    environment = own | _ALL | {
        "DATABASE_URL": f"sqlite:///{tmp_path}/webui.db",
        "DATA_DIR": str(tmp_path),
        "STATIC_DIR": str(tmp_path / "static"),
        "FROM_INIT_PY": "true",
        "WEBUI_SECRET_KEY": "a-secret-of-the-application-that-is-long-enough",
        "ENV": "prod",
        "RAG_EMBEDDING_ENGINE": "openai",
    }
    words = [str(environments.python(release)), str(_HERE / "routes.py")]
    printed = subprocess.run(words, check=True, capture_output=True, text=True, env=environment, cwd=tmp_path).stdout
    # The application prints a banner when it is imported.
    found = [line for line in printed.splitlines() if line.split(" ", 1)[0].isupper() and " /" in line]
    committed = (_LISTS / f"{_FLAVOURS[release]}.txt").read_text().splitlines()
    assert found == committed
