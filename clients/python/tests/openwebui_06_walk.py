"""Run by `test_openwebui_06.py` in a process that has the real application: asks each function that was taken over, and the
application's own beside it, after each of many changes. Says `stop` and `start` on its output where the sidecar shall go and come."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from neverstale.openwebui.sidecar import sidecar
from neverstale.openwebui.snapshot import Plan, Snapshot, current
from open_webui import config
from open_webui.internal.db import engine, get_db
from open_webui.models.functions import Functions
from open_webui.models.groups import Groups
from open_webui.models.models import Models
from open_webui.models.tools import Tools
from open_webui.models.users import Users
from sqlalchemy import event, text
from starlette.exceptions import HTTPException
from walking import Comparison, counted, please, statements

USERS = ["u1", "u2", "größe/3 %", "nobody", ""]
EMAILS = ["a@example.com", "B@example.com", "nobody@example.com"]
KEYS = ["sk-1", "sk-2", "sk-none"]
GROUPS = ["g1", "g2", "g3"]
ROWS = ["m1", "m/2", "größe:3 %", "unknown"]
TYPES = ["pipe", "filter", "action", "all"]
SETTINGS = {
    "TOP_K": config.RAG_TOP_K,
    "USER_PERMISSIONS": config.USER_PERMISSIONS,
    "OPENAI_API_KEYS": config.OPENAI_API_KEYS,
    "OPENAI_API_CONFIGS": config.OPENAI_API_CONFIGS,
    "DEFAULT_MODELS": config.DEFAULT_MODELS,
    "OAUTH_CLIENT_ID": config.OAUTH_CLIENT_ID,
}
VALUES = [None, True, 1, 2.5, "text", [], ["a", {"b": 1}], {"ä": {"ö": [None]}}]
CHANGES = 40

chance = random.Random(7)


def sql(statement: str, **values: Any) -> None:
    with get_db() as db:
        db.execute(text(statement), values)
        db.commit()


def some_json() -> str:
    return json.dumps(chance.choice([{}, {"a": 1}, {"toolIds": ["t"], "nested": {"deep": [{"er": None}]}}]))


def change() -> None:
    """Changes something, by the application's own functions or behind its back."""
    user, row = chance.choice(USERS[:3]), chance.choice(ROWS[:3])
    access = json.dumps(chance.choice([None, {}, {"read": {"group_ids": ["g1"], "user_ids": [user]}}]))
    match chance.randrange(12):
        case 0:
            sql(
                'INSERT INTO "user" (id, email, name, role, profile_image_url, created_at, updated_at, last_active_at)'
                " VALUES (:id, :email, 'n', 'user', '', :at, 1, 1) ON CONFLICT DO NOTHING",
                id=user,
                email=chance.choice(EMAILS),
                at=USERS.index(user),
            )
        case 1:
            told = chance.choice(["bio", "timezone", "status_message", "name", "role", "profile_banner_image_url"])
            sql(f'UPDATE "user" SET {told} = :value WHERE id = :id', id=user, value=chance.choice(["x", "y"]))
            sql("UPDATE \"user\" SET date_of_birth = '2000-02-29', info = '{\"a\": [1]}' WHERE id = :id", id=user)
        case 2:
            Users.update_user_settings_by_id(user, {"ui": {"n": chance.random()}, "more": [{"x": 1}]})
        case 3:
            sql('DELETE FROM "user" WHERE id = :id', id=user)
        case 4:
            Users.update_user_api_key_by_id(user, chance.choice(KEYS[:2]))
        case 5:
            sql(
                "INSERT INTO \"group\" VALUES (:id, :user, 'n', '', NULL, :json, :json, 1, :at)"
                " ON CONFLICT (id) DO UPDATE SET permissions = excluded.permissions, updated_at = excluded.updated_at",
                id=chance.choice(GROUPS),
                user=user,
                json=some_json(),
                at=chance.randrange(1_000_000),
            )
        case 6:
            Groups.add_users_to_group(chance.choice(GROUPS), [user])
        case 7:
            sql("DELETE FROM group_member WHERE user_id = :id", id=user)
        case 8:
            sql("DELETE FROM function WHERE id = :id", id=row)
            sql(
                "INSERT INTO function VALUES (:id, :user, 'n', :type, :content, :json, 1, 1, :valves, :active, :global)",
                id=row,
                user=user,
                type=chance.choice(TYPES),
                content=f"code {chance.random()}",
                json=some_json(),
                valves=chance.choice([None, "null", "{}", '{"key": "v"}']),
                active=chance.random() < 0.7,
                **{"global": chance.random() < 0.5},
            )
        case 9:
            sql("DELETE FROM model WHERE id = :id", id=row)
            sql(
                "INSERT INTO model VALUES (:id, :user, :base, 'n', :json, :json, 1, 1, CAST(:access AS json), true)",
                id=row,
                user=user,
                base=chance.choice([None, "base"]),
                json=some_json(),
                access=chance.choice([None, access]),
            )
        case 10:
            sql("DELETE FROM tool WHERE id = :id", id=row)
            sql(
                "INSERT INTO tool VALUES (:id, :user, 'n', 'code', '[{\"name\": \"f\"}]', '{}', 1, 1, NULL, CAST(:access AS json))",
                id=row,
                user=user,
                access=access,
            )
        case 11:
            change_settings()


