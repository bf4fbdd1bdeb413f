"""What follows the database, without the application: the list of models against builds that overtake each other, base models that
are kept, the reranking function, and the environment."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from neverstale.openwebui.follow import base_models, follows, models, reranking


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


class Provider:
    """Has base models, and counts who asks."""

    def __init__(self) -> None:
        self.asked = 0
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def get_all_base_models(self, request: Any, user: Any = None) -> list[int]:
        self.asked += 1
        answer, may_answer = [self.asked], self.may_answer
        await may_answer.wait()
        return answer


def _old_application(is_kept: bool) -> Any:
    """As 0.6, where settings are attributes."""
    state = SimpleNamespace(
        config=SimpleNamespace(ENABLE_BASE_MODELS_CACHE=is_kept), BASE_MODELS=["the application's own"]
    )
    return SimpleNamespace(state=state)


@pytest.mark.parametrize("is_kept", [True, False])
def test_base_models_are_kept_until_what_they_were_built_from_changes(is_kept: bool) -> None:
    async def story() -> None:
        provider, app = Provider(), _old_application(is_kept)
        kept = base_models._BaseModels(provider.get_all_base_models)

        async def build(version: str | None, *, is_new: bool = False) -> list[int]:
            with base_models.building(app, version, is_new=is_new):
                # The application does not find its own copy.
                assert app.state.BASE_MODELS == []
                return await kept.get(None)

        assert await build("1") == [1] and await build("1") == ([1] if is_kept else [2])
        asked = provider.asked
        assert await build("2") == [asked + 1]
        # Whoever wants new ones gets them, and then all do.
        assert await build("2", is_new=True) == [asked + 2]
        assert await build("2") == ([asked + 2] if is_kept else [asked + 3])
        # What is not told is not believed, and nothing is kept outside of a build.
        asked = provider.asked
        assert await build(None) == [asked + 1] and await build(None) == [asked + 2]
        assert await kept.get(None) == [asked + 3]

    asyncio.run(story())


def test_new_base_models_that_were_asked_for_on_one_replica_come_on_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "open_webui", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "open_webui.env", SimpleNamespace(REDIS_KEY_PREFIX="app"))

    class Redis:
        """Keeps one text. (It stands for no store: what is proven is who asks it, and when.)"""

        text: bytes | None = None
        is_away = False

        async def set(self, key: str, text: str) -> None:
            self.text = text.encode()

        async def get(self, key: str) -> bytes | None:
            if self.is_away:
                raise ConnectionError
            return self.text

    async def story() -> None:
        redis, provider, app = Redis(), Provider(), _old_application(True)
        app.state.redis = redis
        a, b = (base_models._BaseModels(provider.get_all_base_models) for _ in range(2))

        async def build(replica: base_models._BaseModels, *, is_new: bool = False) -> list[int]:
            with base_models.building(app, "1", is_new=is_new):
                return await replica.get(None)

        assert await build(a) == [1] and await build(b) == [2] and await build(b) == [2]
        assert await build(a, is_new=True) == [3]
        assert await build(b) == [4] and await build(b) == [4] and await build(a) == [3]
        # What Redis forgets is asked for once more, and never taken for what it was.
        redis.text = None
        assert await build(a, is_new=True) == [5] and await build(b) == [6]
        redis.is_away = True
        assert await build(a) == [7] and await build(a) == [8]

    asyncio.run(story())


def test_base_models_of_a_slow_build_are_not_taken_for_newer_ones() -> None:
    async def story() -> None:
        provider, app = Provider(), _old_application(True)
        kept = base_models._BaseModels(provider.get_all_base_models)
        held = provider.may_answer = asyncio.Event()

        async def build(version: str) -> list[int]:
            with base_models.building(app, version, is_new=False):
                return await kept.get(None)

        slow = asyncio.create_task(build("1"))
        while not provider.asked:
            await asyncio.sleep(0)
        provider.may_answer = asyncio.Event()
        provider.may_answer.set()
        assert await build("2") == [2]
        held.set()
        assert await slow == [1]
        assert await build("2") == [3]

    asyncio.run(story())


def test_a_build_is_told_that_nothing_is_kept() -> None:
    """As 0.12, whose settings are asked for; elsewhere they are what they are."""

    class Config:
        other = "as it is"

        @staticmethod
        async def get_many(*keys: str) -> dict[str, Any]:
            return dict.fromkeys(keys, True)

    async def story() -> None:
        config, app = base_models._Config(Config), SimpleNamespace(state=SimpleNamespace(BASE_MODELS=["from before"]))
        key = "models.base_models_cache"
        assert await config.get_many(key, "a") == {key: True, "a": True} and config.other == "as it is"
        with base_models.building(app, "1", is_new=False):
            assert await config.get_many(key, "a") == {"a": True}
            # Where there are none any more the application would take these.
            assert app.state.BASE_MODELS == []

    asyncio.run(story())


class Searching:
    """An application that reranks what it finds."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.state = SimpleNamespace(rf=None, RERANKING_FUNCTION=None)
        self.settings: dict[str, Any] | None = dict.fromkeys(reranking._KEYS) | {"engine": "external", "model": "first"}
        self.loaded: list[str] = []
        utils = SimpleNamespace(get_reranking_function=self.get_reranking_function)
        monkeypatch.setitem(sys.modules, "open_webui", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "open_webui.retrieval", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "open_webui.retrieval.utils", utils)

        async def settings(app: Any) -> dict[str, Any] | None:
            return self.settings and dict(self.settings)

        monkeypatch.setattr(reranking, "_settings", settings)
        self.reranker = reranking.Reranker(self.get_rf)

    def get_rf(self, engine: str, model: str, *rest: Any) -> Any:
        self.loaded.append(model)
        if model == "broken":
            raise RuntimeError("no such model")
        return SimpleNamespace(name=model) if model else None

    @staticmethod
    def get_reranking_function(engine: str, model: str, reranking_function: Any) -> Any:
        return reranking_function and (lambda: reranking_function.name)

    def reranks_with(self) -> str | None:
        asyncio.run(self.reranker.hold(self))
        function = self.state.RERANKING_FUNCTION
        return None if function is None else str(function())


