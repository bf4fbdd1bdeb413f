"""Prints every route of the application that runs this file, `METHOD path` a line, in the order in which it tries them.

Run by the interpreter of an environment with the real application: it imports the application, so settings and a
data directory must be in the environment. A mount is `MOUNT path`, a socket `WEBSOCKET path`. Knows nothing of rules.
"""

from __future__ import annotations

from collections.abc import Iterator


def routes() -> Iterator[str]:
    """The lines; of routes that are there twice the first."""
    from open_webui.main import app
    from starlette.routing import Mount

    for route in app.routes:
        path = getattr(route, "path", "") or "/"
        if isinstance(route, Mount):
            yield f"MOUNT {path}"
        elif methods := getattr(route, "methods", None):
            yield from (f"{method} {path}" for method in sorted(methods))
        else:
            yield f"WEBSOCKET {path}"


if __name__ == "__main__":
    print("\n".join(dict.fromkeys(routes())))
