"""Takes over the reads of one user, and of how many there are; and the write that comes with each request."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.activity import Activity
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.one_user import OneUser
from neverstale.openwebui.recognise import fingerprint, is_known, recognised
from neverstale.openwebui.snapshot import told_now

KNOWN = {
    # 0.6.43
    "get_user_by_id": frozenset({"1462e597a87b8e02"}),
    "get_user_by_email": frozenset({"331fd7df3e6ea4cc"}),
    "get_user_by_api_key": frozenset({"14baa6b2d803fb66"}),
    "get_num_users": frozenset({"e0d2dc0a30e84f3f"}),
}
TYPES = {"UserModel": frozenset({"f9ea4e1415718ca3"}), "UserSettings": frozenset({"3fd32dcf6ddbf066"})}
COUNT_PATH = "/v1/app/users"

UPDATE_LAST_ACTIVE = frozenset({"fae2ee974f64db65"})
"""Within the application's own throttle."""


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    users: Any = recognised(module, "Users", KNOWN)
    if users is None or not is_known(module, TYPES):
        return
    ours = _Users(users, module.UserModel)
    for name in KNOWN:
        setattr(users, name, getattr(ours, name))
    if _is_throttle_of_known(users.update_last_active_by_id):
        interval = module.DATABASE_USER_ACTIVE_STATUS_UPDATE_INTERVAL
        users.update_last_active_by_id = Activity(module, interval).write


class _Users(OneUser):
    def __init__(self, users: Any, model: Any) -> None:
        super().__init__(users, model)
        self._get_num_users: Callable[[], int | None] = users.get_num_users

    def get_num_users(self) -> int | None:
        count = told_now(_count, COUNT_PATH)
        return self._get_num_users() if count is UNTOLD else int(count)


def _count(body: Any) -> int:
    return int(body["count"])


def _is_throttle_of_known(function: Any) -> bool:
    within = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return any(callable(one) and fingerprint(one) in UPDATE_LAST_ACTIVE for one in within)