@pytest.fixture
def searching(monkeypatch: pytest.MonkeyPatch) -> Searching:
    return Searching(monkeypatch)


def test_the_reranking_function_is_made_anew_when_its_settings_have_changed(searching: Searching) -> None:
    # Made when the application started, from the same settings: the model is not loaded twice.
    searching.state.rf = searching.reranker.get_rf("external", "first", None, None, None)
    assert searching.reranks_with() == searching.reranks_with() == "first" and searching.loaded == ["first"]
    assert searching.settings is not None
    searching.settings["model"] = "second"
    assert searching.reranks_with() == "second"
    searching.settings["external_api_key"] = "sk-another"
    assert searching.reranks_with() == "second" and searching.loaded == ["first", "second", "second"]
    searching.settings["model"] = ""
    assert searching.reranks_with() is None


def test_a_reranking_function_that_the_application_itself_has_replaced_is_looked_at(searching: Searching) -> None:
    assert searching.reranks_with() == "first"
    # Of settings that it has not saved yet.
    searching.state.rf = searching.reranker.get_rf("external", "early", None, None, None)
    searching.state.RERANKING_FUNCTION = lambda: "early"
    assert searching.reranks_with() == "first"


def test_a_model_that_can_not_be_loaded_is_not_the_old_one_and_not_tried_for_each_request(searching: Searching) -> None:
    assert searching.reranks_with() == "first" and searching.settings is not None
    searching.settings["model"] = "broken"
    assert searching.reranks_with() is None and searching.reranks_with() is None
    assert searching.loaded == ["first", "broken"]
    # While nobody asks for it, it is left as it is.
    searching.settings = None
    assert searching.reranks_with() is None and searching.loaded == ["first", "broken"]
