"""Run by `test_naga.py` beside NAGA's stand-in, or NAGA itself: asks each function that was taken over, and the application's own
beside it, after each of many changes. Says `stop` and `start` on its output where the sidecar shall go and come."""

from __future__ import annotations

import importlib
import json
import random
import time
from types import SimpleNamespace
from typing import Any

import open_webui
from neverstale.openwebui.naga import cache as cache_taker
from neverstale.openwebui.naga import config as config_taker
from neverstale.openwebui.naga import groups as groups_taker
from neverstale.openwebui.naga import users as users_taker
from neverstale.openwebui.recognise import fingerprint
from sqlalchemy import event, text
from walking import Comparison, counted, please, statements

IS_STAND_IN = "stand-in" in (open_webui.__doc__ or "")
USERS = ["u1", "u2", "u3", "nobody"]
EMAILS = ["a@x.org", "B@x.org", "b@x.org", "nobody@x.org"]
KEYS = ["sk-1", "sk-2", "sk-none"]
GROUPS = ["g1", "g2", "g3"]
VALUES = [None, True, False, 0, 1, 1.0, 2.5, "", "text", [], [True], {"a": {"b": None}}]
CHANGES = 40

chance = random.Random(11)


def fake_prints(module: Any, owner: str | None, known: dict[str, frozenset[str]]) -> None:
    """The stand-in's functions have their own text: here, and only here, it is known."""
    place = module if owner is None else getattr(module, owner)
    known.update({name: frozenset({str(fingerprint(getattr(place, name)))}) for name in known})


def attached() -> SimpleNamespace:
    """The application's modules with their functions taken over: those of the stand-in by hand, NAGA's by the hook."""
    names = {"db": "internal.db", "users": "models.users", "groups": "models.groups", "config": "config"}
    names |= {"cache": "utils.cache", "access": "utils.workspace_access"}
    modules = SimpleNamespace(**{short: importlib.import_module(f"open_webui.{name}") for short, name in names.items()})
    if IS_STAND_IN:
        for module, owner, known, taker in (
            (modules.users, "Users", users_taker.KNOWN, None),
            (modules.users, None, users_taker.TYPES, users_taker),
            (modules.groups, "Groups", groups_taker.KNOWN, None),
            (modules.groups, None, groups_taker.TYPES, groups_taker),
            (modules.cache, "CacheManager", cache_taker.KNOWN, cache_taker),
            (modules.config, "UserScopedConfig", config_taker.KNOWN, None),
            (modules.config, "AppConfig", config_taker.APP_CONFIG, None),
            (modules.config, None, config_taker.OTHERS, config_taker),
        ):
            fake_prints(module, owner, known)
            if taker is not None:
                taker.take(module)
    return modules


def sql(statement: str, **values: Any) -> None:
    with app.db.get_db() as db:
        db.execute(text(statement), values)
        db.commit()


def change() -> None:
    """Changes something, by the application's own functions or behind its back."""
    number = chance.randrange(3)
    user, email, at = USERS[number], chance.choice(EMAILS[:3]), chance.randrange(1_000_000)
    match chance.randrange(8):
        case 0 | 1:
            sql(
                'INSERT INTO "user" (id, email, name, role, profile_image_url, created_at, updated_at, last_active_at, api_key)'
                " VALUES (:id, :email, 'n', :role, '', :created, 1, 1, :key) ON CONFLICT (id) DO UPDATE SET"
                " email = excluded.email, role = excluded.role, created_at = excluded.created_at, api_key = excluded.api_key,"
                ' settings = \'{"ui": {}, "more": [1]}\', info = \'{"is_co_admin": true}\'',
                id=user,
                # Of several users with one address, or as old, the application takes any.
                email=EMAILS[number],
                role=chance.choice(["user", "admin", "pending"]),
                created=at * 3 + number,
                key=chance.choice([None, f"sk-{number}"]),
            )
        case 2:
            sql('DELETE FROM "user" WHERE id = :id', id=user)
        case 3 | 4:
            sql(
                'INSERT INTO "group" (id, user_id, created_by, name, description, user_ids, permissions, created_at, updated_at)'
                " VALUES (:id, :user, :creator, 'n', '', CAST(:members AS json), '{\"chat\": {\"edit\": true}}', 1, :at)"
                " ON CONFLICT (id) DO UPDATE SET user_id = excluded.user_id, created_by = excluded.created_by,"
                " user_ids = excluded.user_ids, updated_at = excluded.updated_at",
                id=chance.choice(GROUPS),
                user=user,
                creator=chance.choice([None, "", email]),
                members=json.dumps(chance.choices(USERS, k=chance.randrange(3))),
                at=at,
            )
        case 5:
            setting().set(email, chance.choice(VALUES))
        case 6:
            sql("DELETE FROM config WHERE email = :email", email=email)
        case 7:
            settings.TITLE = chance.choice(VALUES)
            sql(
                "UPDATE config SET data = jsonb_set(data::jsonb, '{ui,title}', CAST(:value AS jsonb)) WHERE email = 'system@default'",
                value=json.dumps(chance.choice(VALUES)),
            )


def setting() -> Any:
    return chance.choice(SCOPED)


