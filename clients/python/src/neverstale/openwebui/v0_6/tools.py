"""Takes over `Tools.get_tool_by_id`: a tool with its code."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import path, told_now

KNOWN = {
    # 0.6.43
    "get_tool_by_id": frozenset({"cc0979343ca2e063"}),
}
TYPES = {"ToolModel": frozenset({"468aea988cb12728"}), "ToolMeta": frozenset({"e6fed6f91f53bae4"})}


def take(module: ModuleType) -> None:
    """Takes the function over if it is known."""
    tools: Any = recognised(module, "Tools", KNOWN)
    if tools is None or not is_known(module, TYPES):
        return
    own, model = tools.get_tool_by_id, module.ToolModel

    def tool(body: Any) -> Any:
        return None if body is None else model.model_validate(body)

    def get_tool_by_id(id: str) -> Any:
        found = told_now(tool, path("app-tool", id))
        return own(id) if found is UNTOLD else found

    tools.get_tool_by_id = get_tool_by_id
