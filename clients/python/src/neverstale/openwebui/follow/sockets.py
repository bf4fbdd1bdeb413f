"""Live sockets, each of which keeps a copy of its user's row from when it was opened.

Every event that a socket sends is judged by the user as he is now: before a handler may look at the copy, the copy is
brought up to date, and a socket whose user is gone or shut out is nobody's. What a socket only listens to is
ended by the stream of events: when a role has changed or a user has gone, his sockets are disconnected, as the
application itself does after such a change by its API; the browser connects again at once, and gets what he may see
now.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.events import Event
from neverstale.openwebui.follow import SOCKETS, follows, stream
from neverstale.openwebui.recognise import fingerprint

log = logging.getLogger("neverstale.openwebui")

KNOWN_SESSION = frozenset({"a1ed66417c9ed1c9"})
"""`get_socket_session_user` of 0.12.4: whose socket this is, asked by every handler."""
KNOWN_HANDLERS = {
    # 0.6.43: each of these looks into the pool of sessions by itself.
    "heartbeat": frozenset({"63d8eb5772ce1538"}),
    "channel_events": frozenset({"f38333952f209ae9"}),
    "ydoc_document_join": frozenset({"bd82389cb7cae172"}),
    "yjs_document_update": frozenset({"a3ac71768e95a767"}),
}
_ROLES = ("user.id:", "auth.id:")


def take(module: ModuleType) -> None:
    """Takes `open_webui.socket.main`."""
    if not follows(SOCKETS):
        return
    sockets = _Sockets(module)
    if fingerprint(getattr(module, "get_socket_session_user", None)) in KNOWN_SESSION:
        sockets.take_session()
    elif all(fingerprint(getattr(module, name, None)) in known for name, known in KNOWN_HANDLERS.items()):
        sockets.take_handlers()
    else:
        log.warning("%s: not as in a release that is known; live sockets are not followed", module.__name__)
        return
    stream.listen(sockets.changed, sockets.lost)


class _Sockets:
    """The sockets of this process."""

    def __init__(self, module: Any) -> None:
        self._module = module
        self._look: Callable[[str], Awaitable[Any]]

    def take_session(self) -> None:
        """0.12: all handlers ask one function, which has verified the token and then gives the copy."""
        theirs: Callable[..., Awaitable[dict[str, Any] | None]] = self._module.get_socket_session_user

        async def get_socket_session_user(sid: str, *, wait_for_disconnect: bool = True) -> dict[str, Any] | None:
            user = await theirs(sid, wait_for_disconnect=wait_for_disconnect)
            if user is None:
                return None
            fresh = await self._fresh(user)
            if not self._renew(sid, user, fresh):
                return None
            if fresh != user:
                try:
                    session = await self._module.sio.get_session(sid)
                    await self._module.sio.save_session(sid, {**session, "user": fresh})
                except KeyError:
                    # Disconnected meanwhile.
                    return None
            return fresh

        self._look = self._module.get_socket_session_user = get_socket_session_user
        self._module.encryption.authenticate = get_socket_session_user

    def take_handlers(self) -> None:
        """0.6: the copy in the pool is brought up to date before a handler looks at it."""
        handlers = self._module.sio.handlers["/"]
        for name, handler in list(handlers.items()):
            if handler.__name__ in KNOWN_HANDLERS:
                handlers[name] = self._after_renewal(handler)

        async def nothing(sid: str) -> None:
            pass

        self._look = self._after_renewal(nothing)

    def _after_renewal(self, handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def renewed(sid: str, *arguments: Any) -> Any:
            user = self._module.SESSION_POOL.get(sid)
            if user:
                fresh = await self._fresh(user)
                if not self._renew(sid, user, fresh):
                    return None
            return await handler(sid, *arguments)

        return renewed

    def _renew(self, sid: str, user: dict[str, Any], fresh: dict[str, Any] | None) -> bool:
        """Brings the shared copy up to date. Says whether the socket may go on; not if its user is gone or shut out."""
        if fresh is None or fresh["role"] != user["role"]:
            # It is in rooms where it may not be. Not here: handlers hold locks that a disconnection needs.
            self._module.sio.start_background_task(self._end, sid)
            if fresh is None or fresh["role"] not in ("user", "admin"):
                return False
        if fresh != user:
            kept = self._module.SESSION_POOL.get(sid)
            if kept:
                self._module.SESSION_POOL[sid] = {**kept, **fresh}
        return True

    async def _fresh(self, user: dict[str, Any]) -> dict[str, Any] | None:
        """The copy with what the database says now; none if the user is gone."""
        found = self._module.Users.get_user_by_id(user["id"])
        row = await found if inspect.isawaitable(found) else found
        if row is None:
            return None
        now = row.model_dump()
        # When somebody was last active is no right of his.
        return {key: now[key] if key in now and key != "last_active_at" else value for key, value in user.items()}

    async def changed(self, event: Event) -> None:
        """Somebody's row has changed: ends his sockets if his role is another, or he is gone."""
        ids = {tag[len(prefix) :] for tag in event.tags for prefix in _ROLES if tag.startswith(prefix)}
        if ids:
            await self._judge(ids)

    async def lost(self) -> None:
        """Events may have been missed: looks at everybody who has a socket here."""
        await self._judge(None)

    async def _judge(self, ids: set[str] | None) -> None:
        mine = self._module.sio.manager.rooms.get("/", {})
        for room in list(mine):
            if not isinstance(room, str) or not room.startswith("user:"):
                continue
            user_id = room[len("user:") :]
            if ids is not None and user_id not in ids:
                continue
            for sid in list(mine.get(room) or ()):
                await self._look(sid)

    async def _end(self, sid: str) -> None:
        log.info("a socket is disconnected: its user's role has changed")
        try:
            await self._module.sio.emit("access:updated", {}, to=sid)
            await self._module.sio.disconnect(sid)
        except Exception:
            log.exception("a socket can't be disconnected")
