"""Random changes for `openwebui_walk.py`: by the application's own functions, or behind its back."""

from __future__ import annotations

import json
import random
from typing import Any

from open_webui.internal.db import get_async_db
from open_webui.models.config import Config
from sqlalchemy import text

USERS = ["u1", "u2", "u3", "nobody"]
RESOURCES = ["m1", "m/2", "größe:3 %", "unknown"]
MODELS = RESOURCES
FUNCTIONS = ["f0", "f1", "f2"]
TOOLS = ["t1", "t2", "unknown"]
KEYS = [
    "rag.top_k",
    "ui.name",
    "a.null",
    "b/c d",
    "compiled",
    "no.such.key",
    "openai.api_keys",
    "oauth.x",
    "",
    "with,comma",
]

chance = random.Random(7)


async def change() -> None:
    """Changes something."""
    await chance.choice([_grant, _grant, _revoke, _set, _unset, _function, _function, _model, _model, _tool, _user, _user,
                         _group, _member, _credential, _key, _oauth_session])()  # fmt: skip


async def settle() -> None:
    """Takes away what the sidecar leaves to Postgres: rows that the application's types refuse, and expired keys."""
    await sql("UPDATE function SET meta = '{}'")
    await sql("UPDATE auth SET active = true")
    await sql("DELETE FROM api_key")
    await sql("INSERT INTO api_key (id, user_id, key, created_at, updated_at) VALUES ('k', 'u2', 'sk-of-u2', 1, 1)")


async def sql(statement: str, **values: Any) -> None:
    async with get_async_db() as db:
        await db.execute(text(statement), values)
        await db.commit()


async def _grant() -> None:
    principal = chance.choice([("user", chance.choice([*USERS, "*"])), ("group", chance.choice(["g1", "g2", "g3"]))])
    await sql(
        "INSERT INTO access_grant VALUES (gen_random_uuid()::text, :resource, :id, :type, :principal, :permission, 1)"
        " ON CONFLICT DO NOTHING",
        resource=chance.choice(["model", "model", "file", "tool"]),
        id=chance.choice([*RESOURCES, *TOOLS]),
        type=principal[0],
        principal=principal[1],
        permission=chance.choice(["read", "write"]),
    )


async def _revoke() -> None:
    await sql("DELETE FROM access_grant WHERE resource_id = :id", id=chance.choice(RESOURCES))


async def _set() -> None:
    value = chance.choice([None, 1, 2.5, "text", ["a", {"b": True}], {"ä": "ö"}])
    await Config.upsert({chance.choice(KEYS[:7]): value})


async def _unset() -> None:
    await Config.delete(chance.choice(KEYS[:7]))


async def _function() -> None:
    await sql(
        "INSERT INTO function (id, user_id, name, type, content, meta, valves, is_active, is_global, updated_at,"
        " created_at) VALUES (:id, 'u1', 'n', :type, :content, :meta, :valves, :active, :global, 1, 1)"
        " ON CONFLICT (id) DO UPDATE SET is_active = excluded.is_active, is_global = excluded.is_global,"
        " content = excluded.content, meta = excluded.meta, valves = excluded.valves, version_id = excluded.content",
        id=chance.choice(FUNCTIONS),
        type=chance.choice(["filter", "action", "pipe"]),
        content=chance.choice(["a", "b"]),
        # The last one is refused by the application's type.
        meta=chance.choice(["{}", '{"description": "d", "more": [1]}', '{"manifest": 1}']),
        valves=chance.choice([None, "{}", '{"key": "sk"}', '"not encrypted"']),
        active=chance.random() < 0.7,
        **{"global": chance.random() < 0.5},
    )


async def _model() -> None:
    if chance.random() < 0.2:
        await sql("DELETE FROM model WHERE id = :id", id=chance.choice(MODELS))
        return
    await sql(
        "INSERT INTO model (id, user_id, base_model_id, name, params, meta, updated_at, created_at, is_active)"
        " VALUES (:id, 'u1', NULL, 'M', :params, :meta, :moment, 1, :active) ON CONFLICT (id) DO UPDATE SET"
        " params = excluded.params, meta = excluded.meta, updated_at = excluded.updated_at, is_active = excluded.is_active",
        id=chance.choice(MODELS[:3]),
        params=chance.choice(["{}", '{"temperature": 0.5, "custom": {"a": null}}']),
        meta=chance.choice(
            ["{}", '{"tags": ["x", {"name": " y "}, 1]}', '{"knowledge": [{"data": {"content": "c"}}]}']
        ),
        moment=chance.randrange(1000),
        active=chance.random() < 0.7,
    )


