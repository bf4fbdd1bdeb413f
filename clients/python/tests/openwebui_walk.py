"""Run by `test_openwebui.py` in a process that has the real application: asks each function that was taken over, and the
application's own beside it, after each of many changes. Says `stop` and `start` on its output where the sidecar shall go and come."""

from __future__ import annotations

import asyncio
import random
import sys
import time
from typing import Any

from open_webui.internal.db import async_engine, get_async_db
from open_webui.models.access_grants import AccessGrants
from open_webui.models.config import Config
from open_webui.models.functions import Functions
from sqlalchemy import event, text

USERS = ["u1", "u2", "u3", "nobody"]
RESOURCES = ["m1", "m/2", "größe:3 %", "unknown"]
KEYS = ["rag.top_k", "ui.name", "a.null", "b/c d", "compiled", "no.such.key", "openai.api_keys", "oauth.x", ""]
CHANGES = 60

statements: list[str] = []
chance = random.Random(7)


def counted(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
    statements.append(statement)


async def sql(statement: str, **values: Any) -> None:
    async with get_async_db() as db:
        await db.execute(text(statement), values)
        await db.commit()


async def change() -> None:
    """Changes something, by the application's own functions or behind its back."""
    user, resource = chance.choice([*USERS, "*"]), chance.choice(RESOURCES)
    kind, permission = (
        chance.choice([("user", user), ("group", chance.choice(["g1", "g2"]))]),
        chance.choice(["read", "write"]),
    )
    values = {"id": resource, "type": kind[0], "principal": kind[1], "permission": permission}
    match chance.randrange(6):
        case 0 | 1:
            await sql(
                "INSERT INTO access_grant VALUES (gen_random_uuid()::text, 'model', :id, :type, :principal, :permission, 1)"
                " ON CONFLICT DO NOTHING",
                **values,
            )
        case 2:
            await sql("DELETE FROM access_grant WHERE resource_id = :id", id=resource)
        case 3:
            value = chance.choice([None, 1, 2.5, "text", ["a", {"b": True}], {"ä": "ö"}])
            await Config.upsert({chance.choice(KEYS[:5]): value})
        case 4:
            await Config.delete(chance.choice(KEYS[:5]))
        case 5:
            await sql(
                "INSERT INTO function (id, user_id, name, type, content, meta, valves, is_active, is_global, updated_at,"
                " created_at) VALUES (:id, 'u1', 'n', :type, '', '{}', '{}', :active, :global, 1, 1)"
                " ON CONFLICT (id) DO UPDATE SET is_active = excluded.is_active, is_global = excluded.is_global",
                id=f"f{chance.randrange(4)}",
                type=chance.choice(["filter", "action"]),
                active=chance.random() < 0.7,
                **{"global": chance.random() < 0.5},
            )


async def compare() -> int:
    """Holds everything against the application's own functions."""
    own = Config.get.__self__
    grants, functions, compared = type(AccessGrants), type(Functions), 0

    def same(ours: Any, theirs: Any, *asked: Any) -> None:
        nonlocal compared
        compared += 1
        assert ours == theirs and type(ours) is type(theirs), (asked, ours, theirs)

    for key in KEYS:
        same(await Config.get(key, "d"), await own._get(key, "d"), key)
        keys = chance.choices(KEYS, k=chance.randrange(5))
        ours, theirs = await Config.get_many(*keys), await own._get_many(*keys)
        same(ours, theirs, keys)
        same(list(ours), list(theirs), keys)
    for user in USERS:
        for permission in ("read", "write"):
            groups = chance.choice([None, set(), {"g1"}, {"g1", "g2"}])
            asked = (user, "model", RESOURCES, permission, groups)
            same(
                await AccessGrants.get_accessible_resource_ids(*asked),
                await grants.get_accessible_resource_ids(AccessGrants, *asked),
                asked,
            )
            for resource in RESOURCES:
                one = (user, "model", resource, permission, groups)
                same(await AccessGrants.has_access(*one), await grants.has_access(AccessGrants, *one), one)
    same(await AccessGrants.get_accessible_resource_ids("u1", "model", []), set())
    for kind in ("filter", "action", "pipe", "all", ""):
        ours = sorted(await Functions.get_active_function_ids_by_type(kind))
        same(ours, sorted(await functions.get_active_function_ids_by_type(Functions, kind)), kind)
    return compared


async def asked_of_postgres() -> int:
    """How many statements it takes to read what the sidecar tells."""
    statements.clear()
    await Config.get("walk.a")
    await Config.get_many("walk.a", "walk.b", "oauth.x")
    await AccessGrants.has_access("u2", "model", "m1", "read", {"g1"})
    await AccessGrants.get_accessible_resource_ids("u2", "model", RESOURCES, "read", {"g1"})
    await Functions.get_active_function_ids_by_type("filter")
    return len(statements)


def please(word: str) -> None:
    print(word, flush=True)
    assert sys.stdin.readline().strip() == "done"


async def main() -> None:
    event.listen(async_engine.sync_engine, "before_cursor_execute", counted)
    Config.configure(defaults={"compiled": {"by": "default"}, "oauth.x": "of the process", "ui.name": "not this"})
    compared = 0
    for _ in range(CHANGES):
        await change()
        compared += await compare()
    # Answers are the caller's own: it may do with them as it likes.
    await Config.upsert({"walk.a": {"list": [1]}, "walk.b": 1})
    (await Config.get("walk.a"))["list"].append(2)
    assert await Config.get("walk.a") == {"list": [1]}
    assert await asked_of_postgres() == 0, statements
    please("stop")
    begun = time.monotonic()
    for _ in range(5):
        await change()
        compared += await compare()
    assert await asked_of_postgres() == 5, statements
    assert time.monotonic() - begun < 30
    please("start")
    deadline = time.monotonic() + 20
    while await asked_of_postgres():
        assert time.monotonic() < deadline, "the sidecar is not asked again"
    compared += await compare()
    print(f"walked {compared}", flush=True)


asyncio.run(main())
