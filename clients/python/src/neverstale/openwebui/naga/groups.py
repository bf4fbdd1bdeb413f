"""Takes over `Groups.get_groups_by_member_id` and `get_groups`: whose settings, permissions and models apply to whom."""

from __future__ import annotations

from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import path, told_now

KNOWN = {
    "get_groups_by_member_id": frozenset({"d0e4723dbfeff148"}),
    "get_groups": frozenset({"2ae19754bfc87093"}),
}
TYPES = {"GroupModel": frozenset({"6e710df06c0a4442"})}
LIST_PATH = "/v1/app/groups"


def take(module: Any) -> None:
    """Takes the functions over if they are known."""
    groups: Any = recognised(module, "Groups", KNOWN)
    if groups is None or not is_known(module, TYPES):
        return
    by_member, every, model = groups.get_groups_by_member_id, groups.get_groups, module.GroupModel

    def models(body: Any) -> list[Any]:
        return [model.model_validate(group) for group in body["groups"]]

    def get_groups_by_member_id(user_id: str) -> Any:
        found = told_now(models, path("app-groups", user_id))
        return by_member(user_id) if found is UNTOLD else found

    def get_groups(user_email: str | None = None) -> Any:
        found = told_now(models, LIST_PATH)
        if found is UNTOLD:
            return every(user_email)
        return [group for group in found if user_email is None or group.created_by == user_email]

    groups.get_groups_by_member_id = get_groups_by_member_id
    groups.get_groups = get_groups
