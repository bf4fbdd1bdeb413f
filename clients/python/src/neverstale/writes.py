"""The writes of the contract, as values: `client.write(writes.config("ui.name", "Ours"), was=answer)`.

A write names one path and its new value, and says what it takes the place of: the answer (or its ETag) that its caller has read. If
somebody was faster it is refused (`PreconditionFailed`), with what is there now. Only one that raises `OutcomeUnknown` may have been
made nevertheless; it is never sent twice.
"""

from __future__ import annotations

import json
from typing import Any, Final, Generic, TypeVar
from urllib.parse import quote

from neverstale import shapes
from neverstale.answers import Answer
from neverstale.shapes import Json

T_co = TypeVar("T_co", covariant=True)

ANYTHING: Final = "*"
"""Said as `was` by who does not care which value it is, as long as there is one."""


class Write(Generic[T_co]):
    """One value to be written, and by its type the shape of the answer."""

    __slots__ = ("body", "target")

    def __init__(self, target: str, path: str, value: Json) -> None:
        if not path:
            raise ValueError("an empty text is no path")
        self.target = target
        self.body = json.dumps({"path": path, "value": value}, separators=(",", ":"), allow_nan=False).encode("ascii")

    def __repr__(self) -> str:
        # Bodies carry keys.
        return f"Write({self.target!r})"


def config(path: str, value: Json) -> Write[shapes.ConfigValue]:
    """One global setting; read it by `reads.config_value`, or `reads.stored_config_value`, which gives secrets too."""
    return Write("/v1/config", path, value)


def user_setting(id: str, path: str, value: Json) -> Write[shapes.ConfigValue]:
    """One of a user's own settings; read it by `reads.own_setting`."""
    if not id:
        raise ValueError("an empty text is no key")
    return Write(f"/v1/users/{quote(id, safe='')}/settings", path, value)


def condition(was: Answer[Any] | str | None) -> str:
    """The header for what a write takes the place of."""
    etag = was.etag if isinstance(was, Answer) else was
    if etag == "":
        raise ValueError("this answer has no tag")
    return "if-none-match: *" if etag is None else f"if-match: {etag}"
