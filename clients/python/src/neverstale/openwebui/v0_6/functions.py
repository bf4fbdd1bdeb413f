"""Takes over the reads of `Functions`: pipes, filters and actions with their code, and their valves."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import path, told_now

KNOWN = {
    # 0.6.43
    "get_function_by_id": frozenset({"df0a3257b2bc538a"}),
    "get_functions_by_type": frozenset({"16dd5af09688f212"}),
    "get_global_filter_functions": frozenset({"0c369e220593814c"}),
    "get_global_action_functions": frozenset({"94d6b582d062854f"}),
    "get_function_valves_by_id": frozenset({"c214d84e32407ac2"}),
}
TYPES = {"FunctionModel": frozenset({"1cf6d5b9526135e9"}), "FunctionMeta": frozenset({"01c5ea9ecc207aae"})}


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known."""
    functions: Any = recognised(module, "Functions", KNOWN)
    if functions is None or not is_known(module, TYPES):
        return
    ours = _Functions(functions, module.FunctionModel)
    for name in KNOWN:
        setattr(functions, name, getattr(ours, name))


class _Functions:
    def __init__(self, functions: Any, model: Any) -> None:
        self._by_id: Callable[[str], Any] = functions.get_function_by_id
        self._by_type: Callable[..., list[Any]] = functions.get_functions_by_type
        self._global_filters: Callable[[], list[Any]] = functions.get_global_filter_functions
        self._global_actions: Callable[[], list[Any]] = functions.get_global_action_functions
        self._valves_by_id: Callable[[str], Any] = functions.get_function_valves_by_id

        def one(body: Any) -> Any:
            return None if body is None else model.model_validate(body)

        def every(body: Any) -> list[Any]:
            return [model.model_validate(row) for row in body["functions"]]

        def active(body: Any) -> list[Any]:
            return [model.model_validate(row) for row in body["functions"] if row["is_active"]]

        def everywhere(body: Any) -> list[Any]:
            return [model.model_validate(row) for row in body["functions"] if row["is_active"] and row["is_global"]]

        self._one, self._every, self._active, self._everywhere = one, every, active, everywhere

    def get_function_by_id(self, id: str) -> Any:
        found = told_now(self._one, path("app-function", id))
        return self._by_id(id) if found is UNTOLD else found

    def get_functions_by_type(self, type: str, active_only: bool = False) -> Any:
        found = told_now(self._active if active_only else self._every, path("app-functions", type))
        return self._by_type(type, active_only) if found is UNTOLD else found

    def get_global_filter_functions(self) -> Any:
        found = told_now(self._everywhere, path("app-functions", "filter"))
        return self._global_filters() if found is UNTOLD else found

    def get_global_action_functions(self) -> Any:
        found = told_now(self._everywhere, path("app-functions", "action"))
        return self._global_actions() if found is UNTOLD else found

    def get_function_valves_by_id(self, id: str) -> Any:
        found = told_now(_valves, path("app-function-valves", id))
        return self._valves_by_id(id) if found is UNTOLD else found


def _valves(body: Any) -> Any:
    # Where there is no such function the application says so in its log.
    return UNTOLD if body is None else body["valves"] or {}
