"""What the answers of the built-in flavours look like. A flavour may add members; readers ignore what they do not know."""

from __future__ import annotations

from typing import Any, NotRequired, TypeAlias, TypedDict

Json: TypeAlias = Any
"""Whatever JSON can say."""

Permissions: TypeAlias = dict[str, Any]
"""The merged permission tree: truth values at the leaves."""


class User(TypedDict):
    """The watched columns of a user; never hashes or keys."""

    id: str
    email: str
    name: str
    role: str
    username: NotRequired[str | None]
    created_at: NotRequired[int]


class Role(TypedDict):
    id: str
    role: str
    super_admin: bool


class Group(TypedDict):
    id: str
    name: str
    owner_id: str
    permissions: Permissions | None
    description: NotRequired[str | None]
    parent_group_id: NotRequired[str | None]
    updated_at: NotRequired[int]


class Sourced(TypedDict):
    """A value, and the group and admin (or `global`, or `default`) that supplied it."""

    value: Json
    source: Json


class Settings(TypedDict):
    values: dict[str, Sourced]


class Setting(TypedDict):
    path: str
    value: Json
    source: Json


class KeySource(TypedDict):
    path: str
    source: Json


class VirtualKeys(TypedDict):
    keys: list[KeySource]


class ApiKey(TypedDict):
    id: str
    expires_at: int | None


class KeyOwner(TypedDict):
    user: User
    key: ApiKey


class Config(TypedDict):
    values: dict[str, Json]


class ConfigValue(TypedDict):
    path: str
    value: Json
