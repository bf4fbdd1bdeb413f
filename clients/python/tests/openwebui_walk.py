"""Run by `test_openwebui.py` in a process that has the real application: asks each function that was taken over, and the
application's own beside it, after each of many changes, within a request and outside. Says `stop` and `start` on its output where
the sidecar shall go and come."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from contextvars import Context
from typing import Any

import psycopg
from neverstale.openwebui import transactions
from neverstale.openwebui.middleware import Middleware
from open_webui.internal.db import async_engine, get_async_db
from open_webui.models.access_grants import AccessGrants
from open_webui.models.auths import Auths
from open_webui.models.config import Config
from open_webui.models.functions import Functions
from open_webui.models.groups import Groups
from open_webui.models.models import Models
from open_webui.models.oauth_sessions import OAuthSessions
from open_webui.models.tools import Tools
from open_webui.models.users import Users
from open_webui.utils import auth
from openwebui_changes import FUNCTIONS, KEYS, MODELS, RESOURCES, TOOLS, USERS, change, chance, settle
from pydantic import BaseModel
from sqlalchemy import event, text
from starlette.exceptions import HTTPException
from walking import counted, please, statements

CHANGES = 40

Asked = tuple[Any, str, tuple[Any, ...], dict[str, Any]]


def questions() -> list[Asked]:
    """Something of everything that was taken over."""
    asked: list[Asked] = []

    def ask(owner: Any, name: str, *arguments: Any, **options: Any) -> None:
        asked.append((owner, name, arguments, options))

    for key in KEYS:
        ask(Config, "get", key, "d")
        ask(Config, "get_many", *chance.choices(KEYS, k=chance.randrange(5)))
    ask(Config, "get_many", *(f"a.key.that.makes.the.path.long.{number}" for number in range(60)), "rag.top_k")
    for user in USERS:
        ask(Users, "get_user_by_id", user)
        ask(Users, "get_user_by_email", f"{user.upper()}@example.com")
        ask(Users, "get_user_by_api_key", f"sk-of-{user}")
        ask(OAuthSessions, "get_sessions_by_user_id", user)
        stamp = chance.choice(["stamp", "another"])
        ask(
            auth,
            "is_valid_token",
            {"id": user, "session_stamp": stamp, "auth_method": "password", "mfa_verified": True},
        )
        for inherited in (False, True):
            ask(Groups, "get_groups_by_member_id", user, include_inherited=inherited)
            ask(Groups, "get_groups_by_member_ids", [user, "u2", user], include_inherited=inherited)
        for permission in ("read", "write"):
            groups = chance.choice([None, set(), {"g1"}, {"g1", "g2"}])
            for kind in ("model", "file"):
                ask(AccessGrants, "get_accessible_resource_ids", user, kind, RESOURCES, permission, groups)
            for resource in RESOURCES:
                ask(AccessGrants, "has_access", user, "model", resource, permission, groups)
    ask(Users, "has_users")
    ask(Users, "get_num_users")
    ask(AccessGrants, "get_accessible_resource_ids", "u1", "model", [])
    for kind in ("model", "file", "a:b"):
        ask(AccessGrants, "get_grants_by_resource", kind, RESOURCES[1])
        ask(AccessGrants, "get_grants_by_resources", kind, RESOURCES)
    for kind in ("filter", "action", "pipe", "all", ""):
        ask(Functions, "get_active_function_ids_by_type", kind)
        for only in (False, True):
            ask(Functions, "get_functions_by_type", kind, active_only=only)
    for id in FUNCTIONS:
        ask(Functions, "get_function_by_id", id)
        ask(Functions, "get_function_valves_by_id", id)
    ask(Functions, "get_functions_by_ids", [*FUNCTIONS, FUNCTIONS[0], "unknown"])
    ask(Functions, "get_functions_by_ids", [])
    ask(Functions, "get_function_valves_by_ids", [*FUNCTIONS, "unknown"])
    ask(Functions, "get_global_filter_functions")
    ask(Functions, "get_global_action_functions")
    ask(Models, "get_all_models")
    for id in MODELS:
        ask(Models, "get_model_by_id", id)
    ask(Models, "get_models_by_ids", [*MODELS, "unknown"])
    for id in TOOLS:
        ask(Tools, "get_tool_by_id", id)
    return asked


async def ours(asked: Asked) -> Any:
    owner, name, arguments, options = asked
    return await outcome(getattr(owner, name)(*arguments, **options))


async def theirs(asked: Asked) -> Any:
    """What the application's own function gives."""
    owner, name, arguments, options = asked
    if owner is Config:
        return await outcome(getattr(Config.get.__self__, f"_{name}")(*arguments, **options))
    if owner is auth:
        return await outcome(auth.is_valid_token.__wrapped__(*arguments, **options))
    return await outcome(getattr(type(owner), name)(owner, *arguments, **options))


