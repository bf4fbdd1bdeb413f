"""Loaded tools of releases before 0.10, which load a tool's code once and keep it.

The application reads the tool's row at each use, just before it looks for the loaded module; so when a row comes with
other code than the last time, the module is dropped, and the application loads it again. Later releases compare the
code themselves.
"""

from __future__ import annotations

import logging
import sys
from types import ModuleType
from typing import Any

from neverstale.openwebui.follow import TOOLS, follows
from neverstale.openwebui.recognise import fingerprint

log = logging.getLogger("neverstale.openwebui")

KNOWN = frozenset({"cc0979343ca2e063"})
"""`ToolsTable.get_tool_by_id` of 0.6.43."""


def take(module: ModuleType) -> None:
    """Takes `open_webui.models.tools`."""
    theirs = module.Tools.get_tool_by_id
    own = type(module.Tools).get_tool_by_id
    if not follows(TOOLS) or fingerprint(own) not in KNOWN:
        return
    codes: dict[str, str] = {}

    def get_tool_by_id(id: str, *arguments: Any, **named: Any) -> Any:
        tool = theirs(id, *arguments, **named)
        code = None if tool is None else tool.content
        if codes.get(id) != code:
            if code is None:
                codes.pop(id, None)
            else:
                codes[id] = code
            _drop(id)
        return tool

    module.Tools.get_tool_by_id = get_tool_by_id


def _drop(id: str) -> None:
    main = sys.modules.get("open_webui.main")
    if main is not None and hasattr(main, "app"):
        getattr(main.app.state, "TOOLS", {}).pop(id, None)
