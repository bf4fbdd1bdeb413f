"""Takes over the reads of `Functions`: pipes, filters and actions, their code, and their valves."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.snapshot import path, seen, told, told_each
from neverstale.openwebui.transactions import is_within_another
from neverstale.openwebui.v0_12.texts import decoded

KNOWN = {
    # 0.12.4
    "get_function_by_id": frozenset({"c2f954f302a65b64"}),
    "get_functions_by_ids": frozenset({"cc59ca86ab2cf298"}),
    "get_functions_by_type": frozenset({"1b05e0c70736fcc3"}),
    "get_global_filter_functions": frozenset({"42a5a5248d3915e9"}),
    "get_global_action_functions": frozenset({"4b6eedbb14bbe984"}),
    "get_active_function_ids_by_type": frozenset({"21a247f1e0a4791d"}),
    "get_function_valves_by_id": frozenset({"7226508aefd48ff9"}),
    "get_function_valves_by_ids": frozenset({"53cbe8efbfa4874e"}),
}


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    functions: Any = recognised(module, "Functions", KNOWN)
    if functions is None:
        return
    ours = _Functions(functions, module)
    for name in KNOWN:
        setattr(functions, name, getattr(ours, name))


class _Functions:
    def __init__(self, functions: Any, module: Any) -> None:
        self._own: dict[str, Callable[..., Awaitable[Any]]] = {name: getattr(functions, name) for name in KNOWN}
        model, decrypt = module.FunctionModel, module.decrypt_valves

        def function(body: Any) -> Any:
            return None if body is None else model.model_validate({**body, "meta": decoded(body["meta"])})

        def every(body: Any) -> list[Any]:
            return [function(one) for one in body["functions"]]

        def active(body: Any) -> list[Any]:
            return [function(one) for one in body["functions"] if one["is_active"]]

        def active_and_global(body: Any) -> list[Any]:
            return [function(one) for one in body["functions"] if one["is_active"] and one["is_global"]]

        def valves(body: Any) -> Any:
            return decrypt(None if body is None else decoded(body["valves"]))

        self._function, self._valves = function, valves
        self._every, self._active, self._active_and_global = every, active, active_and_global

    async def get_function_by_id(self, id: str, db: Any = None) -> Any:
        if not is_within_another(db):
            function = await told(self._function, path("app-function", id))
            if function is not UNTOLD:
                return function
        return await self._own["get_function_by_id"](id, db)

    async def get_functions_by_ids(self, ids: list[str], db: Any = None) -> list[Any]:
        if ids and not is_within_another(db):
            distinct = list(dict.fromkeys(ids))
            functions = await told_each(self._function, [path("app-function", id) for id in distinct])
            if functions is not None:
                by_id = dict(zip(distinct, functions, strict=True))
                return [by_id[id] for id in ids if by_id[id] is not None]
        return await self._own["get_functions_by_ids"](ids, db)  # type: ignore[no-any-return]

    async def get_functions_by_type(self, type: str, active_only: bool = False, db: Any = None) -> list[Any]:
        if not is_within_another(db):
            functions = await told(self._active if active_only else self._every, path("app-functions", type))
            if functions is not UNTOLD:
                return functions  # type: ignore[no-any-return]
        return await self._own["get_functions_by_type"](type, active_only, db)  # type: ignore[no-any-return]

    async def get_global_filter_functions(self, db: Any = None) -> list[Any]:
        return await self._global("get_global_filter_functions", "filter", db)

    async def get_global_action_functions(self, db: Any = None) -> list[Any]:
        return await self._global("get_global_action_functions", "action", db)

    async def get_active_function_ids_by_type(self, type: str, db: Any = None) -> list[tuple[str, bool]]:
        if not is_within_another(db):
            ids = await seen(_active_ids, path("app-functions", type))
            if ids is not UNTOLD:
                return list(ids)
        return await self._own["get_active_function_ids_by_type"](type, db=db)  # type: ignore[no-any-return]

    async def get_function_valves_by_id(self, id: str, db: Any = None) -> Any:
        if not is_within_another(db):
            valves = await told(self._valves, path("app-function", id))
            if valves is not UNTOLD:
                return valves
        return await self._own["get_function_valves_by_id"](id, db)

    async def get_function_valves_by_ids(self, ids: list[str], db: Any = None) -> dict[str, Any]:
        if ids and not is_within_another(db):
            distinct = list(dict.fromkeys(ids))
            paths = [path("app-function", id) for id in distinct]
            there = await told_each(_is_there, paths)
            valves = await told_each(self._valves, paths)
            if there is not None and valves is not None:
                return {id: one for id, is_there, one in zip(distinct, there, valves, strict=True) if is_there}
        return await self._own["get_function_valves_by_ids"](ids, db)  # type: ignore[no-any-return]

    async def _global(self, name: str, type: str, db: Any) -> list[Any]:
        if not is_within_another(db):
            functions = await told(self._active_and_global, path("app-functions", type))
            if functions is not UNTOLD:
                return functions  # type: ignore[no-any-return]
        return await self._own[name](db)  # type: ignore[no-any-return]


def _active_ids(body: Any) -> list[tuple[str, bool]]:
    return [(one["id"], bool(one["is_global"])) for one in body["functions"] if one["is_active"]]


def _is_there(body: Any) -> bool:
    return body is not None
