"""Waits for the application's modules, and hands each to what takes its functions over.

The application's functions hang on objects that all its modules share, so no other module needs to be touched, and it does
not matter who imports what in which order.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

from neverstale.address import VARIABLE, Address

SWITCH = "NEVERSTALE_OPENWEBUI"
"""`off` leaves the application alone although `NEVERSTALE_URL` is set."""

TAKERS = {
    "open_webui.internal.db": ["transactions"],
    "open_webui.config": ["v0_6.config", "naga.config"],
    "open_webui.models.access_grants": ["v0_12.access_grants"],
    "open_webui.models.auths": ["v0_12.sessions"],
    "open_webui.models.config": ["v0_12.config"],
    "open_webui.models.functions": ["v0_12.functions", "v0_6.functions"],
    "open_webui.models.groups": ["v0_12.groups", "v0_6.groups", "naga.groups"],
    "open_webui.models.models": ["v0_12.models", "v0_6.models"],
    "open_webui.models.oauth_sessions": ["v0_12.oauth_sessions"],
    "open_webui.models.tools": ["v0_12.tools", "v0_6.tools", "follow.tools"],
    "open_webui.models.users": ["v0_12.users", "v0_12.settings", "v0_6.users", "v0_6.settings", "naga.users"],
    "open_webui.utils.auth": ["v0_12.sessions"],
    "open_webui.utils.mfa": ["v0_12.sessions"],
    "open_webui.utils.cache": ["naga.cache"],
    "open_webui.retrieval.utils": ["follow.embedding"],
    "open_webui.routers.retrieval": ["follow.reranking"],
    "open_webui.socket.main": ["follow.sockets"],
    "open_webui.utils.models": ["follow.models"],
    # The last one stands outermost.
    "open_webui.main": ["follow.models", "follow.reranking", "follow.stream", "middleware"],
}
"""Whose functions are taken over, and which modules of ours do it, by `take(module)`; those of another release are passed over."""


def is_wanted() -> bool:
    """Whether the environment asks for it."""
    return bool(os.environ.get(VARIABLE)) and os.environ.get(SWITCH, "").lower() != "off"


def attach() -> None:
    """Begins to wait, if the environment asks for it. May be called again; must be called before the application is imported."""
    if not is_wanted() or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    try:
        if Address.parse().socket is None:
            raise ValueError("whole rows are told over the Unix socket only (unix:///its/path)")
    except ValueError as error:
        # The application works without us; it must not fail to start because of us.
        sys.stderr.write(f"neverstale: {VARIABLE}: {error}; the application reads from Postgres as before\n")
        return
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the application's modules as they would be found, and looks at them when they have been executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname not in TAKERS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return None
        spec.loader = _Loader(spec.loader)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads as another loader does, and then hands the module over."""

    def __init__(self, loader: importlib.abc.Loader) -> None:
        self._loader = loader

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        release = _release()
        for taker in TAKERS[module.__name__]:
            if taker.partition(".")[0] in _RELEASES - {release}:
                continue
            importlib.import_module(f"{__package__}.{taker}").take(module)

    def __getattr__(self, name: str) -> object:
        # Whatever else a loader can do: give the source, for one.
        return getattr(self._loader, name)


_RELEASES = frozenset({"v0_12", "v0_6", "naga"})


def _release() -> str:
    """Which of our packages knows the application that is being imported, by what it is made of."""
    home = Path(next(iter(sys.modules["open_webui"].__path__)))
    if (home / "models/config.py").exists():
        return "v0_12"
    return "naga" if (home / "utils/super_admin.py").exists() else "v0_6"
