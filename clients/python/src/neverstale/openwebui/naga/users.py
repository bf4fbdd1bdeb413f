"""Takes over the reads of one user, and of the first one, who is the super admin; and the write that comes with each request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neverstale.openwebui.activity import Activity, active
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.one_user import OneUser
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import told_now

KNOWN = {
    "get_user_by_id": frozenset({"7d4782dcf75f4c46"}),
    "get_user_by_email": frozenset({"331fd7df3e6ea4cc"}),
    "get_user_by_api_key": frozenset({"9650365f63934a94"}),
    "get_first_user": frozenset({"21990c3e5aa0b8a4"}),
    "update_user_last_active_by_id": frozenset({"4ed6075ed49c5bc1"}),
}
TYPES = {"UserModel": frozenset({"1097a728f9403288"}), "UserSettings": frozenset({"3fd32dcf6ddbf066"})}
FIRST_PATH = "/v1/app/first-user"


def take(module: Any) -> None:
    """Takes the functions over if they are known."""
    users: Any = recognised(module, "Users", KNOWN)
    if users is None or not is_known(module, TYPES):
        return
    ours = _Users(users, module.UserModel)
    for name in ("get_user_by_id", "get_user_by_email", "get_user_by_api_key", "get_first_user"):
        setattr(users, name, getattr(ours, name))
    users.update_user_last_active_by_id = Activity(module).write


class _Users(OneUser):
    def __init__(self, users: Any, model: Any) -> None:
        super().__init__(users, model)
        self._first: Callable[[], Any] = users.get_first_user

    def get_first_user(self) -> Any:
        user = told_now(self._user, FIRST_PATH)
        return self._first() if user is UNTOLD else active(user)