async def outcome(asked: Awaitable[Any]) -> Any:
    try:
        return plain(await asked)
    except Exception as error:
        return type(error), getattr(error, "status_code", None)


def plain(value: Any) -> Any:
    """A value as something to compare: with its types and with what was set, without what the application leaves open."""
    if isinstance(value, BaseModel):
        known = {**value.__dict__, **(value.__pydantic_extra__ or {})}
        if "last_active_at" in known:
            known["last_active_at"] = "left out"
        return type(value), sorted(value.model_fields_set), plain(known)
    if isinstance(value, dict):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, list):
        ordered = [plain(one) for one in value]
        # Only groups have an order; the rest comes as Postgres has it.
        has_order = all(type(one).__name__ == "GroupModel" for one in value)
        return ordered if has_order else sorted(ordered, key=repr)
    return type(value), value


async def in_a_request(work: Callable[[], Awaitable[None]]) -> None:
    """Does something as the application does it within a request; the caller and the route are always the same."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await work()

    middleware._app = app
    await middleware({"type": "http", "method": "GET", "path": "/", "headers": []}, None, None)  # type: ignore[arg-type]


middleware = Middleware(None)  # type: ignore[arg-type]


async def compare() -> int:
    """Holds everything against the application's own functions, outside of a request and within one."""
    asked = questions()
    own = [await theirs(one) for one in asked]

    async def check() -> None:
        for one, expected in zip(asked, own, strict=True):
            found = await ours(one)
            assert found == expected, (one[1:], found, expected)

    await check()
    await in_a_request(check)
    return 2 * len(asked)


async def read_your_writes() -> None:
    """Within a request, what it wrote is what it reads, by whatever function it wrote."""
    for value in range(20):
        assert await Config.get("walk.a") != value
        await Config.upsert({"walk.a": value})
        assert await Config.get("walk.a") == value
        await Users.update_user_by_id("u2", {"name": f"name {value}"})
        assert (await Users.get_user_by_id("u2")).name == f"name {value}"
        # Another request of this process has a context of its own.
        assert await Config.get("walk.b") != value
        await asyncio.create_task(Config.upsert({"walk.b": value}), context=Context())
        assert await Config.get("walk.b") == value


async def saves_are_its_own() -> None:
    """What a save makes of a user's settings is what the application's own function makes of them."""
    await Users.update_user_by_id("u2", {"settings": None})
    await Users.update_user_by_id("u3", {"settings": None})
    for _ in range(30):
        updated = chance.choice([
            {"ui": {"a": chance.random(), "b": {"c": [1]}, "dotted.name": 1}}, {"ui": {"a": None}}, {"ui": None}, {}, {"ui": {}},
            {"more": [chance.random()]}, {"more": None, "ui": {"b": None}}, {"notifications": {"targets": []}},
            {"dotted.member": chance.random(), "ui": {"a": 1}},
        ])  # fmt: skip
        mine = await Users.update_user_settings_by_id("u2", updated)
        others = await type(Users).update_user_settings_by_id(Users, "u3", updated)
        assert plain(mine.settings) == plain(others.settings), updated
        assert plain((await Users.get_user_by_id("u2")).settings) == plain(mine.settings)
    assert await Users.update_user_settings_by_id("nobody", {"ui": {"a": 1}}) is None


async def edits_of_others_are_kept() -> None:
    """What somebody else has saved since a request read it is still there after its save."""

    async def by_another(member: str, value: int) -> None:
        changed = "jsonb_set(value::jsonb, %s::text[], to_jsonb(%s::int))"
        async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as another:
            await another.execute(f"UPDATE config SET value = {changed} WHERE key = 'walk.a'", (f"{{{member}}}", value))

    await Config.upsert({"walk.a": {"mine": 0, "theirs": 0}, "walk.b": 0})
    read = await Config.get("walk.a")
    assert (await Config.get_many("walk.a", "walk.b"))["walk.a"] == read
    await by_another("theirs", 1)
    # The application changes what it was given, in place.
    read["mine"] = 1
    await Config.upsert({"walk.a": read})
    # Without having read it again: from what it has written itself.
    read["more"] = 1
    await Config.upsert({"walk.a": read})
    found = await Config.get("walk.a")
    assert found == {"mine": 1, "theirs": 1, "more": 1}, found
    # What is saved together belongs together, and is written as it is, at once.
    await by_another("theirs", 2)
    await Config.upsert({"walk.a": {**found, "mine": 2}, "walk.b": 1})
    together = await Config.get_many("walk.a", "walk.b")
    assert together == {"walk.a": {"mine": 2, "theirs": 1, "more": 1}, "walk.b": 1}, together


