"""Tells whether a read of the application runs within a transaction that others do not see."""

from __future__ import annotations

from typing import Any


def is_within_another(db: Any) -> bool:
    """Whether a session that is handed in would be used: then it may hold what is not committed yet, and Postgres must answer."""
    if db is None:
        return False
    try:
        from open_webui.env import DATABASE_ENABLE_SESSION_SHARING
    except ImportError:
        return True
    return bool(DATABASE_ENABLE_SESSION_SHARING)
