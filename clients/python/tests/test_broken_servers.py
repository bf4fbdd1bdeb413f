"""Servers that answer wrongly: made by hand, because the sidecar does not. (They stand for no store: the sidecar is ours.)"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import neverstale
import pytest
from askers import Asker
from neverstale import reads

ANSWER = b'HTTP/1.1 200 OK\r\ncontent-length: 11\r\nneverstale-position: p-1\r\n\r\n{"id":"u1"}'
Play = Callable[[socket.socket, int], None]


class Server:
    """Takes connections one after the other, and gives each, with its number, to a play."""

    def __init__(self, play: Play) -> None:
        self._play = play
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[bytes] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            self.connections += 1
            with closing(connection):
                try:
                    self._play(connection, self.connections)
                except OSError:
                    pass

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        self._thread.join()

    def request(self, connection: socket.socket) -> bytes:
        """Receives one request; raises `OSError` when there is none."""
        received = b""
        while b"\r\n\r\n" not in received:
            data = connection.recv(65536)
            if not data:
                raise OSError("no request")
            received += data
        self.requests.append(received)
        return received


@contextmanager
def server(play: Callable[[Server, socket.socket, int], None]) -> Iterator[Server]:
    started = Server(lambda connection, number: play(started, connection, number))
    try:
        yield started
    finally:
        started.close()


def test_a_connection_closed_between_requests_is_opened_again_once(kind: str) -> None:
    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(ANSWER)
        # Closed without a word before the next request, or on seeing it.
        if number % 2:
            server.request(connection)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        for _ in range(6):
            assert asker.read(reads.user("u1")) == {"id": "u1"}


def test_a_new_connection_that_is_closed_at_once_is_not_tried_again(kind: str) -> None:
    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        with pytest.raises(neverstale.Unreachable):
            asker.read(reads.user("u1"))
        assert (broken.connections, len(broken.requests)) == (1, 1)


def test_a_stale_connection_is_tried_again_once_and_no_more(kind: str) -> None:
    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        if number == 1:
            connection.sendall(ANSWER)
            server.request(connection)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        asker.read(reads.user("u1"))
        with pytest.raises(neverstale.Unreachable):
            asker.read(reads.user("u1"))
        assert (broken.connections, len(broken.requests)) == (2, 3)


def test_an_answer_cut_off_within_is_no_answer(kind: str) -> None:
    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(ANSWER)
        server.request(connection)
        connection.sendall(ANSWER[:-1])

    with server(play) as broken, Asker(kind, broken.url) as asker:
        asker.read(reads.user("u1"))
        with pytest.raises(neverstale.Unreachable, match="within the answer"):
            asker.read(reads.user("u1"))
        assert broken.connections == 1


def test_an_answer_in_single_bytes_is_put_together(kind: str) -> None:
    chunked = b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\n{"id\r\n7\r\n":"u1"}\r\n0\r\n\r\n'

    def play(server: Server, connection: socket.socket, number: int) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for answer in (ANSWER, chunked, ANSWER):
            server.request(connection)
            for byte in answer:
                connection.sendall(bytes([byte]))

    with server(play) as broken, Asker(kind, broken.url) as asker:
        for _ in range(3):
            assert asker.read(reads.user("u1")) == {"id": "u1"}
        assert broken.connections == 1


def test_the_deadline_holds_against_silence_and_against_dribble(kind: str) -> None:
    over = threading.Event()

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        while number > 1 and not over.wait(0.02):
            # A header that goes on and on, so that something always comes.
            connection.sendall(b"HTTP/1.1 200 OK\r\nx:" if number == 2 else b" ")
            number = 3
        while number == 1 and connection.recv(1):
            pass

    with server(play) as broken, Asker(kind, broken.url) as asker:
        for _ in range(2):
            begun = time.monotonic()
            with pytest.raises(neverstale.DeadlineExceeded) as missed:
                asker.read(reads.user("u1"), timeout=0.25)
            assert 0.2 < time.monotonic() - begun < 3
            assert isinstance(missed.value, TimeoutError)
            assert missed.value.problem.kind == "deadline-exceeded"
        over.set()
        # What comes late answers nobody: these connections are not used again.
        assert broken.connections == 2


def test_an_answer_that_nobody_asked_for_is_never_given_to_the_next(kind: str) -> None:
    wrong = ANSWER.replace(b"u1", b"u9")

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(ANSWER + (wrong if number == 1 else b""))
        server.request(connection)
        connection.sendall(ANSWER)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        with pytest.raises(neverstale.BadAnswer, match="nobody asked for"):
            asker.read(reads.user("u1"))
        for _ in range(2):
            assert asker.read(reads.user("u1")) == {"id": "u1"}


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 70_000,
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nnot json!",
        b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\n<html>",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nuntil the end",
    ],
)
def test_nonsense_is_a_bad_answer(kind: str, answer: bytes) -> None:
    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(answer)
        server.request(connection)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        with pytest.raises(neverstale.BadAnswer):
            asker.read(reads.user("u1"))
        assert broken.connections == 1


def test_a_connection_that_the_server_will_close_is_not_kept(kind: str) -> None:
    closing_answer = ANSWER.replace(b"\r\ncontent", b"\r\nConnection: close\r\ncontent")

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(closing_answer)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        for count in range(1, 4):
            asker.read(reads.user("u1"))
            assert len(broken.requests) == count


def test_a_batch_with_fewer_answers_than_reads_is_a_bad_answer(kind: str) -> None:
    body = b'{"position":"p-1","answers":[{"status":200,"body":1}]}'

    def play(server: Server, connection: socket.socket, number: int) -> None:
        while True:
            server.request(connection)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        assert list(asker.batch([reads.user("u1")])) == [1]
        with pytest.raises(neverstale.BadAnswer):
            asker.batch([reads.user("u1"), reads.user("u2")])


def test_a_problem_of_an_unknown_kind_is_still_a_problem(kind: str) -> None:
    body = b'{"type":"urn:neverstale:problem:new","title":"T","status":418,"detail":"D"}'

    def play(server: Server, connection: socket.socket, number: int) -> None:
        server.request(connection)
        connection.sendall(b"HTTP/1.1 418 Teapot\r\ncontent-length: %d\r\n\r\n" % len(body) + body)

    with server(play) as broken, Asker(kind, broken.url) as asker:
        with pytest.raises(neverstale.ProblemError, match="418 new: D") as refused:
            asker.read(reads.user("u1"))
        assert type(refused.value) is neverstale.ProblemError


def test_nothing_that_a_caller_holds_becomes_a_header(kind: str) -> None:
    with Asker(kind, "http://127.0.0.1:1") as asker:
        with pytest.raises(ValueError, match="one line"):
            asker.read(reads.user("u1"), level=neverstale.Level("x\r\nauthorization: y"))
        with pytest.raises(ValueError, match="no position"):
            neverstale.at_least_as_fresh("x\r\ny: z")
        with pytest.raises(ValueError, match="bearer"):
            neverstale.Client("http://127.0.0.1:1", token="a\r\nb")


def test_addresses_are_understood_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    parse = neverstale.Address.parse
    monkeypatch.delenv("NEVERSTALE_URL", raising=False)
    assert str(parse()) == "http://127.0.0.1:7380"
    assert str(parse("http://[::1]:9")) == "http://[::1]:9"
    assert parse("unix:///run/x.sock").socket == "/run/x.sock"
    monkeypatch.setenv("NEVERSTALE_URL", "unix:///y")
    assert str(parse()) == "unix:///y"
    for wrong in (
        "https://x",
        "unix://x",
        "x:1",
        "http://u@x",
        "http://x/path",
        "unix:x",
        "http://x:y",
        "http://x?a=b",
    ):
        with pytest.raises(ValueError):
            parse(wrong)
