"""The reranking function, which the application makes when it starts and when its settings are saved on that very replica.

The application decides by whether there is one, so it has to be right when a request begins: before a request that may search, the
settings are looked at, and if it was made from others it is made anew by the application's own means. While hybrid search is off
nobody asks for it, and it is left as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from math import inf
from time import monotonic
from types import ModuleType
from typing import Any

from neverstale.openwebui.follow import RERANKING, follows
from neverstale.openwebui.recognise import is_known

log = logging.getLogger("neverstale.openwebui")

KNOWN_ROUTER = {"get_rf": frozenset({"7326dff3020546dc", "8bca039143e7e0cc"})}
KNOWN_UTILS = {"get_reranking_function": frozenset({"a7fa3b2e875736f2", "080edf79d68678e1"})}
"""Of 0.12.4 and of 0.6.43."""

_KEYS = ("engine", "model", "external_url", "external_api_key", "external_timeout", "batch_size")
_STORED = {
    "rag.reranking_engine": "RAG_RERANKING_ENGINE",
    "rag.reranking_model": "RAG_RERANKING_MODEL",
    "rag.external_reranker_url": "RAG_EXTERNAL_RERANKER_URL",
    "rag.external_reranker_api_key": "RAG_EXTERNAL_RERANKER_API_KEY",
    "rag.external_reranker_timeout": "RAG_EXTERNAL_RERANKER_TIMEOUT",
    "rag.reranking_batch_size": None,
}
_IS_ON, _IS_OFF = "rag.enable_hybrid_search", "rag.bypass_embedding_and_retrieval"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})
_SEARCHING = ("chat", "retrieval", "knowledge")
"""One of these is in the path of whatever may search."""
_RETRY_SECONDS = 30.0
"""After a function could not be made."""

App = Callable[[MutableMapping[str, Any], Any, Any], Awaitable[None]]
Settings = dict[str, Any]


class Reranker:
    """The process's reranking function."""

    def __init__(self, get_rf: Callable[..., Any]) -> None:
        self._get_rf = get_rf
        # The model that was made last by whomever, and from what.
        self._model: tuple[Any, tuple[Any, ...]] | None = None
        # What is in the application's state, and the settings it was made from.
        self._made: tuple[Any, Settings] | None = None
        self._retry_at = inf
        self._lock = asyncio.Lock()

    def get_rf(self, *arguments: Any, **named: Any) -> Any:
        """The application's own; here it is learnt what the model was made from."""
        model = self._get_rf(*arguments, **named)
        self._model = None if named else (model, arguments)
        return model

    async def hold(self, app: Any) -> None:
        """Sees to it that the function holds for whoever asks now."""
        settings = await _settings(app)
        if settings is None or self._holds(app, settings):
            return
        async with self._lock:
            settings = await _settings(app)
            if settings is None or self._holds(app, settings):
                return
            try:
                # A model of this process's own takes long, and so a thread.
                model, function = await asyncio.to_thread(self._make, app, settings)
                self._retry_at = inf
            except Exception:
                # As the application does when it starts; rather none than an old one.
                log.exception("the reranking function can't be made anew")
                model = function = None
                self._retry_at = monotonic() + _RETRY_SECONDS
            app.state.rf, app.state.RERANKING_FUNCTION = model, function
            self._made = function, settings

    def _holds(self, app: Any, settings: Settings) -> bool:
        if self._made is None or monotonic() > self._retry_at:
            return False
        return self._made[0] is app.state.RERANKING_FUNCTION and self._made[1] == settings

    def _make(self, app: Any, settings: Settings) -> tuple[Any, Any]:
        from open_webui.retrieval.utils import get_reranking_function

        wanted = tuple(settings[key] for key in _KEYS[:5])
        held = self._model
        if held is not None and held[0] is app.state.rf and held[1] == wanted:
            # Made by the application itself, when it started or just now.
            model = held[0]
        else:
            model = self.get_rf(*wanted)
        batch = {} if settings["batch_size"] is None else {"reranking_batch_size": settings["batch_size"]}
        return model, get_reranking_function(wanted[0], wanted[1], reranking_function=model, **batch)


class Middleware:
    """Lets a request begin when the reranking function holds."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if _reranker is not None and may_search(scope):
            try:
                await _reranker.hold(scope["app"])
            except Exception:
                # What it can't read the application will tell by itself.
                log.exception("the reranking function is left as it is")
        await self._app(scope, receive, send)


def may_search(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request may come to ask for the function."""
    if scope["type"] != "http" or scope["method"] in _READING:
        return False
    return any(word in scope["path"] for word in _SEARCHING)


_reranker: Reranker | None = None


def take(module: ModuleType) -> None:
    """Takes `open_webui.routers.retrieval`, which makes models, or `open_webui.main`, which serves requests."""
    global _reranker
    if not follows(RERANKING):
        return
    if module.__name__ == "open_webui.main":
        if _reranker is not None:
            module.app.add_middleware(Middleware)
        return
    if is_known(module, KNOWN_ROUTER) and is_known(module, KNOWN_UTILS):
        _reranker = Reranker(module.get_rf)
        module.get_rf = _reranker.get_rf  # type: ignore[attr-defined]


async def _settings(app: Any) -> Settings | None:
    """The settings as they are now; none where nobody asks for the function."""
    config = getattr(app.state, "config", None)
    if config is not None and hasattr(config, "RAG_RERANKING_MODEL"):
        # As before 0.10, where settings are attributes.
        if not config.ENABLE_RAG_HYBRID_SEARCH or config.BYPASS_EMBEDDING_AND_RETRIEVAL:
            return None
        values = [name and getattr(config, name) for name in _STORED.values()]
    else:
        from open_webui.models.config import Config

        told = await Config.get_many(_IS_ON, _IS_OFF, *_STORED)
        if not told.get(_IS_ON) or told.get(_IS_OFF):
            return None
        values = [told.get(key) for key in _STORED]
    return dict(zip(_KEYS, values, strict=True))
