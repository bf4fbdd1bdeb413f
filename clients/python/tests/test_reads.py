"""Every read of the contract, by every kind of client, over TCP and the Unix socket, against the real sidecar."""

from __future__ import annotations

import re
from typing import Any

import house
import neverstale
import pytest
from askers import Asker
from conftest import House
from neverstale import Read, reads

USER_2 = {"id": "u2", "email": "User2@example.com", "name": "User 2", "role": "user", "username": None, "created_at": 2}

PLAIN: list[tuple[Read[Any], Any]] = [
    (reads.user("u2"), USER_2),
    (reads.user_by_email("user2@EXAMPLE.com"), USER_2),
    (reads.role("u1"), {"id": "u1", "role": "admin", "super_admin": True}),
    (reads.setting("u2", "rag.top_k", 3), {"path": "rag.top_k", "value": 7, "source": "global"}),
    (reads.setting("u2", "a/b & c?d=ü", ["ü", None]), {"path": "a/b & c?d=ü", "value": ["ü", None], "source": "default"}),
    (reads.setting("u2", "none"), {"path": "none", "value": None, "source": "default"}),
    (reads.settings("u2"), {"values": {
        "rag.top_k": {"value": 7, "source": "global"}, "ui.name": {"value": "Größe & 100 %", "source": "global"}}}),
    (reads.virtual_keys("u2"), {"keys": [{"path": "openai.api_keys", "source": "global"}]}),
    (reads.config(), {"values": {"rag.top_k": 7, "ui.name": "Größe & 100 %"}}),
    (reads.config_value("ui.name"), {"path": "ui.name", "value": "Größe & 100 %"}),
    (reads.view("group-members", "g1"), {"id": "g1", "user_ids": ["u2"]}),
]  # fmt: skip
SECRET: list[tuple[Read[Any], Any]] = [
    (reads.virtual_key("u2", "openai.api_keys"),
     {"path": "openai.api_keys", "value": ["sk-of-a-provider"], "source": "global"}),
    (reads.api_key("sk-of-user-2"), {"user": USER_2, "key": {"id": "k1", "expires_at": None}}),
]  # fmt: skip


def test_every_read_gives_what_the_database_says(kind: str, url: str) -> None:
    with Asker(kind, url) as asker:
        for read, expected in PLAIN:
            assert asker.read(read) == expected, read
        assert [group["id"] for group in asker.read(reads.groups("u2"))] == ["g2", "g1"]
        permissions = asker.read(reads.permissions("u2"))
        assert permissions["features"]["web_search"] is True
        assert permissions["workspace"]["models"] is False
        assert asker.read(reads.session(house.session_token("u2"))) == USER_2
        assert asker.read(reads.openapi())["openapi"].startswith("3.1")


def test_secrets_come_over_the_socket_and_are_refused_over_tcp(kind: str, shared: House) -> None:
    with Asker(kind, shared.sidecar.socket_url) as asker:
        for read, expected in SECRET:
            assert asker.read(read) == expected
    with Asker(kind, shared.sidecar.url) as asker:
        for read, _ in SECRET:
            with pytest.raises(neverstale.SecretNeedsToken):
                asker.read(read)


def test_a_bearer_token_opens_tcp(kind: str, own: House) -> None:
    own.sidecar.stop()
    tokens = own.sidecar.home.name + "/tokens"
    with open(tokens, "w") as file:
        file.write(house.TOKEN)
    environment = {"NEVERSTALE_API__TOKEN_FILE": tokens, "REDIS_URL": own.redis_url}
    with house.sidecar(own.postgres.url(own.database), environment) as sidecar:
        with Asker(kind, sidecar.url) as asker, pytest.raises(neverstale.Unauthorised) as refused:
            asker.read(reads.user("u1"))
        assert refused.value.problem.status == 401
        with Asker(kind, sidecar.url, token=house.TOKEN) as asker:
            for read, expected in SECRET:
                assert asker.read(read) == expected


def test_an_answer_tells_its_position_level_tag_and_source(asker: Asker) -> None:
    first = asker.answer(reads.user("u3"))
    again = asker.answer(reads.user("u3"))
    assert first.value == again.value
    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]+", first.position)
    assert (first.level, again.cache_status) == ("fully-consistent", "neverstale; hit; detail=l1")
    assert first.etag == again.etag != ""
    weaker = asker.answer(reads.user("u3"), level=neverstale.MINIMIZE_LATENCY)
    assert weaker.level == "minimize-latency"
    told = asker.answer(reads.user("u3"), level=neverstale.at_least_as_fresh(first.position))
    assert told.level.startswith("at-least-as-fresh")