async def the_slower_one_is_refused() -> None:
    """Where somebody else has changed the very same thing."""
    await Config.upsert({"walk.a": {"n": 0}})
    read = await Config.get("walk.a")
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as another:
        await another.execute("""UPDATE config SET value = '{"n": 1}' WHERE key = 'walk.a'""")
    try:
        await Config.upsert({"walk.a": {**read, "n": 2}})
    except HTTPException as refused:
        assert refused.status_code == 412
    else:
        raise AssertionError("somebody's edit was overwritten")
    assert await Config.get("walk.a") == {"n": 1}


async def saves() -> None:
    await saves_are_its_own()
    await in_a_request(saves_are_its_own)
    await in_a_request(edits_of_others_are_kept)
    await in_a_request(the_slower_one_is_refused)


async def never_behind_what_it_saw() -> None:
    """What a request has seen in Postgres itself, whoever committed it, no later read of it may contradict."""
    async with await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as another:
        for value in range(1000, 1010):
            assert await Config.get("walk.a") != value
            await another.execute("UPDATE config SET value = to_json(%s::int) WHERE key = 'walk.a'", (value,))
            async with get_async_db() as db:
                seen = await db.scalar(text("SELECT value FROM config WHERE key = 'walk.a'"))
            assert await Config.get("walk.a") == seen == value


async def hot() -> None:
    """What requests ask all the time."""
    await Config.get("walk.a")
    await Config.get_many("walk.a", "walk.b", "oauth.x", "openai.api_keys")
    await auth.is_valid_token({"id": "u2", "session_stamp": "stamp", "auth_method": "password", "mfa_verified": True})
    await Users.get_user_by_id("u2")
    await Users.get_user_by_api_key("sk-of-u2")
    await Groups.get_groups_by_member_id("u2", include_inherited=True)
    await AccessGrants.has_access("u2", "model", "m1", "read", {"g1"})
    await AccessGrants.get_accessible_resource_ids("u2", "model", RESOURCES, "read", {"g1"})
    await Functions.get_active_function_ids_by_type("filter")
    await Functions.get_functions_by_type("pipe", active_only=True)
    await Models.get_all_models()
    await Models.get_model_by_id("m1")
    await OAuthSessions.get_sessions_by_user_id("nobody")


async def asked_of_postgres() -> int:
    """How many statements it takes to read what the sidecar tells."""
    statements.clear()
    await in_a_request(hot)
    return len(statements)


async def main() -> None:
    event.listen(async_engine.sync_engine, "before_cursor_execute", counted)
    assert transactions.are_watched()
    Config.configure(defaults={"compiled": {"by": "default"}, "oauth.x": "of the process", "ui.name": "not this"})
    compared = 0
    for _ in range(CHANGES):
        await change()
        compared += await compare()
    await in_a_request(read_your_writes)
    await saves()
    await in_a_request(never_behind_what_it_saw)
    # Answers are the caller's own: it may do with them as it likes.
    await Config.upsert({"walk.a": {"list": [1]}, "walk.b": 1})
    (await Config.get("walk.a"))["list"].append(2)
    assert await Config.get("walk.a") == {"list": [1]}
    # The password never leaves Postgres but for whoever asks for the row itself.
    assert (await Auths.get_auth_by_id("u1")).password == "hash"
    await settle()
    assert await asked_of_postgres() == 0, statements
    please("stop")
    begun = time.monotonic()
    for _ in range(3):
        await change()
        compared += await compare()
    await saves()
    await settle()
    assert await asked_of_postgres() >= 12, statements
    assert time.monotonic() - begun < 60
    please("start")
    deadline = time.monotonic() + 20
    while await asked_of_postgres():
        assert time.monotonic() < deadline, "the sidecar is not asked again"
    compared += await compare()
    print(f"walked {compared}", flush=True)


asyncio.run(main())
