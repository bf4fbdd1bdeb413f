"""Sees what the application does to Postgres itself: so that no read is answered with less than the application has seen or done."""

from __future__ import annotations

from types import ModuleType
from typing import Any

_MARK = "neverstale_changes"

# Tables of which the adapter answers reads; a change of any other moves nobody's snapshot but the request's own.
_READ = frozenset(
    (
        "access_grant",
        "api_key",
        "auth",
        "config",
        "function",
        "group",
        "group_member",
        "model",
        "oauth_session",
        "tool",
        "user",
    )
)

_commits = 0
_are_watched = False
_is_shared: bool | None = None


def take(module: ModuleType) -> None:
    """Watches the engines of the application's module `internal.db`."""
    global _are_watched
    engines = [getattr(getattr(module, "async_engine", None), "sync_engine", None), getattr(module, "engine", None)]
    engines = [engine for engine in engines if engine is not None]
    for engine in engines:
        _watch(engine)
    _are_watched = bool(engines)


def commits() -> int:
    """How many transactions of this process have changed something that is read here; only ever compared."""
    return _commits


def changed() -> None:
    """Counts a change that was, or may have been, committed for this process by the sidecar."""
    global _commits
    _commits += 1


def are_watched() -> bool:
    """Whether the above is known. If not, nothing may be read but by itself."""
    return _are_watched


def is_within_another(db: Any) -> bool:
    """Whether a session that is handed in would be used: then it may hold what is not committed yet, and Postgres must answer."""
    global _is_shared
    if db is None:
        return False
    if _is_shared is None:
        try:
            from open_webui.env import DATABASE_ENABLE_SESSION_SHARING
        except ImportError:
            DATABASE_ENABLE_SESSION_SHARING = True
        _is_shared = bool(DATABASE_ENABLE_SESSION_SHARING)
    return _is_shared


def _watch(engine: Any) -> None:
    from sqlalchemy import event

    event.listen(engine, "after_cursor_execute", _executed)
    # There is an event before a commit, and none after it; who reads in between must not be believed.
    commit = engine.dialect.do_commit

    def do_commit(connection: Any) -> None:
        global _commits
        try:
            commit(connection)
        finally:
            # Also if it failed: it may have been done nevertheless.
            if connection.info.pop(_MARK, False):
                _commits += 1

    engine.dialect.do_commit = do_commit


def _executed(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
    from neverstale.openwebui.snapshot import current

    snapshot = current.get()
    if snapshot is not None:
        snapshot.move()
    if _changes(statement, context):
        connection.info[_MARK] = True


def _changes(statement: str, context: Any) -> bool:
    """Whether a statement may change a table that is read here; in doubt it does."""
    compiled = getattr(context, "compiled", None)
    if compiled is None or getattr(context, "is_text", False):
        return not statement.lstrip()[:6].upper().startswith("SELECT")
    if not (context.isinsert or context.isupdate or context.isdelete):
        return bool(getattr(context, "isddl", False))
    table = getattr(compiled.statement, "table", None)
    return table is None or getattr(table, "name", None) is None or table.name in _READ
