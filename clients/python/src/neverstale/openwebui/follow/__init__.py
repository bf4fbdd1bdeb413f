"""What the application keeps in its processes for longer than a request follows the database: its list of models,
loaded tools, the embedding and the reranking function, live sockets.

Whatever a request rests on is judged when the request begins, or at the very use: "does what I hold still come from
the newest state?" is one read of the sidecar, and what does not hold is built anew before the application goes on. An
event is never enough for that, since it comes when it comes; the stream of events serves what has no request: sockets
that are open, and work in the background.

`NEVERSTALE_OPENWEBUI_FOLLOW` names what is followed, separated by commas; nothing named is everything, `none` is
nothing.
"""

from __future__ import annotations

import os

VARIABLE = "NEVERSTALE_OPENWEBUI_FOLLOW"
MODELS, TOOLS, EMBEDDING, RERANKING, SOCKETS = "models", "tools", "embedding", "reranking", "sockets"


def follows(what: str) -> bool:
    """Whether the environment wants it followed."""
    chosen = os.environ.get(VARIABLE, "").replace(" ", "")
    return not chosen or what in chosen.split(",")
