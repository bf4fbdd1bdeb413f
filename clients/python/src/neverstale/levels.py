"""How fresh an answer has to be: the words of `Neverstale-Consistency`."""

from __future__ import annotations

import re
from typing import NewType

Level = NewType("Level", str)
"""A level of consistency, as it goes into the header."""

FULLY_CONSISTENT = Level("fully-consistent")
"""Every commit that anybody could have known of when the read began; what is asked for when nothing is said."""

FULLY_CONSISTENT_OR_BOUNDED = Level("fully-consistent; fallback=minimize-latency")
"""The same, or rather seconds behind than refused while the database is away."""

MINIMIZE_LATENCY = Level("minimize-latency")
"""A state within the sidecar's staleness bound."""

_TOKEN = re.compile(r"[!-~]{1,200}")


def at_least_as_fresh(token: str) -> Level:
    """At least the state that a token names, exactly as an answer's `position` gave it."""
    if not _TOKEN.fullmatch(token):
        raise ValueError("this is no position: send it exactly as an answer gave it")
    return Level(f"at-least-as-fresh={token}")
