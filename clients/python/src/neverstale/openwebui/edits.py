"""What a save changes, so that of two who save at once neither erases what the other has saved.

The application writes back whole values: what its request has read, with something changed. `given` notes what a request was given,
and a save is then the difference between that and what it writes: `merged` puts it into what is there now, whoever has saved
meanwhile. Where both have changed the very same thing to something else, the slower one is refused (412) and told to look again.
What a request has not read itself, such as a form that a browser sends, is written as it comes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any, Final

from neverstale.openwebui.documents import ABSENT, fresh
from neverstale.openwebui.snapshot import current

UNKNOWN: Final = object()
"""What a request was given, if it was given nothing."""
SEVERAL: Final = object()
"""Likewise, if it was given one thing first and then another: nobody knows which of them it has changed."""

SETTINGS: Final = "settings of a user"
"""With a user's id it names what a request was given of the user's settings."""

_INSTEAD: Final = object()

Change = Callable[[Any], Any]
"""Makes what shall be there from what is there, which may be `ABSENT`."""


def given(what: Hashable, value: Any) -> None:
    """Notes a stored value that this request was given; nobody may change it."""
    snapshot = current.get()
    if snapshot is not None:
        values = snapshot.given.setdefault(what, [])
        if not values:
            values.append(value)
        elif values[-1] is not value and values[-1] != value:
            values[1:] = [value]


def given_all(rows: Mapping[str, Any]) -> None:
    """The same of many; requests read hundreds of them."""
    snapshot = current.get()
    if snapshot is not None:
        known = snapshot.given
        for what, value in rows.items():
            if what in known:
                given(what, value)
            else:
                known[what] = [value]


def given_instead(what: Hashable, value: Any) -> None:
    """Notes a value that this request was given because none is stored, or perhaps none."""
    given(what, fresh(value))
    given((_INSTEAD, what), True)


def saved(what: Hashable, value: Any, member: str | None = None) -> None:
    """Notes what this request has written itself: a value, or a member of one."""
    snapshot = current.get()
    if snapshot is None or member is not None and what not in snapshot.given:
        return
    snapshot.given[what] = [value if member is None else {**snapshot.given[what][-1], member: value}]


def is_stored(what: Hashable) -> bool:
    """Whether what this request was given is known to have been stored."""
    return base((_INSTEAD, what)) is UNKNOWN


def base(what: Hashable, member: str | None = None) -> Any:
    """What this request was given: a value, or a member of one. `UNKNOWN`, `SEVERAL` and `ABSENT` are possible."""
    snapshot = current.get()
    values = [] if snapshot is None else snapshot.given.get(what, [])
    if not values:
        return UNKNOWN
    if member is not None:
        values = [value.get(member, ABSENT) for value in values]
    return values[0] if all(is_same(value, values[0]) for value in values[1:]) else SEVERAL


def change(was: Any, value: Any) -> Change | None:
    """What writing `value` changes for a request that was given `was`; none where that is nothing."""
    if was is not SEVERAL and is_same(was, value):
        return None
    if was is UNKNOWN or not isinstance(value, dict | list) and not isinstance(was, dict | list):
        # Of single values the last one counts, as ever.
        return lambda now: value
    return lambda now: value if now is ABSENT else merged(was, value, now)


def unless_there(value: Any) -> Change:
    """Writes a value only where there is none."""
    return lambda now: value if now is ABSENT else now


def merged(was: Any, value: Any, now: Any) -> Any:
    """`now`, with what makes the difference between `was` and `value`. Raises a 412 where `now` differs in the same place."""
    if is_same(now, was) or is_same(now, value):
        return value
    if isinstance(value, list):
        listed = _by_id(was), _by_id(value), _by_id(now)
        if None not in listed and _is_in_order(listed[0], listed[1]):
            return list(merged(*listed).values())
    if not (isinstance(was, dict) and isinstance(value, dict) and isinstance(now, dict)):
        raise somebody_was_faster()
    result = dict(now)
    for name in {**was, **value}:
        before, after = was.get(name, ABSENT), value.get(name, ABSENT)
        if not is_same(before, after):
            inner = merged(before, after, now.get(name, ABSENT))
            if inner is ABSENT:
                result.pop(name, None)
            else:
                result[name] = inner
    return result


def _by_id(value: Any) -> Any:
    """A list of things that have ids, by these; none where it is not such a list."""
    if not isinstance(value, list) or not all(
        isinstance(one, dict) and isinstance(one.get("id"), str) for one in value
    ):
        return None
    things = {one["id"]: one for one in value}
    return things if len(things) == len(value) else None


def _is_in_order(was: dict[str, Any], value: dict[str, Any]) -> bool:
    """Whether what is in both is in the same order in both; else the order is what was changed."""
    return [id for id in was if id in value] == [id for id in value if id in was]


def is_same(one: Any, other: Any) -> bool:
    """Whether both are the same JSON; to Python, true and 1 would be."""
    if one is other:
        return True
    if any(value is ABSENT or value is UNKNOWN or value is SEVERAL for value in (one, other)):
        return False
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def somebody_was_faster() -> Exception:
    """What the application answers with 412."""
    from starlette.exceptions import HTTPException

    detail = "Somebody else has just changed the same setting; your change was not saved. Load it again and repeat it."
    refusal: Exception = HTTPException(412, detail)
    return refusal


def of_members(
    id: str, updated: dict[str, Any], own: Mapping[str, Callable[[Any], Change]] = MappingProxyType({})
) -> dict[str, Change]:
    """What a save of a user's settings changes of each member of the document; `own` are changed in a way of their own."""
    changes: dict[str, Change] = {}
    for name, value in updated.items():
        if name in own:
            made = None if value is None else own[name](value)
        else:
            made = change(base((SETTINGS, id), name), value)
        if made is not None:
            changes[name] = made
    return changes


def saved_members(id: str, updated: dict[str, Any]) -> None:
    """Notes that they are saved."""
    for name, value in updated.items():
        saved((SETTINGS, id), fresh(value), name)


def given_settings(id: str, settings: Any) -> None:
    """Notes a user's settings."""
    given((SETTINGS, id), settings if isinstance(settings, dict) else {})


def given_user(user: Any) -> Any:
    """Notes the settings of a user whom the application itself has read."""
    if user is not None:
        given_settings(user.id, user.settings.model_dump(exclude_unset=True) if user.settings else None)
    return user
