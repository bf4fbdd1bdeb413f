"""What follows the database, without the application: the list of models against builds that overtake each other, and
the environment."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from neverstale.openwebui.follow import follows, models


class Application:
    """Builds lists as the application does: reads, waits, and puts what it has read into its state."""

    def __init__(self) -> None:
        self.state = SimpleNamespace(MODELS={})
        self.rows: dict[str, str] = {"m0": "first"}
        self.version: str | None = "1"
        self.builds = 0
        self.may_end = asyncio.Event()
        self.may_end.set()

    def commit(self, version: str, rows: dict[str, str]) -> None:
        self.version, self.rows = version, rows

    async def get_all_models(self, request: Any, refresh: bool = False, user: Any = None) -> list[str]:
        self.builds += 1
        read, may_end = dict(self.rows), self.may_end
        await may_end.wait()
        if read:
            request.app.state.MODELS = read
        return list(read)


@pytest.fixture
def application(monkeypatch: pytest.MonkeyPatch) -> Application:
    application = Application()

    async def version() -> str | None:
        return application.version

    async def build(self: models.Registry, app: Any, *, is_told: bool) -> None:
        await self.get_all_models(SimpleNamespace(app=app), refresh=is_told)

    monkeypatch.setattr(models, "_version", version)
    monkeypatch.setattr(models.Registry, "_build", build)
    return application


def test_a_list_is_built_anew_before_a_request_when_what_it_was_built_from_has_changed(
    application: Application,
) -> None:
    async def story() -> None:
        registry = models.Registry(application.get_all_models)
        await registry.get_all_models(SimpleNamespace(app=application))
        await registry.hold(application)
        assert application.builds == 1
        application.commit("2", {"m1": "second"})
        await registry.hold(application)
        assert application.state.MODELS == {"m1": "second"} and application.builds == 2
        # The application puts another there, as it does when settings are saved.
        application.state.MODELS = {"m0": "old"}
        await registry.hold(application)
        assert application.state.MODELS == {"m1": "second"}

    asyncio.run(story())


def test_a_build_that_began_earlier_never_replaces_one_that_began_later(application: Application) -> None:
    async def story() -> None:
        registry = models.Registry(application.get_all_models)
        slow, application.may_end = application.may_end, asyncio.Event()
        held = application.may_end
        overtaken = asyncio.create_task(registry.get_all_models(SimpleNamespace(app=application)))
        while application.builds == 0:
            await asyncio.sleep(0)
        application.may_end = slow
        application.commit("2", {"m1": "second"})
        await registry.get_all_models(SimpleNamespace(app=application))
        held.set()
        assert await overtaken == ["m0"]
        assert application.state.MODELS == {"m1": "second"}
        await registry.hold(application)
        assert application.builds == 2

    asyncio.run(story())


def test_a_list_of_nothing_and_a_version_that_is_not_told_are_not_believed(application: Application) -> None:
    async def story() -> None:
        registry = models.Registry(application.get_all_models)
        await registry.get_all_models(SimpleNamespace(app=application))
        application.commit("2", {})
        await registry.hold(application)
        assert application.state.MODELS == {}
        application.version, application.rows = None, {"m0": "first"}
        await registry.get_all_models(SimpleNamespace(app=application))
        for builds in (4, 5):
            await registry.hold(application)
            assert application.builds == builds

    asyncio.run(story())


@pytest.mark.parametrize(
    ("chosen", "followed"),
    [("", True), ("models,tools", True), ("sockets", False), ("none", False), ("tools, models", True)],
)
def test_the_environment_says_what_is_followed(monkeypatch: pytest.MonkeyPatch, chosen: str, followed: bool) -> None:
    monkeypatch.setenv("NEVERSTALE_OPENWEBUI_FOLLOW", chosen)
    assert follows("models") is followed
