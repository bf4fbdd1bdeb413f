"""`python -m neverstale.openwebui -m uvicorn open_webui.main:app …`: runs a module or a script with the application attached."""

from __future__ import annotations

import os
import runpy
import sys

from neverstale.openwebui.hook import attach

USAGE = "usage: python -m neverstale.openwebui (-m MODULE | SCRIPT) [ARGUMENT …]"


def main() -> None:
    words = sys.argv[1:]
    is_module = words[:1] == ["-m"]
    if is_module:
        words = words[1:]
    if not words:
        sys.exit(USAGE)
    attach()
    sys.argv = words
    if is_module:
        runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    else:
        # Where Python itself looks for what a script imports.
        sys.path[0] = os.path.dirname(os.path.abspath(words[0]))
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main()
