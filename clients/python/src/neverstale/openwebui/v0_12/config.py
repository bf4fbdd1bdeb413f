"""Takes over `Config.get` and `Config.get_many`: global configuration, one row for each key.

What is asked together is answered together, of one state: addresses and their keys belong together.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.snapshot import path, told

KNOWN = {
    # 0.12.4
    "get": frozenset({"4c0d93241fc66dca"}),
    "get_many": frozenset({"af2c04e759129961"}),
    "persistent_enabled_for": frozenset({"39bff64ace4d48d5"}),
    "default_value": frozenset({"dda54340d9f8f82a"}),
}


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    config: Any = recognised(module, "Config", KNOWN)
    if config is None:
        return
    ours = _Config(config)
    config.get = staticmethod(ours.get)
    config.get_many = staticmethod(ours.get_many)


class _Config:
    def __init__(self, config: Any) -> None:
        self._config = config
        self._get: Callable[..., Awaitable[Any]] = config.get
        self._get_many: Callable[..., Awaitable[dict[str, Any]]] = config.get_many

    async def get(self, key: str, default: Any = None) -> Any:
        if self._config.persistent_enabled_for(key):
            values = await told(_values, *_paths((key,)))
            if values is UNTOLD:
                return await self._get(key, default)
            if key in values:
                return values[key]
        return self._config.default_value(key, default)

    async def get_many(self, *keys: str) -> dict[str, Any]:
        config = self._config
        stored = tuple(key for key in keys if config.persistent_enabled_for(key))
        values = await told(_values, *_paths(stored)) if stored else {}
        if values is UNTOLD:
            return await self._get_many(*keys)
        defaults = config.DEFAULTS
        return {
            key: values[key] if key in values else config.default_value(key)
            for key in keys
            if key in values or key in defaults
        }


@lru_cache(4096)
def _paths(keys: tuple[str, ...]) -> tuple[str | None, ...]:
    """As few reads as their paths may be long."""
    if any("," in key or not key for key in keys):
        return (None,)
    parts: list[list[str]] = [[]]
    for key in dict.fromkeys(keys):
        if parts[-1] and path("app-config", ",".join((*parts[-1], key))) is None:
            parts.append([])
        parts[-1].append(key)
    return tuple(path("app-config", ",".join(part)) for part in parts)


def _values(*bodies: Any) -> dict[str, Any]:
    return {key: value for body in bodies for key, value in body["values"].items()}
