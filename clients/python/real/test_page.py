"""The application's own page works through the door, in a real browser: signing in and out, a chat that is streamed through its socket,
a file; what is another admin's is not there, and whoever loses the role meets the door at the next request.

With `NEVERSTALE_TEST_PICTURES` each stop is kept as a picture in that directory.
"""

from __future__ import annotations

import http.client
import json
import os
from contextlib import closing
from pathlib import Path

import house
from api import Api
from browser import browser
from door import counted, door, people
from page import Page
from people import make_model
from stage import Stage
from walk import PASSWORD

_HALF, _WHOLE = "First this", "First this, then the rest."


def test_the_applications_own_page_works_through_the_door(empty: Stage) -> None:
    replica = empty.put(attached=False)
    replica.wait()
    with closing(Api(replica.port)) as api:
        actors = people(empty, api)
        make_model(api, "m0", is_old=empty.is_old)
        offered = {model["id"] for model in api.as_(actors[1].token).get("/api/models")["data"]}
        assert {"jay", "parrot"} <= offered, "the application itself shows an admin everything"
    with door(empty, replica.port) as (sidecar, port):
        with browser() as of_a:
            _an_admin_chats(Page(of_a, port), empty, sidecar, port)
        with browser() as of_member:
            _a_member_uploads_and_loses_the_role(Page(of_member, port), empty, sidecar)
        assert "neverstale_ingress_tunnels 0" in sidecar.metrics().splitlines(), "no socket is left"


def _an_admin_chats(page: Page, stage: Stage, sidecar: house.Sidecar, port: int) -> None:
    page.sign_in("a@example.org", PASSWORD)
    page.put_the_news_away()
    models = page.models()
    assert "parrot" in models and "m0" in models and "jay" not in models, models
    page.choose("m0")
    page.say("Stop halfway, please.")
    page.reads(_HALF)
    assert not page.says(_WHOLE), "the answer has come in one piece"
    _keep(page, stage, "admin")
    # What is read of an answer comes through the socket, and the socket through the door.
    sockets = page.heard().sockets
    assert [url.split("?")[0] for url in sockets] == [f"ws://127.0.0.1:{port}/ws/socket.io/"], sockets
    assert "neverstale_ingress_tunnels 1" in sidecar.metrics().splitlines()
    _go_on(stage)
    page.reads(_WHOLE)
    assert sum(page.heard().sockets.values()) > sum(sockets.values())
    page.go("/admin/functions")
    page.reads("parrot")
    assert not page.says("jay")
    _keep(page, stage, "functions")
    # Before she signs out: then the page asks on for a moment, without a door too.
    assert page.heard().complaints == [], "the door is not in the way"
    page.sign_out()
    page.go("/admin/functions")
    page.reads("Sign in")


def _a_member_uploads_and_loses_the_role(page: Page, stage: Stage, sidecar: house.Sidecar) -> None:
    page.sign_in("member@example.org", PASSWORD)
    models = page.models()
    assert not {"parrot", "jay"} & set(models), models
    page.choose("m0")
    page.attach("atlantis.txt", "The capital of Atlantis is Poseidonis.")
    page.say("Stop halfway, please: what is the capital?")
    page.reads(_HALF)
    assert not page.says(_WHOLE), "the answer has come in one piece"
    _keep(page, stage, "member")
    assert "Poseidonis" in _streamed(stage), "the model was given what is in the file"
    _go_on(stage)
    page.reads(_WHOLE)
    assert page.heard().complaints == [], "the door is not in the way"
    page.write("And who reigns there?")
    before = counted(sidecar, "refused")
    stage.sql("UPDATE \"user\" SET role = 'pending' WHERE email = 'member@example.org'")
    page.send()
    if stage.is_old:
        # Before it asks a model it saves the chat, which the application itself refuses.
        assert page.asks("/api/models") == 401
    else:
        page.reads("You do not have permission to access this resource")
    assert counted(sidecar, "refused") > before
    _keep(page, stage, "revoked")
    page.go("/")
    page.reads("Account Activation Pending")
    assert "reigns" not in _streamed(stage), "the model was asked nothing more"


def _go_on(stage: Stage) -> None:
    _upstream(stage, "POST", "/on")


def _streamed(stage: Stage) -> str:
    return str(json.loads(_upstream(stage, "GET", "/asked"))["streamed"])


def _upstream(stage: Stage, method: str, path: str) -> bytes:
    with closing(http.client.HTTPConnection(stage.upstream_url.removeprefix("http://"), timeout=10)) as connection:
        connection.request(method, path)
        return connection.getresponse().read()


def _keep(page: Page, stage: Stage, name: str) -> None:
    directory = os.environ.get("NEVERSTALE_TEST_PICTURES")
    if directory:
        page.picture(Path(directory) / f"door-{stage.release}-{name}.png")
