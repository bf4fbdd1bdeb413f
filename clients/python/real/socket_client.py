"""A live socket to a replica, as a browser holds one; runs in the application's environment and is told what to do
line by line.

    python socket_client.py PORT TOKEN

`open` opens the socket anew, `join NOTE` opens a note on the one that is open. What is answered is `yes` or `no`.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import socketio

TIMEOUT_SECONDS = 10


class Socket:
    def __init__(self, port: str, token: str) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self._token = token
        self._states = 0
        self._client: Any = None
        self._ended = asyncio.Event()

    async def open(self) -> bool:
        if self._client is not None:
            await self._client.disconnect()
        # One that was disconnected stays so: a new one would be another session.
        self._client = socketio.AsyncClient(reconnection=False)
        self._client.on("ydoc:document:state", self._came)
        self._ended = ended = asyncio.Event()
        self._client.on("disconnect", lambda *_: ended.set())
        path, auth = "/ws/socket.io", {"token": self._token}
        await self._client.connect(self._url, auth=auth, socketio_path=path, transports=["websocket"])
        return bool(await self._client.call("user-join", {"auth": auth}, timeout=TIMEOUT_SECONDS))

    async def join(self, note: str) -> bool:
        if self._client is None or not self._client.connected:
            return False
        before = self._states
        document = {"document_id": f"note:{note}"}
        # The answer to the call comes after the state, on the same connection; none comes if that ends.
        call = asyncio.create_task(self._client.call("ydoc:document:join", document, timeout=TIMEOUT_SECONDS))
        end = asyncio.create_task(self._ended.wait())
        await asyncio.wait({call, end}, return_when=asyncio.FIRST_COMPLETED)
        for task in (call, end):
            task.cancel()
        await asyncio.gather(call, end, return_exceptions=True)
        return self._states > before

    async def _came(self, state: Any) -> None:
        self._states += 1


async def main() -> None:
    socket = Socket(*sys.argv[1:])
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        word, *rest = line.split()
        done = await (socket.open() if word == "open" else socket.join(*rest))
        print("yes" if done else "no", flush=True)


asyncio.run(main())
