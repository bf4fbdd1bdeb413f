"""Every write of the contract, by every kind of client: in place of what was read, or refused with what is there now."""

from __future__ import annotations

import socket
import threading

import house
import neverstale
import pytest
from askers import Asker
from conftest import House
from neverstale import reads, writes
from test_broken_servers import Server, server


def test_a_setting_is_written_in_place_of_what_was_read(asker: Asker, kind: str) -> None:
    path = f"ui.written.{kind}"
    with pytest.raises(neverstale.NotFound):
        asker.read(reads.config_value(path))
    made = asker.write(writes.config(path, {"ü": [1, None]}), None)
    assert made.value == {"path": path, "value": {"ü": [1, None]}} and made.position
    read = asker.answer(reads.stored_config_value(path))
    assert (read.value, read.etag) == (made.value, made.etag)
    # By an answer, by its tag, and whatever it was.
    changed = asker.write(writes.config(path, 2), read)
    assert asker.write(writes.config(path, 3), changed.etag).value["value"] == 3
    assert asker.write(writes.config(path, None), writes.ANYTHING).value == {"path": path, "value": None}
    assert asker.read(reads.stored_config_value(path))["value"] is None


def test_one_path_of_a_users_own_settings_is_written_and_no_other(asker: Asker, shared: House, kind: str) -> None:
    user = f"u{10 + len(kind)}"
    shared.execute(f"""UPDATE "user" SET settings = '{{"ui": {{"a": 1, "b": 2}}}}' WHERE id = '{user}'""")
    read = asker.answer(reads.own_setting(user, "ui.a"))
    asker.write(writes.user_setting(user, "ui.a", 10), read)
    assert asker.read(reads.own_setting(user, "ui"))["value"] == {"a": 10, "b": 2}
    with pytest.raises(neverstale.NotFound):
        asker.write(writes.user_setting("nobody", "ui.a", 1), None)


def test_whoever_is_slower_is_told_what_is_there_now(asker: Asker, kind: str) -> None:
    path = f"ui.faster.{kind}"
    with pytest.raises(neverstale.PreconditionFailed) as refused:
        asker.write(writes.config(path, 1), writes.ANYTHING)
    assert refused.value.problem.current is None
    read = asker.write(writes.config(path, 1), None)
    asker.write(writes.config(path, 2), read)
    for was in (read, read.etag, None):
        with pytest.raises(neverstale.PreconditionFailed, match="412 precondition-failed") as refused:
            asker.write(writes.config(path, 3), was)
        assert refused.value.problem.current == {"path": path, "value": 2}
    assert asker.read(reads.config_value(path))["value"] == 2


def test_a_session_reads_what_it_has_written(asker: Asker, kind: str) -> None:
    session = asker.session()
    path = f"ui.session.{kind}"
    was = session.write(writes.config(path, 0), None)
    for number in range(1, 20):
        was = session.write(writes.config(path, number), was)
        # The fence after the write is the session's: no further one is needed.
        assert session.token == was.position
        assert session.read(reads.config_value(path))["value"] == number


def test_writes_are_refused_over_tcp_and_where_they_are_off(kind: str, shared: House, own: House) -> None:
    with Asker(kind, shared.sidecar.url) as asker, pytest.raises(neverstale.Forbidden):
        asker.write(writes.config("ui.name", 1), writes.ANYTHING)
    own.sidecar.stop()
    with house.sidecar(own.postgres.url(own.database), {"REDIS_URL": own.redis_url}) as sidecar:
        with Asker(kind, sidecar.socket_url) as asker, pytest.raises(neverstale.Forbidden, match="writes_allowed"):
            asker.write(writes.config("ui.name", 1), writes.ANYTHING)


def test_what_can_be_no_write_is_none() -> None:
    for id, path, value in (("", "a", 1), ("u1", "", 1), ("u1", "a", float("nan"))):
        with pytest.raises(ValueError):
            writes.user_setting(id, path, value)
    assert "secret" not in repr(writes.config("a", "secret"))
    with Asker("blocking", "http://127.0.0.1:1") as asker:
        for was in ("", "x\r\ny: z"):
            with pytest.raises(ValueError):
                asker.write(writes.config("a", 1), was)


def test_a_write_without_an_answer_is_unknown_and_never_sent_twice(kind: str) -> None:
    answers = [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{",
        b"HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n",
        b"nonsense\r\n\r\n",
    ]

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(answers[number - 1])

    with server(play) as broken, Asker(kind, broken.url) as asker:
        for number in range(1, len(answers) + 1):
            with pytest.raises(neverstale.OutcomeUnknown):
                asker.write(writes.config("a", number), None)
            assert len(broken.requests) == number


def test_a_kept_connection_is_not_used_for_a_write(kind: str) -> None:
    """It may have been closed meanwhile: then nobody could say whether the write was made."""

    def play(server: Server, connection: socket.socket, number: int) -> None:
        while True:
            server.request(connection)
            connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{"id":"u1"}')
            if number == 1:
                return

    with server(play) as broken, Asker(kind, broken.url) as asker:
        asker.read(reads.user("u1"))
        asker.write(writes.config("a", 1), None)
        assert broken.connections == 2


def test_a_write_that_takes_too_long_is_unknown_and_one_that_finds_nobody_was_not_made(kind: str) -> None:
    ended = threading.Event()

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        ended.wait()

    with server(play) as slow, Asker(kind, slow.url) as asker:
        with pytest.raises(neverstale.OutcomeUnknown, match="within 0.05 s"):
            asker.write(writes.config("a", 1), None, timeout=0.05)
        ended.set()
    with Asker(kind, "http://127.0.0.1:1") as asker, pytest.raises(neverstale.Unreachable):
        asker.write(writes.config("a", 1), None)


@pytest.mark.parametrize(
    ("word", "status", "kept"),
    [("outcome-unknown", 504, neverstale.OutcomeUnknown), ("deadline-exceeded", 504, neverstale.DeadlineExceeded),
     ("precondition-required", 428, neverstale.PreconditionRequired), ("unavailable", 503, neverstale.Unavailable)],
)  # fmt: skip
def test_what_the_sidecar_says_of_a_write_is_what_is_raised(
    kind: str, word: str, status: int, kept: type[neverstale.ProblemError]
) -> None:
    body = b'{"type":"urn:neverstale:problem:%s","title":"T","status":%d}' % (word.encode(), status)

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(b"HTTP/1.1 %d X\r\ncontent-length: %d\r\n\r\n" % (status, len(body)) + body)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        with pytest.raises(neverstale.ProblemError) as refused:
            asker.write(writes.config("a", 1), None)
        assert type(refused.value) is kept
