"""Takes over `OAuthSessions.get_sessions_by_user_id` for users who have none. Sessions hold tokens, which stay in Postgres."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.snapshot import path, told
from neverstale.openwebui.transactions import is_within_another

KNOWN = {
    # 0.12.4
    "get_sessions_by_user_id": frozenset({"af046ba6d784efda"}),
}


def take(module: ModuleType) -> None:
    """Takes the function over if it is known."""
    sessions: Any = recognised(module, "OAuthSessions", KNOWN)
    if sessions is not None:
        sessions.get_sessions_by_user_id = _OAuthSessions(sessions).get_sessions_by_user_id


class _OAuthSessions:
    def __init__(self, sessions: Any) -> None:
        self._get_sessions_by_user_id: Callable[..., Awaitable[list[Any]]] = sessions.get_sessions_by_user_id

    async def get_sessions_by_user_id(self, user_id: str, db: Any = None) -> list[Any]:
        if not is_within_another(db) and await told(_count, path("app-oauth-sessions", user_id)) == 0:
            return []
        return await self._get_sessions_by_user_id(user_id, db)


def _count(body: Any) -> int:
    return int(body["count"])
