"""The embedding function, which the application makes when it starts and when its settings are saved on that very
replica.

What `get_embedding_function` gives is put behind one that looks, at each use, whether the settings are still those it
was made from, and if not makes it anew by the application's own means. So a question is embedded by the model that
documents are.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.follow import EMBEDDING, follows
from neverstale.openwebui.recognise import fingerprint

log = logging.getLogger("neverstale.openwebui")

KNOWN = frozenset({"6f1b3559486e8701", "e13dab693fedded5"})
"""`get_embedding_function` of 0.12.4 and of 0.6.43."""

_FIELDS = ("engine", "model", "url", "key", "batch_size", "api_version", "is_concurrent", "concurrent_max")
Settings = dict[str, Any]
Embed = Callable[..., Awaitable[Any]]


def take(module: ModuleType) -> None:
    """Takes `open_webui.retrieval.utils`."""
    if not follows(EMBEDDING):
        return
    if fingerprint(module.get_embedding_function) not in KNOWN:
        log.warning("%s: get_embedding_function not as in a release that is known; it is not followed", module.__name__)
        return
    make = module.get_embedding_function

    def get_embedding_function(
        embedding_engine: str,
        embedding_model: str,
        embedding_function: Any,
        url: str | None,
        key: str | None,
        embedding_batch_size: int,
        azure_api_version: str | None = None,
        enable_async: bool = True,
        concurrent_requests: int | None = None,
    ) -> Embed:
        given = (embedding_engine, embedding_model, url, key, embedding_batch_size, azure_api_version)
        made_from = dict(zip(_FIELDS, (*given, enable_async, concurrent_requests), strict=True))
        return _Followed(make, made_from, embedding_function)

    module.get_embedding_function = get_embedding_function  # type: ignore[attr-defined]


class _Followed:
    """An embedding function that is made anew when its settings have changed."""

    def __init__(self, make: Callable[..., Embed], settings: Settings, local: Any) -> None:
        self._make = make
        self._made = settings, self._of(settings, local)

    async def __call__(self, *arguments: Any, **named: Any) -> Any:
        settings = await _settings()
        if settings is None:
            return await self._made[1](*arguments, **named)
        made_from, embed = self._made
        if made_from != settings:
            embed = await asyncio.to_thread(self._anew, settings)
            self._made = settings, embed
        return await embed(*arguments, **named)

    def _anew(self, settings: Settings) -> Embed:
        from open_webui.routers.retrieval import get_ef

        # A model of this process's own, if the engine is that; takes long, and so a thread.
        return self._of(settings, get_ef(settings["engine"], settings["model"]))

    def _of(self, settings: Settings, local: Any) -> Embed:
        values = [settings[name] for name in _FIELDS]
        more = {"enable_async": values[6]}
        if values[7] is not None:
            more["concurrent_requests"] = values[7]
        return self._make(values[0], values[1], local, *values[2:5], azure_api_version=values[5], **more)


async def _settings() -> Settings | None:
    """The settings as they are now; none before the application is there."""
    main = sys.modules.get("open_webui.main")
    if main is None or not hasattr(main, "app"):
        return None
    config = getattr(main.app.state, "config", None)
    if config is not None and hasattr(config, "RAG_EMBEDDING_ENGINE"):
        return _settings_of_one_document(config)
    from open_webui.models.config import Config

    own = {"openai": "rag.openai.api_base_url", "ollama": "rag.ollama.base_url"}
    keys = ["rag.embedding_engine", "rag.embedding_model", "rag.embedding_batch_size", "rag.enable_async_embedding"]
    keys += ["rag.embedding_concurrent_requests", "rag.azure_openai.base_url", "rag.azure_openai.api_version"]
    keys += [*own.values(), *(f"rag.{name}.api_key" for name in (*own, "azure_openai"))]
    told = await Config.get_many(*keys)
    engine = told.get("rag.embedding_engine")
    provider = engine if engine in own else "azure_openai"
    values = (
        engine,
        told.get("rag.embedding_model"),
        told.get(own.get(provider, "rag.azure_openai.base_url")),
        told.get(f"rag.{provider}.api_key"),
        told.get("rag.embedding_batch_size"),
        told.get("rag.azure_openai.api_version") if engine == "azure_openai" else None,
        told.get("rag.enable_async_embedding"),
        told.get("rag.embedding_concurrent_requests"),
    )
    return dict(zip(_FIELDS, values, strict=True))


def _settings_of_one_document(config: Any) -> Settings:
    """As before 0.10, where settings are attributes."""
    engine = config.RAG_EMBEDDING_ENGINE
    provider = {"openai": "RAG_OPENAI_API", "ollama": "RAG_OLLAMA"}.get(engine, "RAG_AZURE_OPENAI")
    values = (
        engine,
        config.RAG_EMBEDDING_MODEL,
        getattr(config, f"{provider}_BASE_URL"),
        getattr(config, f"{provider.removesuffix('_API')}_API_KEY"),
        config.RAG_EMBEDDING_BATCH_SIZE,
        config.RAG_AZURE_OPENAI_API_VERSION if engine == "azure_openai" else None,
        config.ENABLE_ASYNC_EMBEDDING,
        None,
    )
    return dict(zip(_FIELDS, values, strict=True))
