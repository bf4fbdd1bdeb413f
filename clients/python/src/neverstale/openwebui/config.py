"""Takes over `Config.get` and `Config.get_many`: global configuration, one row for each key.

The sidecar tells no secrets here, and answers for them as for what does not exist; such keys are asked of Postgres, and for a
while only there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import monotonic
from types import ModuleType
from typing import Any

from neverstale import reads
from neverstale.answers import Batch
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.sidecar import Sidecar, sidecar
from neverstale.problems import ProblemError

KNOWN = {
    # 0.12.4
    "get": frozenset({"4c0d93241fc66dca"}),
    "get_many": frozenset({"af2c04e759129961"}),
    "persistent_enabled_for": frozenset({"39bff64ace4d48d5"}),
    "default_value": frozenset({"dda54340d9f8f82a"}),
}

_UNTOLD_SECONDS = 5.0
_UNTOLD_MAX = 4096


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    config: Any = recognised(module, "Config", KNOWN)
    if config is None:
        return
    ours = _Config(config, sidecar())
    config.get = staticmethod(ours.get)
    config.get_many = staticmethod(ours.get_many)


class _Config:
    def __init__(self, config: Any, sidecar: Sidecar) -> None:
        self._config = config
        self._get: Callable[..., Awaitable[Any]] = config.get
        self._get_many: Callable[..., Awaitable[dict[str, Any]]] = config.get_many
        self._sidecar = sidecar
        # Keys that the sidecar does not tell, and until when they are not asked of it.
        self._untold: dict[str, float] = {}

    async def get(self, key: str, default: Any = None) -> Any:
        if self._config.persistent_enabled_for(key) and self._is_told(key):
            told = await self._sidecar.value(reads.config_value(key))
            if told is not None:
                return told["value"]
            if not self._sidecar.is_away:
                self._is_not_told(key)
        return await self._get(key, default)

    async def get_many(self, *keys: str) -> dict[str, Any]:
        stored = [key for key in dict.fromkeys(keys) if self._config.persistent_enabled_for(key)]
        if all(self._is_told(key) for key in stored):
            batch = await self._sidecar.values([reads.config_value(key) for key in stored])
            values = self._values(stored, batch) if batch is not None else None
            if values is not None:
                # The application has a say in the keys that are not stored; that asks nobody.
                values |= await self._get_many(*(key for key in keys if key not in values))
                return {key: values[key] for key in keys if key in values}
        # All from one place: the values belong together (addresses and their keys), so they must be of one state.
        return await self._get_many(*keys)

    def _values(self, keys: list[str], batch: Batch) -> dict[str, Any] | None:
        """The values of all keys, or none."""
        values = {}
        for place, key in enumerate(keys):
            try:
                values[key] = batch[place]["value"]
            except ProblemError:
                self._is_not_told(key)
        return values if len(values) == len(keys) else None

    def _is_told(self, key: str) -> bool:
        if not key:
            return False
        until = self._untold.get(key)
        return until is None or monotonic() >= until

    def _is_not_told(self, key: str) -> None:
        if len(self._untold) >= _UNTOLD_MAX:
            self._untold.clear()
        self._untold[key] = monotonic() + _UNTOLD_SECONDS
