"""Takes over the reads of `Models`: what models are called, made of, and who may use them."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import path, told_now

KNOWN = {
    # 0.6.43
    "get_all_models": frozenset({"69edd2c64b52df1e"}),
    "get_model_by_id": frozenset({"4aea547cf777190e"}),
    "get_models_by_ids": frozenset({"f2a17388f694b121"}),
}
TYPES = {
    "ModelModel": frozenset({"f6c3aa29dacfb6d1"}),
    "ModelParams": frozenset({"1911fedd7e6123a9"}),
    "ModelMeta": frozenset({"fc82030a2a29d680"}),
}
LIST_PATH = "/v1/app/models"


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    models: Any = recognised(module, "Models", KNOWN)
    if models is None or not is_known(module, TYPES):
        return
    ours = _Models(models, module.ModelModel)
    for name in KNOWN:
        setattr(models, name, getattr(ours, name))


class _Models:
    def __init__(self, models: Any, model: Any) -> None:
        self._get_all_models: Callable[[], list[Any]] = models.get_all_models
        self._get_model_by_id: Callable[[str], Any] = models.get_model_by_id
        self._get_models_by_ids: Callable[[list[str]], list[Any]] = models.get_models_by_ids

        def one(body: Any) -> Any:
            return None if body is None else model.model_validate(body)

        def every(body: Any) -> list[Any]:
            return [model.model_validate(row) for row in body["models"]]

        self._one, self._every = one, every

    def get_all_models(self) -> Any:
        found = told_now(self._every, LIST_PATH)
        return self._get_all_models() if found is UNTOLD else found

    def get_model_by_id(self, id: str) -> Any:
        found = told_now(self._one, path("app-model", id))
        return self._get_model_by_id(id) if found is UNTOLD else found

    def get_models_by_ids(self, ids: list[str]) -> list[Any]:
        found = told_now(self._every, LIST_PATH)
        if found is UNTOLD:
            return self._get_models_by_ids(ids)
        return [model for model in found if model.id in ids]
