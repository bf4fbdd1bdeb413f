"""Takes over `Groups.get_groups_by_member_id` and `get_groups_by_member_ids`: whose groups, with or without their ancestors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.snapshot import path, told, told_each
from neverstale.openwebui.transactions import is_within_another

KNOWN = {
    # 0.12.4
    "get_groups_by_member_id": frozenset({"811ae498e887384b"}),
    "get_groups_by_member_ids": frozenset({"42decf390aa44465"}),
}


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    groups: Any = recognised(module, "Groups", KNOWN)
    if groups is None:
        return
    ours = _Groups(groups, module.GroupModel)
    groups.get_groups_by_member_id = ours.get_groups_by_member_id
    groups.get_groups_by_member_ids = ours.get_groups_by_member_ids


class _Groups:
    def __init__(self, groups: Any, model: Any) -> None:
        self._by_id: Callable[..., Awaitable[list[Any]]] = groups.get_groups_by_member_id
        self._by_ids: Callable[..., Awaitable[dict[str, list[Any]]]] = groups.get_groups_by_member_ids

        def models(body: Any) -> list[Any]:
            return [model.model_validate(group) for group in body["groups"]]

        self._models = models

    async def get_groups_by_member_id(
        self, user_id: str, db: Any = None, *, include_inherited: bool = False
    ) -> list[Any]:
        if not is_within_another(db):
            groups = await told(self._models, path(_view(include_inherited), user_id))
            if groups is not UNTOLD:
                return groups  # type: ignore[no-any-return]
        return await self._by_id(user_id, db, include_inherited=include_inherited)

    async def get_groups_by_member_ids(
        self, user_ids: list[str], db: Any = None, *, include_inherited: bool = False
    ) -> dict[str, list[Any]]:
        ids = list(dict.fromkeys(user_ids))
        if ids and not is_within_another(db):
            view = _view(include_inherited)
            groups = await told_each(self._models, [path(view, id) for id in ids])
            if groups is not None:
                return dict(zip(ids, groups, strict=True))
        return await self._by_ids(user_ids, db, include_inherited=include_inherited)


def _view(include_inherited: bool) -> str:
    return "app-groups" if include_inherited else "app-groups-direct"
