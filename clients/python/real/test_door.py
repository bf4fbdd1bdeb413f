"""The real application behind the door: whoever may not is refused on every guarded route, and nothing of it happens; and
what is allowed is answered as the application answers without a door, byte for byte.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import closing, contextmanager

import door_rules
import house
from api import Api
from door_rules import Actor, Request
from stage import SECRET_KEY, Stage
from walk import PASSWORD, PIPE

_FLAVOURS = {"0.12.4": "openwebui-0.12", "0.6.43": "openwebui-0.6"}
_TABLES = ("user", "group", "group_member", "function", "tool", "model", "prompt", "knowledge", "config")
# Answers that are about the moment.
_OF_THE_MOMENT = (
    "/api/usage",
    "/ollama/",
    "/openai/",
    "/api/v1/images/models",
    "/api/v1/audio/",
    "/api/v1/users/",  # when somebody was last active
)


@contextmanager
def _door(stage: Stage, port: int) -> Iterator[tuple[house.Sidecar, int]]:
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


def _people(stage: Stage, api: Api) -> list[Actor]:
    first = api.post("/api/v1/auths/signup", {"name": "First", "email": "first@example.org", "password": PASSWORD})
    api.token = first["token"]
    tokens = {}
    for name, role in (("a", "admin"), ("b", "admin"), ("member", "user"), ("outsider", "user"), ("pending", "pending")):
        form = {"name": name, "email": f"{name}@example.org", "password": PASSWORD, "role": role}
        tokens[name] = api.post("/api/v1/auths/add", form)
    a = api.as_(tokens["a"]["token"])
    group = a.post("/api/v1/groups/create", {"name": "team", "description": ""})
    a.post(f"/api/v1/groups/id/{group['id']}/users/add", {"user_ids": [tokens["member"]["id"]]})
    a.post("/api/v1/functions/create", {"id": "parrot", "name": "parrot", "content": PIPE, "meta": {"description": ""}})
    return [
        Actor("super admin", "admin", first["token"], is_first=True),
        Actor("admin A", "admin", tokens["a"]["token"], is_owner=True),
        Actor("admin B", "admin", tokens["b"]["token"]),
        Actor("member of A's group", "user", tokens["member"]["token"], is_member=True),
        Actor("outsider", "user", tokens["outsider"]["token"]),
        Actor("pending", "pending", tokens["pending"]["token"]),
        Actor("anonymous", "", None),
        Actor("revoked key", "", "sk-00000000000000000000000000000000"),
    ]


def _own(stage: Stage, owner: str, group: str) -> dict[str, str]:
    """Rows of A's, of every type, by plain SQL: the door reads nothing else."""
    control = f'{{"read": {{"group_ids": ["{group}"]}}, "write": {{}}}}'
    rows = {
        "tool": ("id, name, content, specs, meta", "'hammer', 'T', 'c', '[]', '{}'"),
        "model": ("id, name, params, meta, is_active", "'preset', 'M', '{}', '{}', true"),
        "knowledge": ("id, name", "'books', 'K'"),
    }
    for table, (columns, values) in rows.items():
        access, given = (", access_control", f", '{control}'") if stage.is_old else ("", "")
        stage.sql(
            f"INSERT INTO {table} (user_id, created_at, updated_at, {columns}{access}) "
            f"VALUES ('{owner}', 1, 1, {values}{given})"
        )
        if not stage.is_old:
            stage.sql(
                "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, "
                f"created_at) SELECT '{table}', '{table}', t.id, 'group', '{group}', 'read', 1 FROM {table} AS t"
            )
    if stage.is_old:
        stage.sql(
            "INSERT INTO prompt (user_id, command, title, content, timestamp, access_control) "
            f"VALUES ('{owner}', '/greet', 'P', 'c', 1, '{control}')"
        )
    else:
        stage.sql(
            "INSERT INTO prompt (id, user_id, command, name, content, is_active, created_at, updated_at) "
            f"VALUES ('greet', '{owner}', 'greet', 'P', 'c', true, 1, 1)"
        )
        stage.sql(
            "INSERT INTO access_grant (id, resource_type, resource_id, principal_type, principal_id, permission, "
            f"created_at) VALUES ('prompt', 'prompt', 'greet', 'group', '{group}', 'read', 1)"
        )
    for kind, id in (("function", "parrot"), ("pipeline", "0:line")):
        stage.sql(
            "INSERT INTO neverstale.access_overlay (resource_type, resource_id, owner_id, access_control, version) "
            f"VALUES ('{kind}', '{id}', '{owner}', '{control}', 1) ON CONFLICT (resource_type, resource_id) "
            "DO UPDATE SET owner_id = EXCLUDED.owner_id, access_control = EXCLUDED.access_control"
        )
    return {
        "function": "parrot",
        "tool": "hammer",
        "model": "preset",
        "prompt": "greet",
        "knowledge": "books",
        "pipeline": "line",
        "user": owner,
        "group": group,
    }


def _asked(port: int, request: Request, actor: Actor) -> tuple[int, bytes]:
    headers = {"Content-Type": "application/json"}
    if actor.token:
        headers["Authorization"] = f"Bearer {actor.token}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(request.method, request.target, request.body, headers)
        response = connection.getresponse()
        return response.status, response.read()


def _state(stage: Stage) -> list[object]:
    return [stage.sql(f'SELECT t.id::text FROM "{table}" AS t ORDER BY 1') for table in _TABLES if table != "config"]


def test_whoever_may_not_is_refused_and_whoever_may_is_answered_as_without_a_door(empty: Stage) -> None:
    replica = empty.put(attached=False)
    replica.wait()
    with closing(Api(replica.port)) as api:
        actors = _people(empty, api)
        with _door(empty, replica.port) as (sidecar, port):
            owner = str(empty.sql("SELECT id FROM \"user\" WHERE email = 'a@example.org'")[0][0])
            group = str(empty.sql('SELECT id FROM "group"')[0][0])
            ids = _own(empty, owner, group)
            asked = list(door_rules.requests(_FLAVOURS[empty.release], ids))
            assert len(asked) > 200
            before = _state(empty)
            refused = [(one, actor) for one in asked for actor in actors if not one.may(actor)]
            wrong = []
            for one, actor in refused:
                status, body = _asked(port, one, actor)
                if status not in (401, 403) or b'"detail"' not in body:
                    wrong.append((one.on, actor.name, status, body[:200]))
            assert wrong == []
            assert _counted(sidecar, "refused") == len(refused)
            assert _state(empty) == before, "a refused request changed something"
            differ = []
            for one in asked:
                is_plain = one.method == "GET" and "list" not in one.rule and not one.target.startswith(_OF_THE_MOMENT)
                for actor in actors if is_plain else []:
                    if one.may(actor) and (given := _asked(port, one, actor)) != (own := _asked(replica.port, one, actor)):
                        differ.append((one.on, actor.name, given, own))
            assert differ == []
            assert _counted(sidecar, "refused") == len(refused), "nobody else was refused"


def _counted(sidecar: house.Sidecar, outcome: str) -> int:
    with closing(http.client.HTTPConnection("127.0.0.1", sidecar.admin_port, timeout=5)) as connection:
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
    name = f'neverstale_ingress_decisions_total{{outcome="{outcome}"}} '
    return sum(int(line.removeprefix(name)) for line in lines if line.startswith(name))