def change_settings() -> None:
    name, value = chance.choice(list(SETTINGS)), chance.choice(VALUES)
    path = SETTINGS[name].config_path
    match chance.randrange(5):
        case 0 | 1:
            setattr(settings, name, value)
        case 2:
            given = {"path": "{" + path.replace(".", ",") + "}", "value": json.dumps(value)}
            sql("UPDATE config SET data = data::jsonb #- CAST(:path AS text[])", path=given["path"])
            sql(
                "UPDATE config SET data = jsonb_set(data::jsonb, CAST(:path AS text[]), CAST(:value AS jsonb))", **given
            )
        case 3:
            sql("DELETE FROM config")
        case 4:
            config.save_config({"version": 0, "ui": {}, "rag": chance.choice([None, 7, {"top_k": 9}])})


def setting(item: config.PersistentConfig) -> Any:
    """What a setting is: its path in the newest document, else the process's default."""
    place: Any = config.get_config()
    if item.config_path.startswith("oauth."):
        return item.value
    for part in item.config_path.split("."):
        if not isinstance(place, dict) or part not in place:
            return item.env_value
        place = place[part]
    return place


def compare() -> int:
    """Holds everything against the application's own functions."""
    comparison = Comparison(unordered)
    same, own = comparison.same, comparison.own
    for user in USERS:
        own(Users, "get_user_by_id", user)
        own(Groups, "get_groups_by_member_id", user)
    for email in EMAILS:
        own(Users, "get_user_by_email", email)
    for key in KEYS:
        own(Users, "get_user_by_api_key", key)
    own(Users, "get_num_users")
    for row in [*ROWS, ""]:
        own(Functions, "get_function_by_id", row)
        own(Functions, "get_function_valves_by_id", row)
        own(Models, "get_model_by_id", row)
        own(Tools, "get_tool_by_id", row)
    for kind in TYPES:
        own(Functions, "get_functions_by_type", kind)
        own(Functions, "get_functions_by_type", kind, True)
    own(Functions, "get_global_filter_functions")
    own(Functions, "get_global_action_functions")
    own(Models, "get_all_models")
    own(Models, "get_models_by_ids", chance.choices(ROWS, k=chance.randrange(4)))
    for name, item in SETTINGS.items():
        same(getattr(settings, name), setting(item), name)
    return comparison.compared


