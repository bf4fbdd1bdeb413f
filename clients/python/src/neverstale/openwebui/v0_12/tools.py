"""Takes over `Tools.get_tool_by_id`: a tool with its code and its grants."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.snapshot import path, told
from neverstale.openwebui.transactions import is_within_another
from neverstale.openwebui.v0_12.texts import decoded

KNOWN = {
    # 0.12.4
    "get_tool_by_id": frozenset({"6930496b4b4eb504"}),
    "_to_tool_model": frozenset({"6417b2236181fcdf"}),
    "_get_access_grants": frozenset({"0786bbb3bd4dc1dd"}),
}


def take(module: ModuleType) -> None:
    """Takes the function over if it is known."""
    tools: Any = recognised(module, "Tools", KNOWN)
    if tools is not None:
        tools.get_tool_by_id = _Tools(tools, module).get_tool_by_id


class _Tools:
    def __init__(self, tools: Any, module: Any) -> None:
        self._get_tool_by_id: Callable[..., Awaitable[Any]] = tools.get_tool_by_id
        tool_type, grant_type = module.ToolModel, module.AccessGrantModel

        def tool(body: Any) -> Any:
            if body is None:
                return None
            grants = body["access_grants"]
            row = {**body, "specs": decoded(body["specs"]), "meta": decoded(body["meta"])}
            del row["access_grants"]
            made = tool_type.model_validate(row)
            made.access_grants = [grant_type.model_validate(grant) for grant in grants]
            return made

        self._tool = tool

    async def get_tool_by_id(self, id: str, db: Any = None) -> Any:
        if not is_within_another(db):
            tool = await told(self._tool, path("app-tool", id))
            if tool is not UNTOLD:
                return tool
        return await self._get_tool_by_id(id, db)
