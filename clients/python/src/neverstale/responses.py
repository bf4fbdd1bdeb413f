"""Reads HTTP/1.1 responses, without doing any input or output.

Nearly every answer of the sidecar comes in one piece: head, `Content-Length`, body. That is the first way through `feed`; all
other ways (pieces, chunks, interim responses) are for being right, not fast. What can't be understood, or has no length that
could be checked, is a `BadAnswer`: a truncated answer must never look whole.
"""

from __future__ import annotations

from neverstale.problems import BadAnswer

HEAD_BYTES_MAX = 64 * 1024
BODY_BYTES_MAX = 256 * 1024 * 1024
_CHUNK_LINE_BYTES_MAX = 1024
_BODILESS = frozenset((204, 304))


class Response:
    """One response; the head without its last empty line."""

    __slots__ = ("body", "head", "is_last", "status")

    def __init__(self, status: int, head: bytes, body: bytes, is_last: bool) -> None:
        self.status = status
        self.head = head
        self.body = body
        self.is_last = is_last
        """Whether the server closes the connection after this one."""

    def header(self, name: str) -> str:
        """The first header of that name, in lower case; the empty text when there is none."""
        return header(self.head, name.encode("ascii")).decode("latin-1")


class Responses:
    """What arrives on one connection, put together into responses: one for each request."""

    __slots__ = ("_buffer", "_chunked", "_need")

    def __init__(self) -> None:
        self._buffer = bytearray()
        # So many bytes must be there before it is worth looking again.
        self._need = 0
        self._chunked: _ChunkedResponse | None = None

    @property
    def has_begun(self) -> bool:
        """Whether part of a response has arrived."""
        return bool(self._buffer) or self._chunked is not None

    def feed(self, data: bytes) -> Response | None:
        """Takes what arrived, and gives the response when it is whole. Raises `BadAnswer`; the connection is of no use then."""
        if self._chunked is None:
            if self._buffer:
                self._buffer += data
                if len(self._buffer) < self._need:
                    return None
                data = bytes(self._buffer)
            response = self._read(data)
            if response is not None or self._chunked is not None:
                if self._buffer:
                    self._buffer.clear()
                    self._need = 0
            elif not self._buffer:
                self._buffer += data
            return response
        response = self._chunked.feed(data)
        if response is not None:
            self._chunked = None
        return response

    def _read(self, data: bytes) -> Response | None:
        begin = 0
        while True:
            end = data.find(b"\r\n\r\n", begin)
            if end < 0:
                _check_beginning(data, begin)
                return None
            head = data[begin:end]
            begin = end + 4
            status = _status(head)
            if status >= 200:
                break
            # An interim response says nothing that matters here.
        lower = head.lower()
        is_last = b"\r\nconnection:" in lower and b"close" in header(lower, b"connection")
        if status in _BODILESS:
            return _whole(status, head, data, begin, begin, is_last)
        place = lower.find(b"\r\ncontent-length:")
        if b"\r\ntransfer-encoding:" in lower:
            if place >= 0 or header(lower, b"transfer-encoding") != b"chunked":
                raise BadAnswer("the length of the body is said twice or in an unknown way")
            self._chunked = _ChunkedResponse(status, head, is_last)
            response = self._chunked.feed(data[begin:])
            if response is not None:
                self._chunked = None
            return response
        if place < 0:
            raise BadAnswer("the body has no length")
        total = begin + _length(lower, place + 17)
        if len(data) < total:
            self._need = total
            return None
        return _whole(status, head, data, begin, total, is_last)


class _ChunkedResponse:
    """A response whose body comes in chunks."""

    __slots__ = ("_chunks", "_head", "_is_last", "_length", "_pieces", "_status")

    def __init__(self, status: int, head: bytes, is_last: bool) -> None:
        self._status = status
        self._head = head
        self._is_last = is_last
        self._chunks = Chunks()
        self._pieces: list[bytes] = []
        self._length = 0

    def feed(self, data: bytes) -> Response | None:
        pieces = self._chunks.feed(data)
        self._pieces += pieces
        self._length += sum(map(len, pieces))
        if self._length > BODY_BYTES_MAX:
            raise BadAnswer(f"the body is larger than {BODY_BYTES_MAX} bytes")
        if not self._chunks.is_over:
            return None
        return Response(self._status, self._head, b"".join(self._pieces), self._is_last)


