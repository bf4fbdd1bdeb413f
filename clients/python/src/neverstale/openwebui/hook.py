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
from types import ModuleType

from neverstale.address import VARIABLE, Address

SWITCH = "NEVERSTALE_OPENWEBUI"
"""`off` leaves the application alone although `NEVERSTALE_URL` is set."""

TAKERS = {
    "open_webui.models.config": "neverstale.openwebui.config",
    "open_webui.models.access_grants": "neverstale.openwebui.access_grants",
    "open_webui.models.functions": "neverstale.openwebui.functions",
}
"""Whose functions are taken over, and which module of ours does it, by its `take(module)`."""


def is_wanted() -> bool:
    """Whether the environment asks for it."""
    return bool(os.environ.get(VARIABLE)) and os.environ.get(SWITCH, "").lower() != "off"


def attach() -> None:
    """Begins to wait, if the environment asks for it. May be called again; must be called before the application is imported."""
    if not is_wanted() or any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    try:
        Address.parse()
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
        importlib.import_module(TAKERS[module.__name__]).take(module)

    def __getattr__(self, name: str) -> object:
        # Whatever else a loader can do: give the source, for one.
        return getattr(self._loader, name)
