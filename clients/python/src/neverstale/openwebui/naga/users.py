"""Takes over the reads of one user, and of the first one, who is the super admin; and the write that comes with each request.

`last_active_at` is written by traffic, so no cache watches it. Users are given with the present moment there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neverstale.openwebui.activity import Activity, active
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import path, told_now
from neverstale.openwebui.v0_6.users import digest

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


class _Users:
    def __init__(self, users: Any, model: Any) -> None:
        self._by_id: Callable[[str], Any] = users.get_user_by_id
        self._by_email: Callable[[str], Any] = users.get_user_by_email
        self._by_api_key: Callable[[str], Any] = users.get_user_by_api_key
        self._first: Callable[[], Any] = users.get_first_user

        def user(body: Any) -> Any:
            return None if body is None else model.model_validate({**body, "last_active_at": 0})

        self._user = user

    def get_user_by_id(self, id: str) -> Any:
        user = told_now(self._user, path("app-user", id))
        return self._by_id(id) if user is UNTOLD else active(user)

    def get_user_by_email(self, email: str) -> Any:
        user = told_now(self._user, path("app-user-by-email", email))
        return self._by_email(email) if user is UNTOLD else active(user)

    def get_user_by_api_key(self, api_key: str) -> Any:
        user = told_now(self._user, path("app-user-by-key", digest(api_key)))
        return self._by_api_key(api_key) if user is UNTOLD else active(user)

    def get_first_user(self) -> Any:
        user = told_now(self._user, FIRST_PATH)
        return self._first() if user is UNTOLD else active(user)
