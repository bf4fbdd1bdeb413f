"""The application's API, as a person uses it: one connection, one token, JSON in and out."""

from __future__ import annotations

import http.client
import json
import uuid
from dataclasses import dataclass
from time import monotonic
from typing import Any

_TIMEOUT_SECONDS = 60.0
_IDLE_SECONDS_MAX = 1.0


class RefusedError(Exception):
    """The application answered with an error."""

    def __init__(self, call: str, answer: Reply) -> None:
        super().__init__(f"{call}: {answer.status}: {answer.body}")
        self.status = answer.status


@dataclass(frozen=True, slots=True)
class Reply:
    """A status and what came with it, decoded if it is JSON."""

    status: int
    body: Any


class Api:
    """One caller of one replica; not for two threads."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.token = token
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
        self._fresh_until = 0.0
        self._others: list[Api] = []

    def as_(self, token: str | None) -> Api:
        """Another caller of the same replica; closed with this one."""
        self._others.append(Api(self._connection.port, token))
        return self._others[-1]

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """Asks and gives whatever comes back."""
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} | (headers or {})
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        if monotonic() > self._fresh_until:
            # The application closes what is idle for five seconds, and a request may meet that.
            self._connection.close()
        self._fresh_until = monotonic() + _IDLE_SECONDS_MAX
        try:
            self._connection.request(method, path, data, sent)
            response = self._connection.getresponse()
            text = response.read()
        except BaseException:
            self._connection.close()
            raise
        try:
            return Reply(response.status, json.loads(text) if text else None)
        except ValueError:
            return Reply(response.status, text.decode(errors="replace"))

    def get(self, path: str) -> Any:
        return self._done("GET", path, self.ask("GET", path))

    def post(self, path: str, body: Any = None) -> Any:
        return self._done("POST", path, self.ask("POST", path, body))

    def delete(self, path: str, body: Any = None) -> Any:
        return self._done("DELETE", path, self.ask("DELETE", path, body))

    def close(self) -> None:
        self._connection.close()
        for other in self._others:
            other.close()

    def __enter__(self) -> Api:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @staticmethod
    def _done(method: str, path: str, reply: Reply) -> Any:
        if reply.status != 200:
            raise RefusedError(f"{method} {path}", reply)
        return reply.body


def file_form(name: str, text: str) -> tuple[bytes, dict[str, str]]:
    """A file as a form uploads it: body and headers."""
    boundary = uuid.uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
    body = f"{head}Content-Type: text/plain\r\n\r\n{text}\r\n--{boundary}--\r\n"
    return body.encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