async def _tool() -> None:
    await sql(
        "INSERT INTO tool (id, user_id, name, content, specs, meta, updated_at, created_at)"
        " VALUES (:id, 'u1', :name, 'code', :specs, '{}', 1, 1) ON CONFLICT (id) DO UPDATE SET"
        " name = excluded.name, specs = excluded.specs",
        id=chance.choice(TOOLS[:2]),
        name=chance.choice(["T", "U"]),
        specs=chance.choice(["[]", '[{"name": "f", "parameters": {}}]']),
    )


async def _user() -> None:
    column, value = chance.choice(
        [
            ("role", "admin"),
            ("role", "user"),
            ("bio", "of few words"),
            ("date_of_birth", "2000-02-29"),
            ("profile_image_url", ""),
            ("timezone", "Europe/Berlin"),
            ("email", "u1@example.com"),
            ("email", "U2@Example.com"),
            *((name, json.dumps(value)) for name in ("settings", "info", "variables", "oauth") for value in ({}, {"ui": {"a": [1]}}, None)),
        ]
    )  # fmt: skip
    await sql(
        f'UPDATE "user" SET {column} = CAST(:value AS text)::{_TYPES.get(column, "text")} WHERE id = :id',
        value=value,
        id=value.lower()[:2] if column == "email" else chance.choice(USERS),
    )


_TYPES = {"date_of_birth": "date", "settings": "json", "info": "json", "variables": "json", "oauth": "json"}


async def _group() -> None:
    if chance.random() < 0.3:
        await sql(
            'INSERT INTO "group" (id, user_id, name, description, created_at, updated_at)'
            " VALUES ('g3', 'u1', 'Third', '', 3, 3) ON CONFLICT (id) DO UPDATE SET data = '{\"config\": {}}'"
        )
        return
    await sql(
        'UPDATE "group" SET parent_group_id = (SELECT id FROM "group" WHERE id = :parent), updated_at = :moment,'
        ' permissions = \'{"chat": {"edit": true}}\' WHERE id = :id',
        id=chance.choice(["g1", "g2", "g3"]),
        parent=chance.choice([None, "g1", "g2", "g3"]),
        moment=chance.randrange(1000),
    )


async def _member() -> None:
    await sql(
        "INSERT INTO group_member (id, group_id, user_id) VALUES (gen_random_uuid()::text, :group_id, :user)"
        " ON CONFLICT DO NOTHING"
        if chance.random() < 0.6
        else "DELETE FROM group_member WHERE group_id = :group_id AND user_id = :user",
        group_id=chance.choice(["g1", "g2"]),
        user=chance.choice(USERS[:3]),
    )


async def _credential() -> None:
    await sql(
        "UPDATE auth SET active = :active, session_stamp = :stamp, mfa = CAST(:mfa AS json) WHERE id = :id",
        id=chance.choice(USERS),
        active=chance.choice([True, True, False, None]),
        stamp=chance.choice(["stamp", "another", None]),
        mfa=chance.choice([None, '{"secret": "s", "reset_required": false}', '{"secret": null}', '{"secret": "s", "reset_required": true}']),
    )  # fmt: skip
    await Config.upsert({"auth.mfa.enable": chance.random() < 0.5})


async def _key() -> None:
    user = chance.choice(USERS[:3])
    if chance.random() < 0.4:
        await sql("DELETE FROM api_key WHERE key = :key", key=f"sk-of-{user}")
        return
    await sql(
        "INSERT INTO api_key (id, user_id, key, expires_at, created_at, updated_at)"
        " VALUES (:id, :owner, :key, :expires, 1, 1) ON CONFLICT DO NOTHING",
        id=f"k{chance.randrange(3)}",
        owner=chance.choice(USERS[:3]),
        key=f"sk-of-{user}",
        # The application never looks at it.
        expires=chance.choice([None, 1, 4_000_000_000]),
    )


async def _oauth_session() -> None:
    if chance.random() < 0.5:
        await sql("DELETE FROM oauth_session")
        return
    from open_webui.models.oauth_sessions import OAuthSessions

    await OAuthSessions.create_session(chance.choice(USERS[:3]), "provider", {"access_token": "t", "expires_at": 9})
