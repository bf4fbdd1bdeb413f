"""Writes that a user is active, at most once a minute and user, where the application writes it with each request.

The application takes whoever was active within three minutes as online: once a minute is enough for that.
"""

from __future__ import annotations

from collections import OrderedDict
from time import monotonic, time
from typing import Any

ACTIVE_SECONDS = 60.0
"""For so long a user who was written as active is not written again; longer if the application is set so."""

_ACTIVE_MAX = 65_536


class Activity:
    """What one process wrote of its users."""

    def __init__(self, module: Any, seconds: float | None = None) -> None:
        """`module` has the application's table `User`."""
        self._module = module
        self._seconds = max(ACTIVE_SECONDS, seconds or 0.0)
        # When a user was written last; the longest ago is the first.
        self._written: OrderedDict[str, float] = OrderedDict()

    def write(self, id: str) -> None:
        """Like the application's own throttle, it gives None. The row is not read again: nobody uses it."""
        now = monotonic()
        written = self._written.get(id)
        if written is not None and now - written < self._seconds:
            return
        self._written[id] = now
        self._written.move_to_end(id)
        if len(self._written) > _ACTIVE_MAX:
            self._written.popitem(last=False)
        try:
            with self._module.get_db() as db:
                db.query(self._module.User).filter_by(id=id).update({"last_active_at": int(time())})
                db.commit()
        except Exception:
            # As the application does; the next request tries again.
            self._written.pop(id, None)


def active(user: Any) -> Any:
    """Says of a user that was read that it is active now."""
    if user is not None:
        user.__dict__["last_active_at"] = int(time())
    return user
