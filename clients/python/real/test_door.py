"""The real application behind the door: everybody on every guarded route gets what the rules say, and nothing else. Whoever may not
is refused, and nothing of it happens; lists show what is the caller's to see; what is allowed reaches the application and is
answered as without a door, byte for byte.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import door_rules
import house
import pytest
from door import Guarded, counted, guarded
from door_rules import Actor, Request
from stage import stage

_FLAVOURS = {"0.12.4": "openwebui-0.12", "0.6.43": "openwebui-0.6"}
# Those that others refer to come first.
_TABLES = ("group", "group_member", "function", "tool", "model", "prompt", "knowledge", "config")
# Answers that are about the moment.
_OF_THE_MOMENT = (
    "/api/usage",
    "/ollama/",
    "/openai/",
    "/api/v1/images/models",
    "/api/v1/audio/",
    "/api/v1/users/",  # when somebody was last active
)
# How long it took, and when.
_HEADERS_OF_THE_MOMENT = ("date", "x-process-time")
# They would end the very accounts that go on asking.
_ENDS_ACCOUNTS = ("POST /api/v1/users/{user_id}/sessions/revoke", "DELETE /api/v1/users/{user_id}")


@dataclass(frozen=True)
class Answer:
    """What somebody got."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def is_as_the_application_refuses(self) -> bool:
        return self.status in (401, 403) and b'"detail"' in self.body


@pytest.fixture(scope="module")
def place(release: str, postgres: house.Postgres) -> Iterator[Guarded]:
    """The application with everybody and a door, for all tests of a release."""
    with stage(release, postgres) as built, guarded(built) as place:
        yield place


def test_whoever_may_not_is_refused_on_every_guarded_route_and_nothing_happens(place: Guarded) -> None:
    asked, before, refused = _asked(place), _state(place), counted(place.sidecar, "refused")
    unallowed = [(one, actor) for one in asked for actor in place.actors if not one.may(actor)]
    wrong = []
    for one, actor in unallowed:
        answer = _send(place.door, one.method, one.target, one.body, actor)
        if not answer.is_as_the_application_refuses:
            wrong.append((one.on, one.owner, actor.name, answer))
    assert wrong == []
    assert counted(place.sidecar, "refused") - refused == len(unallowed) > 1_800
    assert _state(place) == before, "a refused request changed something"


def test_whoever_may_is_answered_as_without_a_door(place: Guarded) -> None:
    refused = counted(place.sidecar, "refused")
    calls = [
        (one.method, one.target, one.body, [actor for actor in place.actors if one.may(actor)])
        for one in _asked(place)
        if one.method == "GET" and "list" not in one.rule and not one.target.startswith(_OF_THE_MOMENT)
    ]
    # A credential that is worth nothing is taken off: whoever shows it is answered as somebody who shows none.
    believed = [actor for actor in place.actors if actor.role or actor.token is None]
    anonymous = [actor for actor in place.actors if actor.name == "anonymous"]
    for method, target, body in _open_calls():
        # Who tries a password too often is told so.
        calls.append((method, target, body, anonymous if target.endswith("/signin") else believed))
    different = []
    for method, target, body, actors in calls:
        for actor in actors:
            given = _send(place.door, method, target, body, actor)
            own = _send(place.application, method, target, body, actor)
            if given != own:
                different.append((method, target, actor.name, given, own))
    assert len(calls) > 60
    assert different == [], different[:5]
    assert counted(place.sidecar, "refused") == refused


def test_lists_show_what_is_the_callers_to_see(place: Guarded) -> None:
    cut, whole = set(), set()
    for one in _asked(place):
        if "list" not in one.rule:
            continue
        kind = one.rule["list"].split(" ")[1]
        for actor in [actor for actor in place.actors if one.may(actor)]:
            what = (one.on, actor.name)
            own = _send(place.application, one.method, one.target, None, actor)
            given = _send(place.door, one.method, one.target, None, actor)
            assert given.status == own.status, what
            if own.status != 200:
                continue
            offered, shown = _ids(own.body, one.rule["list"]), _ids(given.body, one.rule["list"])
            expected = [id for id in offered if door_rules.sees(actor, one.rule["list"], id, place.ids)]
            assert shown == expected, (what, offered)
            if shown == offered:
                # Valves are hidden in the export of functions, and nothing else is touched.
                assert given.body == own.body or "hide" in one.rule, what
                whole.add(kind)
            else:
                cut.add(kind)
            if actor.is_first:
                assert given == own, what
    # What the application does not filter by itself is cut; all of it is listed to somebody.
    assert {"function", "model"} <= cut, cut
    assert {"function", "model", "tool", "prompt", "knowledge"} <= whole, whole