def test_what_is_known_is_not_sent_again(asker: Asker, shared: House) -> None:
    known = asker.answer(reads.user("u4"))
    again = asker.answer(reads.user("u4"), known=known)
    assert again.is_unchanged
    assert again.value is known.value
    assert again.position and again.etag == known.etag
    shared.execute("UPDATE \"user\" SET name = name || '!' WHERE id = 'u4'")
    changed = asker.answer(reads.user("u4"), known=known)
    assert not changed.is_unchanged
    assert changed.value["name"] == known.value["name"] + "!"


def test_a_batch_is_answered_at_one_state_with_problems_in_their_places(asker: Asker) -> None:
    batch = asker.batch([reads.user("u2"), reads.user("nobody"), reads.config_value("ui.name"), reads.view("no", "x")])
    assert len(batch) == 4
    assert re.fullmatch(r"[0-9a-f]{32}-[0-9a-f]+", batch.position)
    assert batch[0] == USER_2
    assert batch[2]["value"] == "Größe & 100 %"
    assert batch.get(1) is None
    assert batch.get(1, default=0) == 0
    with pytest.raises(neverstale.NotFound):
        batch[1]
    with pytest.raises(neverstale.NotInThisSchema):
        batch[3]
    with pytest.raises(neverstale.NotFound):
        list(batch)
    with pytest.raises(ValueError, match="by themselves"):
        asker.batch([reads.api_key("sk-of-user-2")])


def test_a_batch_does_not_send_again_what_the_caller_has(kind: str, own: House) -> None:
    asked = [reads.user("u2"), reads.user("u3"), reads.user("nobody")]
    with Asker(kind, own.sidecar.socket_url) as asker:
        first = asker.batch(asked)
        etags = [first.etag(0), first.etag(1), None]
        assert all(etags[:2]) and first.etag(2) == "" and not first.is_unchanged(0)
        own.execute("UPDATE \"user\" SET name = 'Another' WHERE id = 'u3'")
        second = asker.batch(asked, etags=etags)
        assert [second.is_unchanged(place) for place in range(3)] == [True, False, False]
        assert second.etag(0) == etags[0] and second[1]["name"] == "Another" and second.get(2) is None
        with pytest.raises(ValueError, match="unchanged"):
            second[0]
        with pytest.raises(ValueError):
            asker.batch(asked, etags=etags[:2])


def test_a_refusal_is_an_exception_with_the_problem_inside(asker: Asker) -> None:
    with pytest.raises(neverstale.NotFound) as missing:
        asker.read(reads.user("nobody"))
    problem = missing.value.problem
    assert (problem.type, problem.kind, problem.status) == ("urn:neverstale:problem:not-found", "not-found", 404)
    assert str(missing.value).startswith("404 not-found: ")
    with pytest.raises(neverstale.NotFound):
        asker.read(reads.api_key("sk-unknown"))
    with pytest.raises(neverstale.NotFound, match="no valid session"):
        asker.read(reads.session("a.b.c"))
    with pytest.raises(neverstale.NotInThisSchema):
        asker.read(reads.view("no-such-view", "x"))
    with pytest.raises(neverstale.Malformed):
        asker.read(reads.user("a\0b"))
    with pytest.raises(neverstale.MethodNotAllowed):
        asker.read(Read("/v1/config", b"{}"))


@pytest.mark.parametrize("id", ["a/b", "../config", "ü", "a b", "a%2Fb", "?x=1", "#", "\r\nx: y"])
def test_no_key_becomes_another_path(asker: Asker, id: str) -> None:
    with pytest.raises(neverstale.NotFound) as missing:
        asker.read(reads.user(id))
    # "There is no such user", and not "there is no such path".
    assert missing.value.problem.detail is None


@pytest.mark.parametrize("wrong", ["v1/users", "", "/a b", "/a\r\nhost: x", "/ü"])
def test_a_path_is_checked_before_it_is_sent(wrong: str) -> None:
    with pytest.raises(ValueError, match="percent-encoded"):
        Read(wrong)
    with pytest.raises(ValueError, match="no key"):
        reads.user("")


def test_keys_and_sessions_do_not_show() -> None:
    for read in (reads.api_key("sk-secret"), reads.session("secret.jwt.x")):
        assert "secret" not in repr(read)
