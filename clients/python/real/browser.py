"""A real browser without a window, as the testkit drives it: `cargo xtask browser` does what it is told line by line.

Knows nothing of the application; what its page looks like stands in `page.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PROGRAM = "NEVERSTALE_TEST_XTASK"


@dataclass(frozen=True)
class Heard:
    """What the browser has told of a page since it was opened: what it complained about, and which sockets got how many frames."""

    complaints: list[str]
    sockets: dict[str, int]


class Browser:
    """One browser, with cookies of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def open(self, url: str) -> None:
        """Opens a page in a new tab, and waits until it is loaded."""
        self._do(open=url)

    def evaluate(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return self._do(evaluate=expression)

    def until(self, expression: str) -> None:
        """Waits until an expression is true in the page."""
        self._do(until=expression)

    def picture(self, file: Path) -> None:
        """Takes a picture of the page."""
        self._do(picture=str(file))

    def heard(self) -> Heard:
        told = self._do(heard=True)
        sockets: dict[str, int] = {}
        for url, frames in told["sockets"]:
            sockets[url] = sockets.get(url, 0) + frames
        return Heard(told["complaints"], sockets)

    def _do(self, **wish: Any) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": "the browser is gone"}
        if "error" in answer:
            raise AssertionError(f"{wish}: {answer['error']}")
        return answer["value"]


@contextmanager
def browser() -> Iterator[Browser]:
    """Starts one."""
    words = [os.environ[_PROGRAM], "browser"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Browser(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
