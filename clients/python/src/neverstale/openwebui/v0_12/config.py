"""Takes over `Config.get` and `Config.get_many`: global configuration, one row for each key; and `Config.upsert`.

What is asked together is answered together, of one state: addresses and their keys belong together.

A save of a key writes its value whole. Where the request has read a value that is a document, and writes it back with something changed
(webhooks), it could erase what somebody else has saved meanwhile: such a key is saved as an edit (`edits`), and one that the request has
read and does not change is not written. Keys that are saved together, such as addresses and their keys, belong together: they are left
to the application, which writes them in one transaction.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import lru_cache
from types import ModuleType
from typing import Any

from neverstale.openwebui import edits, saves
from neverstale.openwebui.documents import ABSENT, fresh
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import held, path

KNOWN = {
    # 0.12.4
    "get": frozenset({"4c0d93241fc66dca"}),
    "get_many": frozenset({"af2c04e759129961"}),
    "persistent_enabled_for": frozenset({"39bff64ace4d48d5"}),
    "default_value": frozenset({"dda54340d9f8f82a"}),
}
UPSERT = {"upsert": frozenset({"ce38dbf37f0f3eb8"})}
JSON_VALUE = {"_json_value": frozenset({"9109e7e64c7e0b43"})}


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    config: Any = recognised(module, "Config", KNOWN)
    if config is None:
        return
    ours = _Config(config)
    config.get = staticmethod(ours.get)
    config.get_many = staticmethod(ours.get_many)
    if recognised(module, "Config", UPSERT) is not None and is_known(module, JSON_VALUE):
        config.upsert = staticmethod(_Upsert(module).upsert)


class _Config:
    def __init__(self, config: Any) -> None:
        self._config = config
        self._get: Callable[..., Awaitable[Any]] = config.get
        self._get_many: Callable[..., Awaitable[dict[str, Any]]] = config.get_many

    async def get(self, key: str, default: Any = None) -> Any:
        if self._config.persistent_enabled_for(key):
            values = await _stored((key,))
            if values is UNTOLD:
                value = await self._get(key, default)
                edits.given_instead(key, value)
                return value
            if key in values:
                return values[key]
            edits.given_instead(key, self._config.default_value(key, default))
        return self._config.default_value(key, default)

    async def get_many(self, *keys: str) -> dict[str, Any]:
        config = self._config
        stored = tuple(key for key in keys if config.persistent_enabled_for(key))
        values = await _stored(stored) if stored else {}
        if values is UNTOLD:
            found = await self._get_many(*keys)
            for key, value in found.items():
                edits.given_instead(key, value)
            return found
        defaults = config.DEFAULTS
        for key in stored:
            if key not in values and key in defaults:
                edits.given_instead(key, config.default_value(key))
        return {
            key: values[key] if key in values else config.default_value(key)
            for key in keys
            if key in values or key in defaults
        }


async def _stored(keys: tuple[str, ...]) -> Any:
    """The rows of some keys; `UNTOLD` where Postgres is to be asked."""
    entries = await held(*_paths(keys))
    if entries is None:
        return UNTOLD
    for entry in entries:
        edits.given_all(entry.body["values"])
    return entries[0].fresh(_values, entries[1:])


class _Upsert:
    def __init__(self, module: Any) -> None:
        self._module = module
        self._config = module.Config
        self._own: Callable[..., Awaitable[None]] = self._config.upsert

    async def upsert(self, updates: dict[str, Any], *, db: Any = None) -> None:
        if db is not None:
            await self._own(updates, db=db)
            return
        values = {key: self._module._json_value(value) for key, value in updates.items()}
        if len(values) == 1 and await self._is_edited(*values.popitem()):
            return
        await self._own(updates)
        for key, value in updates.items():
            edits.saved(key, fresh(self._module._json_value(value)))

    async def _is_edited(self, key: str, value: Any) -> bool:
        """Saves what the request has changed, if that can be told."""
        was = edits.base(key)
        if was is edits.UNKNOWN or not self._config.persistent_enabled_for(key):
            return False
        change = edits.change(was, value)
        if change is None and not edits.is_stored(key):
            change = edits.unless_there(value)
        if change is None:
            return True
        if not isinstance(was, dict | list) and not isinstance(value, dict | list):
            return False
        await self._save(key, change)
        edits.saved(key, fresh(value))
        return True

    async def _save(self, key: str, change: edits.Change) -> None:
        if key and await saves.saves().save(saves.config(key), change) is not UNTOLD:
            return
        from sqlalchemy.exc import IntegrityError

        try:
            await self._locked(key, change)
        except IntegrityError:
            # Somebody else has just made the row.
            await self._locked(key, change)

    async def _locked(self, key: str, change: edits.Change) -> None:
        config = self._config
        async with self._module.get_async_db() as db:
            row = await db.get(config, key, with_for_update=True)
            now = ABSENT if row is None else row.value
            value = change(now)
            if edits.is_same(value, now):
                return
            moment = int(self._module.time.time())
            if row is None:
                db.add(config(key=key, value=value, updated_at=moment))
            else:
                row.value, row.updated_at = value, moment
            await db.commit()


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
