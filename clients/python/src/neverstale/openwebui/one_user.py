"""The reads of one user in the releases whose functions are no coroutines: 0.6 and NAGA. Their takers add what only they have.

`last_active_at` is written by traffic, so no cache watches it. Users are given with the present moment there, as in 0.12.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from neverstale.openwebui import edits
from neverstale.openwebui.activity import active
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.snapshot import held_now, path


class OneUser:
    """Takes the place of the functions of `users` that it has; `model` is the application's `UserModel`."""

    def __init__(self, users: Any, model: Any) -> None:
        self._by_id: Callable[[str], Any] = users.get_user_by_id
        self._by_email: Callable[[str], Any] = users.get_user_by_email
        self._by_api_key: Callable[[str], Any] = users.get_user_by_api_key

        def user(body: Any) -> Any:
            return None if body is None else model.model_validate({**body, "last_active_at": 0})

        self._user = user

    def get_user_by_id(self, id: str) -> Any:
        user = self._told(path("app-user", id))
        return edits.given_user(self._by_id(id)) if user is UNTOLD else active(user)

    def get_user_by_email(self, email: str) -> Any:
        user = self._told(path("app-user-by-email", email))
        return edits.given_user(self._by_email(email)) if user is UNTOLD else active(user)

    def get_user_by_api_key(self, api_key: str) -> Any:
        user = self._told(path("app-user-by-key", _digest(api_key)))
        return edits.given_user(self._by_api_key(api_key)) if user is UNTOLD else active(user)

    def _told(self, path: str | None) -> Any:
        entries = held_now(path)
        if entries is None:
            return UNTOLD
        body = entries[0].body
        if body is not None:
            edits.given_settings(body["id"], body["settings"])
        return entries[0].fresh(self._user)


def _digest(api_key: str) -> str:
    """Names an API key where the key itself shall not be."""
    return hashlib.sha256(api_key.encode()).hexdigest()