def unordered(told: Any) -> Any:
    """Without what need not be equal: when somebody was active last, and the order where the application has none."""
    if isinstance(told, list) and told and not hasattr(told[0], "permissions"):
        return sorted(told, key=lambda one: one.id)
    if hasattr(told, "last_active_at"):
        assert type(told.last_active_at) is int
        return told.model_copy(update={"last_active_at": 0})
    return told


def asked_of_postgres() -> int:
    """How many statements it takes to read what the sidecar tells."""
    statements.clear()
    Users.get_user_by_id("u1")
    Users.get_user_by_email("a@example.com")
    Users.get_user_by_api_key("sk-1")
    Users.get_num_users()
    Groups.get_groups_by_member_id("u1")
    Functions.get_function_by_id("m1")
    Functions.get_functions_by_type("pipe", active_only=True)
    Functions.get_global_filter_functions()
    Functions.get_global_action_functions()
    Functions.get_function_valves_by_id("m1")
    Models.get_all_models()
    Models.get_model_by_id("m1")
    Models.get_models_by_ids(["m1"])
    Tools.get_tool_by_id("m1")
    assert settings.TOP_K is not None and settings.OPENAI_API_KEYS is not None
    return len(statements)


def answers_are_the_callers_own() -> None:
    """Whoever gets one may do with it as he likes."""
    sql("DELETE FROM model")
    sql("INSERT INTO model VALUES ('m1', 'u1', NULL, 'n', '{\"deep\": {\"list\": [1]}}', '{}', 1, 1, NULL, true)")
    settings.USER_PERMISSIONS = {"chat": {"edit": True}}
    asked: list[tuple[Callable[[], Any], str]] = [
        (lambda: Models.get_all_models()[0].meta.deep, "list"),
        (lambda: Models.get_model_by_id("m1").meta.deep, "list"),
        (lambda: settings.USER_PERMISSIONS, "chat"),
    ]
    for read, place in asked:
        before = json.dumps(read())
        read()[place] = "spoilt"
        assert json.dumps(read()) == before, place
        del read()[place]
        assert json.dumps(read()) == before, place


def activity_is_written_once_a_minute() -> None:
    sql("DELETE FROM \"user\" WHERE id = 'active'")
    sql(
        'INSERT INTO "user" (id, email, name, role, profile_image_url, created_at, updated_at, last_active_at)'
        " VALUES ('active', '', '', '', '', 1, 1, 1)"
    )
    begun = int(time.time())
    statements.clear()
    for _ in range(5):
        Users.update_last_active_by_id("active")
    assert [one.split()[0] for one in statements] == ["UPDATE"], statements
    assert type(Users).get_user_by_id(Users, "active").last_active_at >= begun


def edits_of_others_are_kept() -> None:
    """What somebody else has written to the document is still there after a save."""
    settings.TOP_K = 3
    sql("UPDATE config SET data = jsonb_set(data::jsonb, '{of_others}', '7')")
    settings.TOP_K = 4
    assert config.get_config()["of_others"] == 7 and settings.TOP_K == 4
    statements.clear()
    settings.TOP_K = 4
    assert not any(one.startswith("UPDATE") for one in statements), "nothing changed, so nothing is written"


def saves_are_its_own() -> None:
    """What a save makes of a user's settings is what the application's own function makes of them."""
    row = (
        'INSERT INTO "user" (id, email, name, role, profile_image_url, created_at, updated_at, last_active_at)'
        " VALUES (:id, '', '', '', '', 1000000000, 1, 1) ON CONFLICT (id) DO UPDATE SET settings = NULL"
    )
    for user in ("mine", "others"):
        sql(row, id=user)
    for _ in range(20):
        updated = chance.choice(
            [
                {"ui": {"a": chance.random()}},
                {"ui": {}, "more": [1]},
                {},
                {"ui": None},
                {"dotted.name": chance.random()},
            ]
        )
        mine = Users.update_user_settings_by_id("mine", updated)
        others = type(Users).update_user_settings_by_id(Users, "others", updated)
        assert mine.settings == others.settings == Users.get_user_by_id("mine").settings, updated
    assert Users.update_user_settings_by_id("nobody", {"ui": {"a": 1}}) is None


