"""Takes over `AccessGrants.has_access` and `get_accessible_resource_ids`: who may use which model, tool, document.

The rule is the application's: a grant to everyone, to the user, or to one of the user's groups. Whose groups are not given is asked
of the application's own function.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale import reads
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.sidecar import Sidecar, sidecar
from neverstale.openwebui.transactions import is_within_another
from neverstale.problems import ProblemError

KNOWN = {
    # 0.12.4
    "has_access": frozenset({"b63020e9accd3524"}),
    "get_accessible_resource_ids": frozenset({"224697ea41dcf458"}),
}


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    grants: Any = recognised(module, "AccessGrants", KNOWN)
    if grants is None:
        return
    ours = _AccessGrants(grants, sidecar())
    grants.has_access = ours.has_access
    grants.get_accessible_resource_ids = ours.get_accessible_resource_ids


class _AccessGrants:
    def __init__(self, grants: Any, sidecar: Sidecar) -> None:
        self._has_access: Callable[..., Awaitable[bool]] = grants.has_access
        self._get_accessible: Callable[..., Awaitable[set[str]]] = grants.get_accessible_resource_ids
        self._sidecar = sidecar

    async def has_access(
        self,
        user_id: str,
        resource_type: str,
        resource_id: str,
        permission: str = "read",
        user_group_ids: set[str] | None = None,
        db: Any = None,
    ) -> bool:
        if _is_plain(resource_type) and not is_within_another(db):
            told = await self._sidecar.value(_read(resource_type, resource_id))
            if told is not None:
                if user_group_ids is None:
                    user_group_ids = await _group_ids(user_id)
                return _is_granted(told["grants"], user_id, permission, user_group_ids)
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
        ids = list(dict.fromkeys(resource_ids))
        if ids and _is_plain(resource_type) and not is_within_another(db):
            batch = await self._sidecar.values([_read(resource_type, id) for id in ids])
            if batch is not None:
                if user_group_ids is None:
                    user_group_ids = await _group_ids(user_id)
                try:
                    grants = [told["grants"] for told in batch]
                except ProblemError:
                    # One of them can't be asked for so.
                    return await self._get_accessible(
                        user_id, resource_type, resource_ids, permission, user_group_ids, db
                    )
                return {
                    id
                    for id, of_one in zip(ids, grants, strict=True)
                    if _is_granted(of_one, user_id, permission, user_group_ids)
                }
        return await self._get_accessible(user_id, resource_type, resource_ids, permission, user_group_ids, db)


def _is_granted(grants: list[dict[str, str]], user_id: str, permission: str, group_ids: set[str]) -> bool:
    for grant in grants:
        if grant["permission"] != permission:
            continue
        principal = grant["principal_id"]
        if grant["principal_type"] == "user":
            if principal in ("*", user_id):
                return True
        elif grant["principal_type"] == "group" and principal in group_ids:
            return True
    return False


async def _group_ids(user_id: str) -> set[str]:
    from open_webui.models.groups import Groups

    groups = await Groups.get_groups_by_member_id(user_id, include_inherited=True)
    return {group.id for group in groups}


def _read(resource_type: str, resource_id: str) -> reads.Read[Any]:
    return reads.view("access-grants", f"{resource_type}:{resource_id}")


def _is_plain(resource_type: str) -> bool:
    """Whether type and id can be told apart in the view's key."""
    return ":" not in resource_type
