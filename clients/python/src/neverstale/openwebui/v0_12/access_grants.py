"""Takes over the reads of `AccessGrants`: who may use which model, tool, document.

The rule is the application's: a grant to everyone, to the user, or to one of the user's groups. Whose groups are not given is asked
of the application's own function. Of models and tools, which are asked for by the hundred, the grants are one read for all.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.snapshot import path, seen, told, told_each
from neverstale.openwebui.transactions import is_within_another

KNOWN = {
    # 0.12.4
    "has_access": frozenset({"b63020e9accd3524"}),
    "get_accessible_resource_ids": frozenset({"224697ea41dcf458"}),
    "get_grants_by_resource": frozenset({"73659a88aa2c1cde"}),
    "get_grants_by_resources": frozenset({"bfe712f7241aaa47"}),
}
LISTED = frozenset(("model", "tool"))
"""The types of resources of which all grants are one read."""

Granted = frozenset[tuple[str, str, str]]
"""Permission, kind of principal, principal."""


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    grants: Any = recognised(module, "AccessGrants", KNOWN)
    if grants is None:
        return
    ours = _AccessGrants(grants, module.AccessGrantModel)
    for name in KNOWN:
        setattr(grants, name, getattr(ours, name))


class _AccessGrants:
    def __init__(self, grants: Any, model: Any) -> None:
        self._has_access: Callable[..., Awaitable[bool]] = grants.has_access
        self._get_accessible: Callable[..., Awaitable[set[str]]] = grants.get_accessible_resource_ids
        self._of_one: Callable[..., Awaitable[list[Any]]] = grants.get_grants_by_resource
        self._of_several: Callable[..., Awaitable[dict[str, list[Any]]]] = grants.get_grants_by_resources

        def models(body: Any) -> list[Any]:
            return [model.model_validate(grant) for grant in body["grants"]]

        self._models = models

    async def has_access(
        self,
        user_id: str,
        resource_type: str,
        resource_id: str,
        permission: str = "read",
        user_group_ids: set[str] | None = None,
        db: Any = None,
    ) -> bool:
        if not is_within_another(db):
            granted = await seen(_granted, _path(resource_type, resource_id))
            if granted is not UNTOLD:
                if user_group_ids is None:
                    user_group_ids = await _group_ids(user_id)
                return _is_granted(granted, user_id, permission, user_group_ids)
        return await self._has_access(user_id, resource_type, resource_id, permission, user_group_ids, db)

    async def get_accessible_resource_ids(
        self,
        user_id: str,
        resource_type: str,
        resource_ids: list[str],
        permission: str = "read",
        user_group_ids: set[str] | None = None,
        db: Any = None,
    ) -> set[str]:
        if resource_ids and not is_within_another(db):
            granted = await self._granted_of(resource_type, resource_ids)
            if granted is not None:
                if user_group_ids is None:
                    user_group_ids = await _group_ids(user_id)
                return {
                    id
                    for id in resource_ids
                    if id in granted and _is_granted(granted[id], user_id, permission, user_group_ids)
                }
        return await self._get_accessible(user_id, resource_type, resource_ids, permission, user_group_ids, db)

    async def get_grants_by_resource(self, resource_type: str, resource_id: str, db: Any = None) -> list[Any]:
        if not is_within_another(db):
            grants = await told(self._models, _path(resource_type, resource_id))
            if grants is not UNTOLD:
                return grants  # type: ignore[no-any-return]
        return await self._of_one(resource_type, resource_id, db)

    async def get_grants_by_resources(
        self, resource_type: str, resource_ids: list[str], db: Any = None
    ) -> dict[str, list[Any]]:
        if resource_ids and not is_within_another(db):
            if resource_type in LISTED:
                grants = await told(self._models, path("app-grants-of-type", resource_type))
                if grants is not UNTOLD:
                    by_id: dict[str, list[Any]] = {id: [] for id in resource_ids}
                    for grant in grants:
                        if grant.resource_id in by_id:
                            by_id[grant.resource_id].append(grant)
                    return by_id
            else:
                ids = list(dict.fromkeys(resource_ids))
                several = await told_each(self._models, [_path(resource_type, id) for id in ids])
                if several is not None:
                    return dict(zip(ids, several, strict=True))
        return await self._of_several(resource_type, resource_ids, db)

    async def _granted_of(self, resource_type: str, resource_ids: list[str]) -> dict[str, Granted] | None:
        if resource_type in LISTED:
            listed = await seen(_granted_by_id, path("app-grants-of-type", resource_type))
            return None if listed is UNTOLD else listed
        ids = list(dict.fromkeys(resource_ids))
        several = await told_each(_granted, [_path(resource_type, id) for id in ids])
        return None if several is None else dict(zip(ids, several, strict=True))


def _granted(body: Any) -> Granted:
    return frozenset((grant["permission"], grant["principal_type"], grant["principal_id"]) for grant in body["grants"])


def _granted_by_id(body: Any) -> dict[str, Granted]:
    by_id: dict[str, list[Any]] = {}
    for grant in body["grants"]:
        by_id.setdefault(grant["resource_id"], []).append(grant)
    return {id: _granted({"grants": grants}) for id, grants in by_id.items()}


def _is_granted(granted: Granted, user_id: str, permission: str, group_ids: set[str]) -> bool:
    if not granted:
        return False
    return (
        (permission, "user", "*") in granted
        or (permission, "user", user_id) in granted
        or any((permission, "group", id) in granted for id in group_ids)
    )


async def _group_ids(user_id: str) -> set[str]:
    from open_webui.models.groups import Groups

    groups = await Groups.get_groups_by_member_id(user_id, include_inherited=True)
    return {group.id for group in groups}


def _path(resource_type: str, resource_id: str) -> str | None:
    """None where type and id can't be told apart in the view's key."""
    if ":" in resource_type or not resource_type or not isinstance(resource_id, str):
        return None
    return path("app-grants", f"{resource_type}:{resource_id}")
