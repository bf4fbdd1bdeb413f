"""Takes over `Groups.get_groups_by_member_id`: what permissions and the access to models rest on."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import path, told_now

KNOWN = {
    # 0.6.43
    "get_groups_by_member_id": frozenset({"a5e4749469923d38"}),
}
TYPES = {"GroupModel": frozenset({"b4e8b283d2bb5e51"})}


def take(module: ModuleType) -> None:
    """Takes the function over if it is known."""
    groups: Any = recognised(module, "Groups", KNOWN)
    if groups is None or not is_known(module, TYPES):
        return
    own, model = groups.get_groups_by_member_id, module.GroupModel

    def models(body: Any) -> list[Any]:
        return [model.model_validate(group) for group in body["groups"]]

    def get_groups_by_member_id(user_id: str) -> Any:
        found = told_now(models, path("app-groups", user_id))
        return own(user_id) if found is UNTOLD else found

    groups.get_groups_by_member_id = get_groups_by_member_id
