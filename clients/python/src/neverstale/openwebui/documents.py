"""Settings in JSON documents, as up to 0.9 and in NAGA: a setting is a dotted path in a document.

The application writes back whole documents as it read them some time ago, and so erases what others wrote since. Here a document is
read under a lock, and nothing of it is changed but the path. So it is saved where the sidecar does not (`saves`).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

ABSENT: Final = object()
"""What is at a path that a document does not have."""

_NESTED = (dict, list)


def at(document: Any, path: list[str]) -> Any:
    """What the document has at the path; shared."""
    place = document
    for part in path:
        if not isinstance(place, dict) or part not in place:
            return ABSENT
        place = place[part]
    return place


def fresh(value: Any) -> Any:
    """A copy of what JSON can say, for a caller who may change it."""
    if type(value) is dict:
        return {key: fresh(one) if type(one) in _NESTED else one for key, one in value.items()}
    if type(value) is list:
        return [fresh(one) if type(one) in _NESTED else one for one in value]
    return value


def write(db: Any, rows: Any, new_row: Callable[[], Any], path: list[str], change: Callable[[Any], Any]) -> Any:
    """Changes a path of the document in the first of some rows, or in a new one, and commits; gives the document."""
    locked = rows.with_for_update()
    row = locked.first()
    if row is None:
        # There is no row to lock yet: whoever gets the table first makes it.
        table = db.bind.dialect.identifier_preparer.format_table(rows.column_descriptions[0]["type"].__table__)
        db.connection().exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        row = locked.first() or new_row()
    document = row.data if isinstance(row.data, dict) else {}
    stored = at(document, path)
    value = change(stored)
    if row.id is not None and _is_same(stored, value):
        return document
    row.data, row.updated_at = _with(document, path, value), datetime.now()
    db.add(row)
    document = row.data
    db.commit()
    return document


def _is_same(stored: Any, value: Any) -> bool:
    return stored is not ABSENT and json.dumps(stored) == json.dumps(value)


def _with(document: dict[str, Any], path: list[str], value: Any) -> dict[str, Any]:
    changed: dict[str, Any] = fresh(document)
    place = changed
    for part in path[:-1]:
        inner = place.get(part)
        if not isinstance(inner, dict):
            inner = place[part] = {}
        place = inner
    place[path[-1]] = value
    return changed