def a_request_keeps_what_others_have_saved_since_it_read() -> None:
    """Also within one path; and what it has read and does not change it does not write."""
    settings.OPENAI_API_CONFIGS = {"0": {"n": 1}}
    settings.TOP_K = 1
    with request(Plan()):
        read, k = settings.OPENAI_API_CONFIGS, settings.TOP_K
        elsewhere("UPDATE config SET data = jsonb_set(data::jsonb, '{openai,api_configs,1}', '7')")
        elsewhere("UPDATE config SET data = jsonb_set(data::jsonb, '{rag,top_k}', '7')")
        read["0"]["n"] = 2
        settings.OPENAI_API_CONFIGS = read
        settings.TOP_K = k
        assert settings.OPENAI_API_CONFIGS == {"0": {"n": 2}, "1": 7} and settings.TOP_K == 7
    with request(Plan()):
        read = settings.OPENAI_API_CONFIGS
        elsewhere("UPDATE config SET data = jsonb_set(data::jsonb, '{openai,api_configs,1}', '8')")
        try:
            settings.OPENAI_API_CONFIGS = {**read, "1": 9}
        except HTTPException as refused:
            assert refused.status_code == 412
        else:
            raise AssertionError("somebody's edit was overwritten")
        assert settings.OPENAI_API_CONFIGS["1"] == 8


def elsewhere(statement: str) -> None:
    """Does it as another process does: nothing of it is seen here."""
    with closing(engine.raw_connection()) as another:
        another.cursor().execute(statement)
        another.commit()


@contextmanager
def request(plan: Plan) -> Iterator[None]:
    """What the middleware does around a request."""
    snapshot = Snapshot(plan)
    token = current.set(snapshot)
    try:
        yield
    finally:
        snapshot.end()
        current.reset(token)


def a_request_asks_once() -> None:
    """All that was needed the last time comes in one batch; and the request's own writes are seen in it."""
    asked: list[int] = []
    ask = sidecar().entries_now

    def counting(paths: Any) -> Any:
        asked.append(len(paths))
        return ask(paths)

    setattr(sidecar(), "entries_now", counting)
    plan = Plan()
    for time_of_day in ("first", "second"):
        asked.clear()
        with request(plan):
            assert asked_of_postgres() == 0, statements
            assert len(asked) == 1 or time_of_day == "first", asked
            settings.DEFAULT_MODELS = time_of_day
            assert settings.DEFAULT_MODELS == time_of_day
            Users.update_user_settings_by_id("active", {"ui": {"time": time_of_day}})
            assert Users.get_user_by_id("active").settings.ui == {"time": time_of_day}
    setattr(sidecar(), "entries_now", ask)


def main() -> None:
    event.listen(engine, "before_cursor_execute", counted)
    compared = compare()
    plan = Plan()
    for _ in range(CHANGES):
        change()
        compared += compare()
        with request(plan):
            change()
            compared += compare()
    answers_are_the_callers_own()
    activity_is_written_once_a_minute()
    edits_of_others_are_kept()
    saves_are_its_own()
    a_request_keeps_what_others_have_saved_since_it_read()
    a_request_asks_once()
    assert asked_of_postgres() == 0, statements
    please("stop")
    begun = time.monotonic()
    for _ in range(5):
        change()
        compared += compare()
    edits_of_others_are_kept()
    saves_are_its_own()
    a_request_keeps_what_others_have_saved_since_it_read()
    assert asked_of_postgres() == 16, statements
    assert time.monotonic() - begun < 30
    please("start")
    deadline = time.monotonic() + 20
    while asked_of_postgres():
        assert time.monotonic() < deadline, "the sidecar is not asked again"
    compared += compare()
    print(f"walked {compared}", flush=True)


settings = config.AppConfig()
for name, item in SETTINGS.items():
    setattr(settings, name, item)
main()
