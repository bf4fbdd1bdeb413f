"""A door before the real application, and everybody who comes to it: what each owns, and what of it is granted to whom."""

from __future__ import annotations

import http.client
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass

import house
from api import Api
from door_rules import Actor
from people import make_model
from stage import SECRET_KEY, Stage
from walk import PASSWORD, PIPE, TOOL

# What is whose, by type; besides a group and the owner.
_OWNED = {
    "a": {"function": "parrot", "tool": "hammer", "model": "preset", "prompt": "greet", "knowledge": "books"},
    "b": {"function": "jay", "tool": "saw", "model": "recipe", "prompt": "hail", "knowledge": "scrolls"},
}
_PIPELINE = "line-{}"


@dataclass(frozen=True)
class Guarded:
    """An application with a door before it."""

    stage: Stage
    actors: list[Actor]
    ids: Mapping[str, Mapping[str, str]]
    sidecar: house.Sidecar
    application: int
    """The application's own port."""
    door: int
    """The door's port."""


@contextmanager
def guarded(stage: Stage) -> Iterator[Guarded]:
    """Puts a replica on the stage, people, what they own, and a door before all of it."""
    replica = stage.put(attached=False)
    replica.wait()
    with closing(Api(replica.port)) as api:
        actors = people(stage, api)
        make_model(api, "m0", is_old=stage.is_old)
    with door(stage, replica.port) as (sidecar, port):
        ids = {mark: _own(stage, mark) for mark in _OWNED}
        yield Guarded(stage, actors, ids, sidecar, replica.port, port)


@contextmanager
def door(stage: Stage, port: int) -> Iterator[tuple[house.Sidecar, int]]:
    """Puts a sidecar with a door before a replica; gives the sidecar and the door's port."""
    listen = house.free_port()
    settings = {
        "REDIS_URL": stage.redis_url,
        "NEVERSTALE_API__SESSION_SECRET": SECRET_KEY,
        "NEVERSTALE_INGRESS__LISTEN": f"127.0.0.1:{listen}",
        "NEVERSTALE_INGRESS__UPSTREAM": f"http://127.0.0.1:{port}",
        "NEVERSTALE_INGRESS__GUARD__AUTOCOMPLETION_OFF": "false",
        "NEVERSTALE_INGRESS__GUARD__TITLE_MODEL": "",
    }
    with house.sidecar(stage.postgres.url(stage.database), settings) as sidecar:
        yield sidecar, listen


def people(stage: Stage, api: Api) -> list[Actor]:
    """Two admins, A and B, each with a pipe and a group with a member, and who else may come; the caller becomes the first user."""
    first = api.post("/api/v1/auths/signup", {"name": "First", "email": "first@example.org", "password": PASSWORD})
    api.token = first["token"]
    # Of several of one second the smaller id would be the first.
    stage.sql('UPDATE "user" SET created_at = created_at - 60')
    tokens: dict[str, str] = {}
    ids: dict[str, str] = {}
    for name in ("a", "b", "member", "member-b", "outsider", "pending"):
        role = "admin" if len(name) == 1 else "pending" if name == "pending" else "user"
        form = {"name": name, "email": f"{name}@example.org", "password": PASSWORD, "role": role}
        made = api.post("/api/v1/auths/add", form)
        tokens[name], ids[name] = made["token"], made["id"]
    for mark, member in (("a", "member"), ("b", "member-b")):
        owner = api.as_(tokens[mark])
        team = {"name": f"team-{mark}", "description": "", "permissions": {"features": {"api_keys": True}}}
        group = owner.post("/api/v1/groups/create", team)
        # 0.6 heeds the permissions only here.
        owner.post(f"/api/v1/groups/id/{group['id']}/update", team)
        owner.post(f"/api/v1/groups/id/{group['id']}/users/add", {"user_ids": [ids[member]]})
        pipe = _OWNED[mark]["function"]
        parrot = {"id": pipe, "name": pipe, "content": PIPE, "meta": {"description": ""}}
        owner.post("/api/v1/functions/create", parrot)
        owner.post(f"/api/v1/functions/id/{pipe}/toggle")
    key = api.as_(tokens["member"]).post("/api/v1/auths/api_key")["api_key"]
    of_b = api.as_(tokens["member-b"])
    revoked = of_b.post("/api/v1/auths/api_key")["api_key"]
    of_b.delete("/api/v1/auths/api_key")
    return [
        Actor("super admin", "admin", first["token"], is_first=True),
        Actor("admin A", "admin", tokens["a"], "a"),
        Actor("admin B", "admin", tokens["b"], "b"),
        Actor("member of A's group", "user", tokens["member"], "a"),
        Actor("member of B's group", "user", tokens["member-b"], "b"),
        Actor("outsider", "user", tokens["outsider"]),
        Actor("pending", "pending", tokens["pending"]),
        Actor("anonymous", "", None),
        Actor("API key of a member of A's group", "user", key, "a"),
        Actor("revoked API key", "", revoked),
    ]


