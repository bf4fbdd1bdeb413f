"""Takes over the reads of one user, and of how many there are; and the write that comes with each request.

`last_active_at` is written by traffic, so no cache watches it. Users are given with the present moment there, as in 0.12.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.activity import Activity, active
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import fingerprint, is_known, recognised
from neverstale.openwebui.snapshot import path, told_now

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


class _Users:
    def __init__(self, users: Any, model: Any) -> None:
        self._by_id: Callable[[str], Any] = users.get_user_by_id
        self._by_email: Callable[[str], Any] = users.get_user_by_email
        self._by_api_key: Callable[[str], Any] = users.get_user_by_api_key
        self._get_num_users: Callable[[], int | None] = users.get_num_users

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

    def get_num_users(self) -> int | None:
        count = told_now(_count, COUNT_PATH)
        return self._get_num_users() if count is UNTOLD else int(count)


def digest(api_key: str) -> str:
    """Names an API key where the key itself shall not be."""
    return hashlib.sha256(api_key.encode()).hexdigest()


def _count(body: Any) -> int:
    return int(body["count"])


def _is_throttle_of_known(function: Any) -> bool:
    within = [cell.cell_contents for cell in getattr(function, "__closure__", None) or ()]
    return any(callable(one) and fingerprint(one) in UPDATE_LAST_ACTIVE for one in within)
