"""Asks one thing over some connections, each as fast as it is answered, for some seconds; tells what came of it as
JSON.

A process of its own and bare sockets, so that it takes little from the two cores that everything here shares. The
request comes on standard input, whole.

    python load.py PORT CONNECTIONS SECONDS < request
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
from time import perf_counter


class Connection:
    """One connection with one request under way."""

    __slots__ = ("_buffer", "_request", "begun", "socket", "status")

    def __init__(self, port: int, request: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._request = request
        self._buffer = b""
        self.begun = 0.0
        self.status = 0

    def ask(self) -> None:
        self._buffer = b""
        self.begun = perf_counter()
        self.socket.sendall(self._request)

    def is_answered(self) -> bool:
        """Takes what has come; whether that was the end of it."""
        data = self.socket.recv(1 << 18)
        if not data:
            raise ConnectionError("the application closed the connection")
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        self.status = int(head[9:12])
        lowered = head.lower()
        at = lowered.find(b"content-length:")
        if at < 0:
            return body.endswith(b"0\r\n\r\n")
        return len(body) >= int(lowered[at + 15 :].split(b"\r\n", 1)[0])


def main() -> None:
    port, count, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    request = sys.stdin.buffer.read()
    selector = selectors.DefaultSelector()
    taken: list[float] = []
    refused = 0
    begun = perf_counter()
    for _ in range(count):
        connection = Connection(port, request)
        selector.register(connection.socket, selectors.EVENT_READ, connection)
        connection.ask()
    while (now := perf_counter()) < begun + seconds or len(taken) < count:
        for key, _ in selector.select(seconds):
            connection = key.data
            if connection.is_answered():
                taken.append(perf_counter() - connection.begun)
                refused += connection.status != 200
                connection.ask()
    taken.sort()
    told: dict[str, float | None] = {"seconds": now - begun, "answers": len(taken), "refused": refused}
    told |= {f"p{p}_ms": taken[len(taken) * p // 100] * 1000 if taken else None for p in (50, 99)}
    print(json.dumps(told))


if __name__ == "__main__":
    main()