def test_whoever_may_write_reaches_the_application(place: Guarded) -> None:
    refused, answered = counted(place.sidecar, "refused"), _answered(place)
    saved = _saved(place)
    sent, wrong = 0, []
    for one in _asked(place):
        if one.method in ("GET", "HEAD") or one.on in _ENDS_ACCOUNTS:
            continue
        allowed = [actor for actor in place.actors if one.may(actor)]
        # Where a role is enough, whoever has no other right stands for all.
        for actor in allowed if "check" in one.rule else allowed[-1:]:
            answer = _send(place.door, one.method, one.target, one.body, actor)
            sent += 1
            if ("content-type", "application/problem+json") in answer.headers:
                wrong.append((one.on, actor.name, answer))
            if answer.is_as_the_application_refuses and counted(place.sidecar, "refused") > refused:
                wrong.append((one.on, actor.name, answer))
                break
            if answer.status < 400:
                _put_back(place, saved)
    assert wrong == []
    assert counted(place.sidecar, "refused") == refused
    assert _answered(place) - answered == sent > 400, "each has reached it"


def _asked(place: Guarded) -> list[Request]:
    flavour = _FLAVOURS[place.stage.release]
    asked = list(door_rules.requests(flavour, place.ids))
    assert door_rules.unasked(flavour, {one.on for one in asked}) == set(), "no route is missing"
    return asked


def _open_calls() -> Iterator[tuple[str, str, bytes | None]]:
    """What nobody is refused, and what everybody may ask of a model."""
    for target in ("/", "/auth", "/api/config", "/api/version", "/manifest.json", "/static/favicon.png"):
        yield "GET", target, None
    yield "HEAD", "/static/favicon.png", None
    yield "GET", "/api/v1/chats/?page=1", None
    yield "GET", "/api/v1/configs/banners", None
    yield "POST", "/api/v1/auths/signin", b'{"email": "nobody@example.org", "password": "wrong"}'
    yield "POST", "/api/v1/auths/signin", b"no json"
    yield "POST", "/api/v1/memories/query", b"{}"


def _ids(body: bytes, check: str) -> list[str]:
    """The ids at the place of a list's rule."""
    *way, _, name = check.split(" ")[2].removeprefix("body:/").split("/")
    found: Any = json.loads(body)
    for step in way:
        found = found[step]
    return [str(element[name]) for element in found]


def _send(port: int, method: str, target: str, body: bytes | None, actor: Actor) -> Answer:
    headers = {"Content-Type": "application/json"}
    if actor.token:
        headers["Authorization"] = f"Bearer {actor.token}"
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        told = [(name.lower(), value) for name, value in response.getheaders()]
        kept = sorted((name, "" if name in _HEADERS_OF_THE_MOMENT else value) for name, value in told)
        return Answer(response.status, kept, response.read())


def _answered(place: Guarded) -> int:
    """How many requests the application has answered through the door."""
    name = 'neverstale_ingress_passes_total{outcome="answered"} '
    return sum(int(line.removeprefix(name)) for line in place.sidecar.metrics().splitlines() if line.startswith(name))


def _state(place: Guarded) -> list[object]:
    tables = (*_TABLES[:-1], "user")
    return [place.stage.sql(f'SELECT t.id::text FROM "{table}" AS t ORDER BY 1') for table in tables]


def _saved(place: Guarded) -> Mapping[str, str]:
    """Copies of what a write could change: the copy of each table, by its name."""
    tables = [f'"{table}"' for table in _TABLES] + ["neverstale.access_overlay"]
    if not place.stage.is_old:
        tables.append("access_grant")
    place.stage.sql("CREATE SCHEMA saved")
    copies = {table: f"saved.t{number}" for number, table in enumerate(tables)}
    for table, copy in copies.items():
        place.stage.sql(f"CREATE TABLE {copy} AS TABLE {table}")
    return copies


def _put_back(place: Guarded, saved: Mapping[str, str]) -> None:
    """Makes the tables what they were: whatever has changed goes, and what is missing comes back."""
    gone = [
        f"DELETE FROM {table} AS t WHERE t::text NOT IN (SELECT s::text FROM {copy} AS s)"
        for table, copy in saved.items()
    ]
    back = [
        f"INSERT INTO {table} SELECT * FROM {copy} AS s WHERE s::text NOT IN (SELECT t::text FROM {table} AS t)"
        for table, copy in saved.items()
    ]
    place.stage.sql("; ".join(gone + back))
