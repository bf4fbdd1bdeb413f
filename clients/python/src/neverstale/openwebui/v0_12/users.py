"""Takes over the reads of one user, and of how many there are.

`last_active_at` is written by traffic, so no cache watches it. Users are given with the present moment there: whoever is asked for in
this way is asked for because of a request of theirs, or nobody looks (the lists of users and who is online ask Postgres, by
functions that are not taken over).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import sha256
from types import ModuleType
from typing import Any

from neverstale import reads
from neverstale.openwebui import edits
from neverstale.openwebui.activity import active
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.sidecar import sidecar
from neverstale.openwebui.snapshot import held, path, told
from neverstale.openwebui.transactions import is_within_another

KNOWN = {
    # 0.12.4
    "get_user_by_id": frozenset({"0ca5277db786f49d"}),
    "get_user_by_email": frozenset({"7b6076f27179ca5f"}),
    "get_user_by_api_key": frozenset({"7d18823a91658a9b"}),
    "has_users": frozenset({"ee0d3b80cdeb4185"}),
    "get_num_users": frozenset({"8e918cc9a75edf88"}),
}
ROWS_MAX = 4096
COUNT_PATH = "/v1/app/users"


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    users: Any = recognised(module, "Users", KNOWN)
    if users is None:
        return
    ours = _Users(users, module.UserModel)
    for name in KNOWN:
        setattr(users, name, getattr(ours, name))


class _Users:
    def __init__(self, users: Any, model: Any) -> None:
        self._by_id: Callable[..., Awaitable[Any]] = users.get_user_by_id
        self._by_email: Callable[..., Awaitable[Any]] = users.get_user_by_email
        self._by_api_key: Callable[..., Awaitable[Any]] = users.get_user_by_api_key
        self._has_users: Callable[..., Awaitable[bool]] = users.has_users
        self._get_num_users: Callable[..., Awaitable[int]] = users.get_num_users

        # Rows of keys, by the keys' SHA-256.
        self._rows: dict[str, str] = {}

        def user(body: Any) -> Any:
            return None if body is None else model.model_validate({**body, "last_active_at": 0})

        def only_user(body: Any) -> Any:
            # Which of several the application takes is left open; it shall say.
            found = body["users"]
            return UNTOLD if len(found) > 1 else user(found[0] if found else None)

        self._user, self._only_user = user, only_user

    async def get_user_by_id(self, id: str, db: Any = None) -> Any:
        if not is_within_another(db):
            user = await self._told(id)
            if user is not UNTOLD:
                return active(user)
        return edits.given_user(await self._by_id(id, db))

    async def get_user_by_email(self, email: str, db: Any = None) -> Any:
        # Elsewhere the database's idea of lower case and Python's may differ.
        if email.isascii() and not is_within_another(db):
            user = await told(self._only_user, path("app-users-by-email", email.lower()))
            if user is not UNTOLD:
                return active(user)
        return await self._by_email(email, db)

    async def get_user_by_api_key(self, api_key: str, db: Any = None) -> Any:
        if api_key and not is_within_another(db):
            owner = await self._owner_of(api_key)
            if owner is not None:
                user = await self._told(owner)
                if user is not UNTOLD:
                    return active(user)
        # Also for keys that are unknown to the sidecar: to it they expire, to the application they do not.
        return edits.given_user(await self._by_api_key(api_key, db))

    async def _told(self, id: str) -> Any:
        entries = await held(path("app-user", id))
        if entries is None:
            return UNTOLD
        if entries[0].body is not None:
            edits.given_settings(id, entries[0].body["settings"])
        return entries[0].fresh(self._user)

    async def _owner_of(self, api_key: str) -> str | None:
        """Whose a key is; none where the sidecar does not know it."""
        digest = sha256(api_key.encode()).hexdigest()
        row = self._rows.get(digest)
        if row is not None:
            # The row that it was found in: if the key still stands there, and keys are unique, it stands nowhere else.
            owner = await told(_owner, path("app-api-key", row))
            if owner is not UNTOLD and owner is not None and owner[0] == digest:
                return owner[1]  # type: ignore[no-any-return]
            self._rows.pop(digest, None)
        found = await sidecar().secret(reads.api_key(api_key))
        if found is None:
            return None
        if len(self._rows) >= ROWS_MAX:
            self._rows.clear()
        self._rows[digest] = found["key"]["id"]
        return found["user"]["id"]  # type: ignore[no-any-return]

    async def has_users(self, db: Any = None) -> bool:
        if not is_within_another(db):
            count = await told(_count, COUNT_PATH)
            if count is not UNTOLD:
                return bool(count)
        return await self._has_users(db)

    async def get_num_users(self, db: Any = None) -> int:
        if not is_within_another(db):
            count = await told(_count, COUNT_PATH)
            if count is not UNTOLD:
                return int(count)
        return await self._get_num_users(db)


def _owner(body: Any) -> tuple[str, str] | None:
    return None if body is None else (body["key_sha256"], body["user_id"])


def _count(body: Any) -> int:
    return int(body["count"])
