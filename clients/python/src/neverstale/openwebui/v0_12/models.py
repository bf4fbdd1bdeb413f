"""Takes over the reads of `Models`: the models of the workspace with their grants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.snapshot import path, told, told_each
from neverstale.openwebui.transactions import is_within_another
from neverstale.openwebui.v0_12.texts import decoded

KNOWN = {
    # 0.12.4
    "get_all_models": frozenset({"0ecd85db8e516552"}),
    "get_model_by_id": frozenset({"238488f84807a635"}),
    "get_models_by_ids": frozenset({"2c0ef2cc5979525d"}),
    "_to_model_model": frozenset({"eb855fd4cfee1a27"}),
    "_get_access_grants": frozenset({"97f2adb8fb82de2c"}),
}
LIST_PATH = "/v1/app/models"


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    models: Any = recognised(module, "Models", KNOWN)
    if models is None:
        return
    ours = _Models(models, module)
    for name in ("get_all_models", "get_model_by_id", "get_models_by_ids"):
        setattr(models, name, getattr(ours, name))


class _Models:
    def __init__(self, models: Any, module: Any) -> None:
        self._get_all_models: Callable[..., Awaitable[list[Any]]] = models.get_all_models
        self._get_model_by_id: Callable[..., Awaitable[Any]] = models.get_model_by_id
        self._get_models_by_ids: Callable[..., Awaitable[list[Any]]] = models.get_models_by_ids
        model_type, grant_type = module.ModelModel, module.AccessGrantModel

        def model(row: Any, grants: list[Any]) -> Any:
            known = {**row, "params": decoded(row["params"]), "meta": decoded(row["meta"])}
            known.pop("access_grants", None)
            made = model_type.model_validate(known)
            made.access_grants = [grant_type.model_validate(grant) for grant in grants]
            return made

        def one(body: Any) -> Any:
            row = body["model"]
            return None if row is None else model(row, row["access_grants"])

        def every(body: Any, grants: Any) -> list[Any]:
            by_id: dict[str, list[Any]] = {}
            for grant in grants["grants"]:
                by_id.setdefault(grant["resource_id"], []).append(grant)
            # A row that the type refuses is for the application to skip and to name: then all of them are.
            return [model(row, by_id.get(row["id"], [])) for row in body["models"]]

        self._one, self._every = one, every

    async def get_all_models(self, db: Any = None) -> list[Any]:
        if not is_within_another(db):
            models = await told(self._every, LIST_PATH, path("app-grants-of-type", "model"))
            if models is not UNTOLD:
                return models  # type: ignore[no-any-return]
        return await self._get_all_models(db)

    async def get_model_by_id(self, id: str, db: Any = None) -> Any:
        if not is_within_another(db):
            model = await told(self._one, path("app-model", id))
            if model is not UNTOLD:
                return model
        return await self._get_model_by_id(id, db)

    async def get_models_by_ids(self, ids: list[str], db: Any = None) -> list[Any]:
        distinct = list(dict.fromkeys(ids))
        if distinct and not is_within_another(db):
            models = await told_each(self._one, [path("app-model", id) for id in distinct])
            if models is not None:
                return [model for model in models if model is not None]
        return await self._get_models_by_ids(ids, db)
