"""The parser: whole, in pieces at every place, in chunks, and everything that must not pass for an answer."""

from __future__ import annotations

import pytest
from neverstale import BadAnswer
from neverstale.responses import BODY_BYTES_MAX, HEAD_BYTES_MAX, Response, Responses

PLAIN = b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nETag: "x"\r\nContent-Length: 11\r\n\r\n{"id":"u1"}'
CHUNKED = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"id"\r\n6;note=1\r\n:"u1"}\r\n0\r\ntrailer: x\r\n\r\n'
)
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" + PLAIN
UNMODIFIED = b'HTTP/1.1 304 Not Modified\r\netag: "x"\r\n\r\n'


def fed(data: bytes, size: int) -> Response | None:
    responses = Responses()
    for begin in range(0, len(data), size):
        assert not (begin and responses.feed(b"") is not None)
        response = responses.feed(data[begin : begin + size])
        if response is not None:
            assert begin + size >= len(data), "an answer was given before it was whole"
            assert not responses.has_begun
            return response
        assert responses.has_begun
    return None


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, INTERIM])
def test_an_answer_is_the_same_in_pieces_of_every_size(data: bytes) -> None:
    for size in range(1, len(data) + 1):
        response = fed(data, size)
        assert response is not None
        assert (response.status, response.body, response.is_last) == (200, b'{"id":"u1"}', False)


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, INTERIM, UNMODIFIED])
def test_no_part_of_an_answer_passes_for_the_whole(data: bytes) -> None:
    for length in range(len(data)):
        assert Responses().feed(data[:length]) is None


def test_one_answer_follows_another_on_the_same_connection() -> None:
    responses = Responses()
    for data in (PLAIN, CHUNKED, UNMODIFIED, PLAIN):
        half = len(data) // 2
        assert responses.feed(data[:half]) is None
        assert responses.feed(data[half:]) is not None
        assert responses.feed(data) is not None


def test_headers_are_found_whatever_their_case() -> None:
    response = Responses().feed(PLAIN)
    assert response is not None
    assert response.header("etag") == '"x"'
    assert response.header("content-type") == "application/json"
    assert response.header("tag") == ""


def test_the_end_of_a_connection_is_announced() -> None:
    response = Responses().feed(PLAIN.replace(b"\r\nETag", b"\r\nConnection: Keep-Alive, Close\r\nETag"))
    assert response is not None
    assert response.is_last
    unmodified = Responses().feed(UNMODIFIED)
    assert unmodified is not None and unmodified.body == b""


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "data",
    [
        PLAIN + b"H",
        PLAIN + PLAIN,
        UNMODIFIED + b"x",
        CHUNKED + b"x",
        PLAIN.replace(b"HTTP/1.1", b"HTTP/1.0"),
        PLAIN.replace(b"200", b"2x0"),
        PLAIN.replace(b"200", b"2000"),
        PLAIN.replace(b"200", b"999"),
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\r\n\r\n",
        HEAD + b"\r\n",
        HEAD + b"\r\nto the end of the connection",
        HEAD + b"content-length: x\r\n\r\n",
        HEAD + b"content-length: -1\r\n\r\n",
        HEAD + b"content-length: +1\r\n\r\nx",
        HEAD + b"content-length:\r\n\r\n",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nx",
        HEAD + b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\nx",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n",
        HEAD + b"content-length: %d\r\n\r\n" % (BODY_BYTES_MAX + 1),
        HEAD + b"transfer-encoding: chunked\r\n\r\n-1\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nxy\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n1_0\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"1" * 2000,
        HEAD + b"x: " + b"y" * HEAD_BYTES_MAX,
        HEAD + b"x: " + b"y" * HEAD_BYTES_MAX + b"\r\ncontent-length: 0\r\n\r\n",
    ],
)
def test_what_is_no_answer_of_the_contract_is_refused(data: bytes) -> None:
    with pytest.raises(BadAnswer):
        Responses().feed(data)
