"""The list of models, `app.state.MODELS`, by which the application decides what may be chatted with.

The application builds it when somebody asks for the list, and believes it for ever after; its replicas share it
through Redis, last writer wins. Here each process has its own, bound to the version of what it was built from (the
view `registry`), and before a request that may use it the version is asked: if it is another, or not told, the list
is built anew first. A build that began earlier never replaces one that began later.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from neverstale.events import Event
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.follow import MODELS, base_models, follows, stream
from neverstale.openwebui.follow.base_models import building
from neverstale.openwebui.recognise import fingerprint
from neverstale.openwebui.snapshot import path, seen

log = logging.getLogger("neverstale.openwebui")

KNOWN = frozenset({"f6577283e82a7f04", "ea2cbac5e83c70cb"})
"""`get_all_models` of 0.12.4 and of 0.6.43."""

_VERSION = path("registry", "models")
# What reads only, reads from the database; the list itself is built anew for whoever asks for it.
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SOCKETS = "/ws/"
_TAGS = ("model.", "function.", "config.")

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Built:
    """A list of models, and what it was built from."""

    models: Any
    version: str | None
    began: int


class Registry:
    """The process's list of models."""

    def __init__(self, get_all_models: Callable[..., Awaitable[Any]]) -> None:
        self._get_all_models = get_all_models
        self._begins = itertools.count(1)
        self._built: Built | None = None
        self._lock = asyncio.Lock()

    async def get_all_models(self, request: Any, *arguments: Any, **named: Any) -> Any:
        """The application's own, which also puts the list into its state; here it learns how old that is."""
        began = next(self._begins)
        version = await _version()
        with building(request.app, version, is_new=bool(named.get("refresh", arguments[:1] == (True,)))):
            models = await self._get_all_models(request, *arguments, **named)
        # Nothing else has run since the application put the new list there.
        state, newest = request.app.state, self._built
        if newest is not None and newest.began > began:
            state.MODELS = newest.models
        else:
            if not models:
                # The application leaves the old list when there is nothing to list.
                state.MODELS = {}
            self._built = Built(state.MODELS, version, began)
        return models

    async def hold(self, app: Any) -> None:
        """Sees to it that the list holds for whoever asks now."""
        if not app.state.MODELS:
            # The application builds it when it needs it.
            return
        version = await _version()
        if self._holds(app, version):
            return
        async with self._lock:
            version = await _version()
            if self._holds(app, version):
                return
            try:
                await self._build(app, is_told=version is not None)
            except Exception:
                # Rather none than an old one: the application tries again by itself.
                log.exception("the list of models can't be built anew")
                app.state.MODELS = {}

    def _holds(self, app: Any, version: str | None) -> bool:
        built = self._built
        return (
            version is not None and built is not None and built.models is app.state.MODELS and built.version == version
        )

    async def _build(self, app: Any, *, is_told: bool) -> None:
        from starlette.requests import Request

        scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": [], "app": app}
        scope |= {"scheme": "http", "server": ("127.0.0.1", 0), "client": ("127.0.0.1", 0), "state": {}}
        if is_told:
            # The lists of providers are kept for a second; these may be of other settings.
            for name in ("openai", "ollama"):
                await _forget_lists(name)
        await self.get_all_models(Request(scope), refresh=is_told)


class Middleware:
    """Lets a request begin when the list of models holds."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if _registry is not None and _may_use_it(scope):
            await _registry.hold(scope["app"])
        await self._app(scope, receive, send)


_registry: Registry | None = None


def registry() -> Registry | None:
    """The process's list, once the application is there and known."""
    return _registry


def take(module: ModuleType) -> None:
    """Takes `open_webui.utils.models`, which builds the list, or `open_webui.main`, which serves requests."""
    global _registry
    if not follows(MODELS):
        return
    if module.__name__ == "open_webui.main":
        if _registry is not None:
            # Each process has its own list: in a shared one an old build could replace a new one.
            module.app.state.MODELS = {}
            module.app.add_middleware(Middleware)
            # What works in the background has no request that begins.
            stream.listen(partial(_changed, module.app), partial(_registry.hold, module.app))
        return
    if fingerprint(module.get_all_models) not in KNOWN or not base_models.take(module):
        log.warning(
            "%s: get_all_models not as in a release that is known; the list of models is not followed", module.__name__
        )
        return
    _registry = Registry(module.get_all_models)
    module.get_all_models = _registry.get_all_models  # type: ignore[attr-defined]


async def _changed(app: Any, event: Event) -> None:
    if _registry is not None and any(tag.startswith(_TAGS) for tag in event.tags):
        await _registry.hold(app)


def _may_use_it(scope: MutableMapping[str, Any]) -> bool:
    if scope["type"] == "http":
        return scope["method"] not in _READING and not scope["path"].startswith(_SOCKETS)
    return scope["type"] == "websocket" and not scope["path"].startswith(_SOCKETS)


async def _version() -> str | None:
    """Of what the list would be built now; none where the sidecar does not tell."""
    version = await seen(_version_of, _VERSION)
    return None if version is UNTOLD else str(version)


def _version_of(body: dict[str, str]) -> str:
    return body["version"]


async def _forget_lists(provider: str) -> None:
    import importlib

    asked = importlib.import_module(f"open_webui.routers.{provider}").get_all_models
    cache = getattr(asked, "cache", None)
    if cache is not None:
        await cache.clear()