def compare() -> int:
    """Holds everything against the application's own functions."""
    comparison = Comparison(without_activity)
    same, own = comparison.same, comparison.own
    for user in USERS:
        own(Users, "get_user_by_id", user)
        own(Groups, "get_groups_by_member_id", user)
    for email in EMAILS:
        own(Users, "get_user_by_email", email)
        own(Groups, "get_groups", email)
        for item in SCOPED:
            same(item.get(email), OWN_GET(item, email), item.config_path, email)
    for key in KEYS:
        own(Users, "get_user_by_api_key", key)
    own(Users, "get_first_user")
    own(Groups, "get_groups")
    for user in USERS:
        for access in (
            None,
            {},
            {"read": {"group_ids": ["g1"]}},
            {"write": {"group_ids": ["g2", "g3"], "user_ids": [user]}},
        ):
            item = SimpleNamespace(access_control=access)
            same(app.access.item_assigned_to_user_groups(user, item), is_assigned(user, item), user, access)
    place: Any = app.config.get_config()
    for part in ("ui", "title"):
        place = place.get(part, None) if isinstance(place, dict) and part in place else "compiled"
    same(settings.TITLE, place)
    return comparison.compared


def is_assigned(user_id: str, item: Any) -> bool:
    """The application's rule on what its own functions say."""
    users, groups = type(Users), type(Groups)
    first = users.get_first_user(Users)
    if first is not None and first.id == user_id and users.get_user_by_id(Users, user_id):
        return True
    if item.access_control is None:
        return False
    ids = {id for kind in ("read", "write") for id in item.access_control.get(kind, {}).get("group_ids", [])}
    mine = {group.id for group in groups.get_groups_by_member_id(Groups, user_id)}
    return bool(ids & (mine | {group.id for group in groups.get_groups(Groups) if group.user_id == user_id}))


def without_activity(told: Any) -> Any:
    return told.model_copy(update={"last_active_at": 0}) if hasattr(told, "last_active_at") else told


def asked_of_postgres() -> int:
    """How many statements it takes to read what the sidecar tells."""
    statements.clear()
    Users.get_user_by_id("u1")
    Users.get_user_by_email("a@x.org")
    Users.get_user_by_api_key("sk-1")
    Users.get_first_user()
    Groups.get_groups_by_member_id("u1")
    Groups.get_groups()
    SCOPED[0].get("a@x.org")
    assert settings.TITLE != "nothing"
    return len(statements)


def nothing_of_the_cache_is_believed() -> None:
    cache = app.cache.get_cache_manager()
    if IS_STAND_IN:
        cache.entries["auth", "u1"] = {"role": "admin"}
    cache.set_auth_user("u1", {"role": "admin"})
    cache.set_user_permissions("u1", {"chat": {}})
    cache.set_user_settings("u1", "rag.top_k", 99)
    assert cache.get_auth_user("u1") is None and cache.get_user_permissions("u1") is None
    assert cache.get_user_settings("u1", "rag.top_k") is None and cache.get_api_key_user("x") is None


def edits_of_others_are_kept() -> None:
    """What somebody else has written to a document is still there after a save."""
    add = "UPDATE config SET data = jsonb_set(data::jsonb, '{of_others}', '7') WHERE email = :email"
    settings.TITLE = "before"
    SCOPED[0].set("a@x.org", 3)
    for email in (app.config.GLOBAL_CONFIG_EMAIL, "a@x.org"):
        sql(add, email=email)
    settings.TITLE = "after"
    SCOPED[1].set("a@x.org", "x")
    with app.db.get_db() as db:
        rows = db.execute(text("SELECT email, data FROM config ORDER BY email")).all()
    told = {email: data for email, data in rows}
    assert told[app.config.GLOBAL_CONFIG_EMAIL]["of_others"] == told["a@x.org"]["of_others"] == 7
    assert settings.TITLE == "after" and told["a@x.org"]["rag"]["top_k"] == 3


def activity_is_written_once_a_minute() -> None:
    sql(
        'INSERT INTO "user" (id, email, name, role, profile_image_url, created_at, updated_at, last_active_at)'
        " VALUES ('active', '', '', '', '', 1000000000, 1, 1)"
    )
    statements.clear()
    for _ in range(5):
        Users.update_user_last_active_by_id("active")
    assert [one.split()[0] for one in statements] == ["UPDATE"], statements


def main() -> None:
    event.listen(app.db.engine, "before_cursor_execute", counted)
    compared = compare()
    for _ in range(CHANGES):
        change()
        compared += compare()
    nothing_of_the_cache_is_believed()
    activity_is_written_once_a_minute()
    edits_of_others_are_kept()
    assert asked_of_postgres() == 0, statements
    please("stop")
    for _ in range(5):
        change()
        compared += compare()
    edits_of_others_are_kept()
    # An admin's setting takes a user and a document, and so on.
    assert asked_of_postgres() >= 8, statements
    please("start")
    deadline = time.monotonic() + 20
    while asked_of_postgres():
        assert time.monotonic() < deadline, "the sidecar is not asked again"
    compared += compare()
    print(f"walked {compared}", flush=True)


app = attached()
Users, Groups = app.users.Users, app.groups.Groups
OWN_GET = app.config.UserScopedConfig.get.__wrapped__
SCOPED = [
    app.config.UserScopedConfig("rag.top_k", 10),
    app.config.UserScopedConfig("rag.template", ""),
    app.config.UserScopedConfig("rag.web.search.enable", False),
]
settings = app.config.AppConfig()
settings.TITLE = app.config.PersistentConfig("TITLE", "ui.title", "compiled")
main()
