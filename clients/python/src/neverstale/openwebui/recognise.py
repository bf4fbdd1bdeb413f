"""Tells whether a function of the application is one that we have read.

By its source text: a function that does a little more than it did, or takes one argument more, is another function.
"""

from __future__ import annotations

import hashlib
import inspect
import logging
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

log = logging.getLogger("neverstale.openwebui")


def recognised(module: ModuleType, owner: str, known: Mapping[str, frozenset[str]]) -> Any | None:
    """Gives the object `owner` of the module if all its functions in `known` are as they were read; else says so, once."""
    found = getattr(module, owner, None)
    return found if _are_known(found, f"{owner}.", module, known) else None


def is_known(module: ModuleType, known: Mapping[str, frozenset[str]]) -> bool:
    """Whether all functions of the module itself in `known` are as they were read; else says so, once."""
    return _are_known(module, "", module, known)


def _are_known(owner: object, prefix: str, module: ModuleType, known: Mapping[str, frozenset[str]]) -> bool:
    unknown = [name for name, prints in known.items() if fingerprint(getattr(owner, name, None)) not in prints]
    if unknown:
        names = ", ".join(f"{prefix}{name}" for name in unknown)
        log.warning("%s: %s not as in a release that is known; left to the application", module.__name__, names)
    return not unknown


def fingerprint(function: Callable[..., Any] | None) -> str | None:
    """Names the source text of a function or a class; none where there is none."""
    if function is None:
        return None
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):
        return None
    # Another indentation is the same text.
    return hashlib.sha256(inspect.cleandoc(source).encode()).hexdigest()[:16]
