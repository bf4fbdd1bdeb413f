"""The stream of changes for what has no request: each change is told, and each time when some may have been missed."""

from __future__ import annotations

import asyncio

import pytest
from conftest import House
from neverstale import Event
from neverstale.openwebui.follow import stream

PATIENCE_SECONDS = 30


def test_changes_are_told_and_after_an_outage_everything_is_looked_at(
    own: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEVERSTALE_URL", own.sidecar.socket_url)
    told: asyncio.Queue[str] = asyncio.Queue()

    async def changed(event: Event) -> None:
        told.put_nowait(" ".join(event.tags))
        raise RuntimeError("a listener in trouble is no trouble of the stream")

    async def lost() -> None:
        told.put_nowait("lost")

    async def until(word: str) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while word not in await told.get():
                pass

    async def story() -> None:
        following = asyncio.create_task(stream._follow())
        await until("lost")
        own.execute("UPDATE \"user\" SET role = 'admin' WHERE id = 'u2'")
        await until("user.id:u2")
        await asyncio.to_thread(own.sidecar.stop)
        own.execute("UPDATE \"user\" SET role = 'user' WHERE id = 'u2'")
        await asyncio.to_thread(own.sidecar.start)
        await until("lost")
        own.execute("UPDATE \"user\" SET role = 'admin' WHERE id = 'u3'")
        await until("user.id:u3")
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)

    monkeypatch.setattr(stream, "_listeners", [(changed, lost)])
    asyncio.run(story())
