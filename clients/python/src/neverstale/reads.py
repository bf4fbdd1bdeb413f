"""The reads of the contract, as values: `client.read(reads.user("u1"))`.

A read knows its path and the shape of its answer, and nothing of clients, levels or connections; so the same values serve the
blocking client, the asynchronous one, and batches of both.
"""

from __future__ import annotations

import json
import re
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from neverstale import shapes
from neverstale.shapes import Json

T_co = TypeVar("T_co", covariant=True)

_PLAIN = re.compile(r"[A-Za-z0-9._~-]+").fullmatch
_PATH = re.compile(r"/[!-~]+").fullmatch
_NO_DEFAULT = object()


class Read(Generic[T_co]):
    """One question, and by its type the shape of the answer."""

    __slots__ = ("body", "path")

    def __init__(self, path: str, body: bytes | None = None) -> None:
        if not _PATH(path):
            raise ValueError("a path begins with a slash and is percent-encoded")
        self.path = path
        self.body = body

    def __repr__(self) -> str:
        # Bodies carry keys and sessions.
        return f"Read({self.path!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Read) and (self.path, self.body) == (other.path, other.body)

    def __hash__(self) -> int:
        return hash((self.path, self.body))


def user(id: str) -> Read[shapes.User]:
    """A user by id."""
    return Read(f"/v1/users/{_segment(id)}")


def user_by_email(email: str) -> Read[shapes.User]:
    """A user by e-mail address, matched as the application does."""
    return Read(f"/v1/users/by-email/{_segment(email)}")


def role(id: str) -> Read[shapes.Role]:
    """A user's role, and whether this is the super admin."""
    return Read(f"/v1/users/{_segment(id)}/role")


def groups(id: str) -> Read[list[shapes.Group]]:
    """A user's groups, in order of precedence."""
    return Read(f"/v1/users/{_segment(id)}/groups")


def permissions(id: str) -> Read[shapes.Permissions]:
    """What a user may: configuration and groups merged."""
    return Read(f"/v1/users/{_segment(id)}/permissions")


def settings(id: str) -> Read[shapes.Settings]:
    """The settings that apply to a user, with their sources; secret ones are left out."""
    return Read(f"/v1/users/{_segment(id)}/settings")


def setting(id: str, path: str, default: Json = _NO_DEFAULT) -> Read[shapes.Setting]:
    """One setting that applies to a user; `default` takes part in the precedence rule as a compiled default does."""
    query = "" if default is _NO_DEFAULT else f"?default={quote(_json(default), safe='')}"
    return Read(f"/v1/users/{_segment(id)}/settings/{_segment(path)}{query}")


def virtual_keys(id: str) -> Read[shapes.VirtualKeys]:
    """The secret settings available to a user, without their values."""
    return Read(f"/v1/users/{_segment(id)}/virtual-keys")


def virtual_key(id: str, path: str) -> Read[shapes.Setting]:
    """A secret setting with its value; over TCP it needs a bearer token."""
    return Read(f"/v1/users/{_segment(id)}/virtual-keys/{_segment(path)}")


def config() -> Read[shapes.Config]:
    """All global settings that are no secrets."""
    return Read("/v1/config")


def config_value(path: str) -> Read[shapes.ConfigValue]:
    """One global setting."""
    return Read(f"/v1/config/{_segment(path)}")


def stored_config_value(path: str) -> Read[shapes.ConfigValue]:
    """One global setting, secret or not; over TCP it needs a bearer token. What `writes.config` changes."""
    return Read(f"/v1/views/config-value/{_segment(path)}")


def own_setting(id: str, path: str) -> Read[shapes.ConfigValue]:
    """One of a user's own settings; over TCP it needs a bearer token. What `writes.user_setting` changes."""
    return Read(f"/v1/users/{_segment(id)}/own-settings/{_segment(path)}")


def view(name: str, key: str) -> Read[Any]:
    """Any other view that the schema flavour declares."""
    return Read(f"/v1/views/{_segment(name)}/{_segment(key)}")


def api_key(key: str) -> Read[shapes.KeyOwner]:
    """Whose API key this is; over TCP it needs a bearer token. It can't be part of a batch."""
    return Read("/v1/api-keys/resolve", _json({"api_key": key}).encode())


def session(token: str) -> Read[shapes.User]:
    """Whose session token (JWT) this is, judged as the application judges it. It can't be part of a batch."""
    return Read("/v1/sessions/resolve", _json({"token": token}).encode())


def openapi() -> Read[dict[str, Any]]:
    """The contract itself."""
    return Read("/openapi.json")


def _segment(text: str) -> str:
    """Percent-encodes one segment; nothing that a caller holds can become another path."""
    if _PLAIN(text):
        return text
    if not text:
        raise ValueError("an empty text is no key")
    return quote(text, safe="")


def _json(value: Json) -> str:
    return json.dumps(value, separators=(",", ":"))
