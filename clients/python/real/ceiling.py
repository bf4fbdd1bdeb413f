"""The application with its hot reads answered from a dictionary that nothing ever invalidates: wrong on purpose, for
measuring only.

What a coherent answer can be compared with: no reading can be cheaper than none. Runs the application as `python -m`
would.

    python ceiling.py uvicorn open_webui.main:app …
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pickle
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

READS = {
    "access_grants.AccessGrants": (
        "has_access get_grants_by_resource get_grants_by_resources get_accessible_resource_ids"
    ),
    "auths.Auths": "get_auth_by_id",
    "config.Config": "get get_many",
    "functions.Functions": (
        "get_function_by_id get_functions_by_ids get_functions_by_type get_active_function_ids_by_type"
        " get_global_action_functions get_global_filter_functions get_function_valves_by_id get_function_valves_by_ids"
    ),
    "groups.Groups": "get_groups_by_member_id",
    "models.Models": "get_all_models get_model_by_id get_models_by_ids",
    "oauth_sessions.OAuthSessions": "get_sessions_by_user_id",
    "users.Users": "get_user_by_id get_user_by_api_key get_num_users has_users",
}
# Of 0.6, which writes at each request that somebody was there.
IDLE = ("users.Users", "update_last_active_by_id")

_remembered: dict[Any, bytes] = {}


def remembering(read: Callable[..., Any]) -> Callable[..., Any]:
    """Answers each question once, and then for ever the same, as a copy of the caller's own."""

    def key(arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        words = [one for one in arguments if type(one).__module__.split(".")[0] != "sqlalchemy"]
        return read, repr(words), repr(sorted((name, one) for name, one in named.items() if name != "db"))

    if inspect.iscoroutinefunction(read):

        @functools.wraps(read)
        async def remembered(*arguments: Any, **named: Any) -> Any:
            at = key(arguments, named)
            if at not in _remembered:
                _remembered[at] = pickle.dumps(await read(*arguments, **named))
            return pickle.loads(_remembered[at])

        return remembered

    @functools.wraps(read)
    def remembered_at_once(*arguments: Any, **named: Any) -> Any:
        at = key(arguments, named)
        if at not in _remembered:
            _remembered[at] = pickle.dumps(read(*arguments, **named))
        return pickle.loads(_remembered[at])

    return remembered_at_once


def take(owner: str, names: str) -> None:
    module, name = owner.split(".")
    try:
        found = getattr(importlib.import_module(f"open_webui.models.{module}"), name)
    except (ImportError, AttributeError):
        return
    for read in names.split():
        if hasattr(found, read):
            answer = remembering(getattr(found, read))
            # Singletons are shadowed, classes of static methods changed.
            setattr(found, read, staticmethod(answer) if inspect.isclass(found) else answer)


def main() -> None:
    for owner, names in READS.items():
        take(owner, names)
    users = importlib.import_module("open_webui.models.users").Users
    if not inspect.iscoroutinefunction(getattr(users, IDLE[1])):
        users.update_last_active_by_id = lambda id: None
    # What is asked for next is other than what was remembered.
    signal.signal(signal.SIGHUP, lambda *_: _remembered.clear())
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