def _own(stage: Stage, mark: str) -> dict[str, str]:
    """Rows of an owner's, of every type but functions, by plain SQL: the door reads nothing else."""
    ids = dict(_OWNED[mark])
    ids["user"] = str(stage.sql('SELECT id FROM "user" WHERE email = %s', f"{mark}@example.org")[0][0])
    ids["group"] = str(stage.sql('SELECT id FROM "group" WHERE name = %s', f"team-{mark}")[0][0])
    ids["pipeline"] = _PIPELINE.format(mark)
    control = f'{{"read": {{"group_ids": ["{ids["group"]}"]}}, "write": {{}}}}'
    rows: dict[str, dict[str, object]] = {
        "tool": {"name": "T", "content": TOOL, "specs": "[]", "meta": "{}"},
        "model": {"name": "M", "base_model_id": "m0", "params": "{}", "meta": "{}", "is_active": True},
        "knowledge": {"name": "K", "description": "", "meta": "{}"},
        "prompt": {"content": "c"},
    }
    for kind, row in rows.items():
        row |= {"user_id": ids["user"]}
        if kind == "prompt" and stage.is_old:
            row |= {"command": f"/{ids[kind]}", "title": "P", "timestamp": 1}
        else:
            row |= {"id": ids[kind], "created_at": 1, "updated_at": 1}
        if kind == "prompt" and not stage.is_old:
            row |= {"command": ids[kind], "name": "P", "is_active": True, "data": "{}", "meta": "{}", "tags": "[]"}
        if stage.is_old:
            row |= {"access_control": control}
        else:
            _insert(stage, "access_grant", {
                "id": f"{kind}-{mark}", "resource_type": kind, "resource_id": ids[kind], "principal_type": "group",
                "principal_id": ids["group"], "permission": "read", "created_at": 1,
            })
        _insert(stage, kind, row)
    for kind, id in (("function", ids["function"]), ("pipeline", f"0:{ids['pipeline']}")):
        stage.sql(
            "INSERT INTO neverstale.access_overlay (resource_type, resource_id, owner_id, access_control, version) "
            "VALUES (%s, %s, %s, %s, 1) ON CONFLICT (resource_type, resource_id) "
            "DO UPDATE SET owner_id = EXCLUDED.owner_id, access_control = EXCLUDED.access_control",
            kind, id, ids["user"], control,
        )
    return ids


def _insert(stage: Stage, table: str, row: Mapping[str, object]) -> None:
    columns, places = ", ".join(row), ", ".join(["%s"] * len(row))
    stage.sql(f"INSERT INTO {table} ({columns}) VALUES ({places})", *row.values())


def counted(sidecar: house.Sidecar, outcome: str) -> int:
    """How many decisions of the door had this outcome."""
    with closing(http.client.HTTPConnection("127.0.0.1", sidecar.admin_port, timeout=5)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    name = f'neverstale_ingress_decisions_total{{outcome="{outcome}"}} '
    return sum(int(line.removeprefix(name)) for line in lines if line.startswith(name))
