"""The list of base models: of the providers, and the functions that are models. The application keeps it if it is told to
(`ENABLE_BASE_MODELS_CACHE`), until somebody on any replica asks for a new one.

Here it is kept by each process for itself, and bound like the list of models to the version of what it was built from: whatever the
database says of functions and providers holds at once. What a provider itself has new comes when it is asked for, as ever, on all
replicas: the last time has a name in Redis. The application's own copies, in the process and in Redis, are passed by: an older
list may replace a newer one there.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from neverstale.openwebui.recognise import is_known

KNOWN = {"get_all_base_models": frozenset({"4e35799557a8961c", "6efeb73d52bad474"})}
"""Of 0.12.4 and of 0.6.43."""

log = logging.getLogger("neverstale.openwebui")

_KEY = "models.base_models_cache"
_PATIENCE_SECONDS = 0.25
"""With Redis; then nothing is kept."""


@dataclass(slots=True)
class Build:
    """A list of models that is being built."""

    version: str | None
    """Of what it is built from; none where that is not told."""
    redis: Any
    """The application's, if it has one."""
    is_new: bool
    """Whether whoever asked wants the providers asked."""
    is_kept: bool = False
    """Whether the application is set to keep base models."""


_build: ContextVar[Build | None] = ContextVar("neverstale_build", default=None)


@contextmanager
def building(app: Any, version: str | None, *, is_new: bool) -> Iterator[None]:
    """Surrounds a build of the list of models."""
    build = Build(version, getattr(app.state, "redis", None), is_new)
    # Where there are no base models any more the application would take these.
    app.state.BASE_MODELS = []
    config = getattr(app.state, "config", None)
    if config is not None and hasattr(config, "ENABLE_BASE_MODELS_CACHE"):
        # As before 0.10, where the copy in the process is the only one.
        build.is_kept = bool(config.ENABLE_BASE_MODELS_CACHE)
    token = _build.set(build)
    try:
        yield
    finally:
        _build.reset(token)


def take(module: Any) -> bool:
    """Takes `open_webui.utils.models`; says whether it is known."""
    if not is_known(module, KNOWN):
        return False
    module.get_all_base_models = _BaseModels(module.get_all_base_models).get
    if hasattr(module, "Config"):
        module.Config = _Config(module.Config)
    return True


class _BaseModels:
    def __init__(self, own: Callable[..., Awaitable[list[Any]]]) -> None:
        self._own = own
        # What it was built from, and what was built.
        self._kept: tuple[tuple[str, str], list[Any]] | None = None

    async def get(self, request: Any, user: Any = None) -> list[Any]:
        build = _build.get()
        source = None if build is None else await _source(build)
        if build is None or source is None:
            return await self._own(request, user=user)
        kept = self._kept
        if build.is_kept and not build.is_new and kept is not None and kept[0] == source:
            return kept[1]
        models = await self._own(request, user=user)
        self._kept = (source, models)
        return models


async def _source(build: Build) -> tuple[str, str] | None:
    """What a list is built from that is begun now; none where that is not told."""
    if build.version is None or not (build.is_kept or build.is_new):
        return None
    if build.redis is None:
        return build.version, ""
    from open_webui.env import REDIS_KEY_PREFIX

    key = f"{REDIS_KEY_PREFIX}:neverstale:new-models"
    try:
        async with asyncio.timeout(_PATIENCE_SECONDS):
            if build.is_new:
                # A name that was never there before, whatever Redis has forgotten.
                name = uuid.uuid4().hex
                await build.redis.set(key, name)
                return build.version, name
            return build.version, _text(await build.redis.get(key))
    except Exception:
        # Then nothing is kept.
        log.debug("Redis does not tell when new models were asked for", exc_info=True)
        return None


def _text(told: Any) -> str:
    return told.decode() if isinstance(told, bytes) else told or ""


class _Config:
    """The application's `Config`, but that the building of a list is told that nothing is kept."""

    def __init__(self, config: Any) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    async def get_many(self, *keys: str) -> dict[str, Any]:
        values: dict[str, Any] = await self._config.get_many(*keys)
        build = _build.get()
        if build is not None and _KEY in values:
            build.is_kept = bool(values.pop(_KEY))
        return values