class Chunks:
    """Takes the chunked coding off a body as it arrives."""

    __slots__ = ("_buffer", "_left", "_state", "is_over")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._state = "size"
        self.is_over = False
        """Whether the last chunk has come."""

    def feed(self, data: bytes) -> list[bytes]:
        """Gives the data that is complete so far. Raises `BadAnswer` for what is no chunk."""
        buffer, pieces = self._buffer + data, []
        while not self.is_over:
            if self._state == "data":
                if not buffer:
                    break
                piece, buffer = buffer[: self._left], buffer[self._left :]
                self._left -= len(piece)
                pieces.append(piece)
                if self._left == 0:
                    self._state = "end"
                continue
            end = buffer.find(b"\r\n")
            if end < 0 and len(buffer) <= _CHUNK_LINE_BYTES_MAX:
                break
            if end < 0 or end > _CHUNK_LINE_BYTES_MAX:
                raise BadAnswer("the line before a chunk does not end")
            line, buffer = buffer[:end], buffer[end + 2 :]
            self._take_line(line)
        if self.is_over and buffer:
            raise BadAnswer("something came after the answer that nobody asked for")
        self._buffer = buffer
        return pieces

    def _take_line(self, line: bytes) -> None:
        if self._state == "end":
            if line:
                raise BadAnswer("a chunk is longer than it said")
            self._state = "size"
        elif self._state == "trailer":
            self.is_over = not line
        else:
            digits = line.split(b";", 1)[0].strip()
            if not digits or len(digits) > 8 or digits.strip(b"0123456789abcdefABCDEF"):
                raise BadAnswer("the size of a chunk is no number")
            self._left = int(digits, 16)
            self._state = "data" if self._left else "trailer"


def header(head: bytes, name: bytes) -> bytes:
    """The value of the first header of a name (in lower case) in a head; empty when there is none."""
    place = head.lower().find(b"\r\n" + name + b":")
    if place < 0:
        return b""
    begin = place + len(name) + 3
    end = head.find(b"\r\n", begin)
    return head[begin : end if end >= 0 else len(head)].strip()


def _check_beginning(data: bytes, begin: int) -> None:
    if not b"HTTP/1.1 ".startswith(data[begin : begin + 9]):
        raise BadAnswer("this is no HTTP/1.1")
    if len(data) - begin > HEAD_BYTES_MAX:
        raise BadAnswer(f"the head is larger than {HEAD_BYTES_MAX} bytes")


def _status(head: bytes) -> int:
    if len(head) > HEAD_BYTES_MAX:
        raise BadAnswer(f"the head is larger than {HEAD_BYTES_MAX} bytes")
    digits = head[9:12]
    if head[:9] != b"HTTP/1.1 " or not digits.isdigit() or head[12:13] not in (b" ", b"\r", b""):
        raise BadAnswer("the status line is not of HTTP/1.1")
    status = int(digits)
    if not 100 <= status <= 599 or status == 101:
        raise BadAnswer(f"status {status} is no answer to anything that was asked")
    return status


def _length(lower: bytes, begin: int) -> int:
    end = lower.find(b"\r\n", begin)
    digits = lower[begin : end if end >= 0 else len(lower)].strip()
    if not digits.isdigit() or len(digits) > 12 or (end >= 0 and lower.find(b"\r\ncontent-length:", end) >= 0):
        raise BadAnswer("the length of the body is no number, or said twice")
    length = int(digits)
    if length > BODY_BYTES_MAX:
        raise BadAnswer(f"the body is larger than {BODY_BYTES_MAX} bytes")
    return length


def _whole(status: int, head: bytes, data: bytes, begin: int, total: int, is_last: bool) -> Response:
    if len(data) != total:
        raise BadAnswer("something came after the answer that nobody asked for")
    return Response(status, head, data[begin:], is_last)
