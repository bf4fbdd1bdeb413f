"""Takes over `Functions.get_active_function_ids_by_type`: which filters, pipes and actions are on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale import reads
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.sidecar import Sidecar, sidecar
from neverstale.openwebui.transactions import is_within_another

KNOWN = {
    # 0.12.4
    "get_active_function_ids_by_type": frozenset({"21a247f1e0a4791d"}),
}


def take(module: ModuleType) -> None:
    """Takes the function over if it is known."""
    functions: Any = recognised(module, "Functions", KNOWN)
    if functions is not None:
        functions.get_active_function_ids_by_type = _Functions(functions, sidecar()).get_active_function_ids_by_type


class _Functions:
    def __init__(self, functions: Any, sidecar: Sidecar) -> None:
        self._get_active: Callable[..., Awaitable[list[tuple[str, bool]]]] = functions.get_active_function_ids_by_type
        self._sidecar = sidecar

    async def get_active_function_ids_by_type(self, type: str, db: Any = None) -> list[tuple[str, bool]]:
        # `all` means something else to the view.
        if type and type != "all" and not is_within_another(db):
            told = await self._sidecar.value(reads.view("functions", type))
            if told is not None:
                return [(one["id"], bool(one["is_global"])) for one in told["functions"] if one["is_active"]]
        return await self._get_active(type, db=db)
