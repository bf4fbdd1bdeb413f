"""Takes over what the judgement of each session token (JWT) reads of `auth`.

The row holds the password hash and the secret of MFA, which never leave Postgres. Within `is_valid_token`, and only there, the
application looks at nothing but whether the account is active, the session stamp, and whether MFA is set up; there
`Auths.get_auth_by_id` gives a row with that, and with nothing where the secrets are. Everybody else gets the real one, from Postgres.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from functools import wraps
from types import ModuleType
from typing import Any

from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.snapshot import path, told

KNOWN = {
    # 0.12.4
    "get_auth_by_id": frozenset({"8ad550223ca9d567"}),
}
JUDGES = {
    # 0.12.4, in `open_webui.utils.auth`
    "is_valid_token": frozenset({"35b22c5c80590e30"}),
}
READS = {
    # 0.12.4, in `open_webui.utils.mfa`: what the judge asks.
    "get_auth": frozenset({"c78ba9648d17f44c"}),
    "is_mfa_required": frozenset({"02b86af6bc121c99"}),
}

_is_judging: ContextVar[bool] = ContextVar("neverstale_is_judging", default=False)
_is_asked_as_known = False


def take(module: ModuleType) -> None:
    """Takes the functions over if they are known: the row's of `models.auths`, and the judge of `utils.auth`."""
    global _is_asked_as_known
    if module.__name__.endswith(".models.auths"):
        auths: Any = recognised(module, "Auths", KNOWN)
        if auths is not None:
            auths.get_auth_by_id = _Auths(auths, module).get_auth_by_id
    elif module.__name__.endswith(".utils.mfa"):
        _is_asked_as_known = is_known(module, READS)
    elif is_known(module, JUDGES):
        module.is_valid_token = _judge(module.is_valid_token)  # type: ignore[attr-defined]


class _Auths:
    def __init__(self, auths: Any, module: Any) -> None:
        self._get_auth_by_id: Callable[..., Awaitable[Any]] = auths.get_auth_by_id

        def judged(body: Any) -> Any:
            if body is None:
                return None
            mfa = body["mfa"]
            if mfa is not None:
                mfa = module.MfaData(secret="-" if mfa["secret"] else None, reset_required=mfa["reset_required"])
            return module.AuthModel(
                id=body["id"],
                email="",
                password="",
                active=body["active"],
                mfa=mfa,
                session_stamp=body["session_stamp"],
            )

        self._judged = judged

    async def get_auth_by_id(self, user_id: str, db: Any = None) -> Any:
        if db is None and _is_asked_as_known and _is_judging.get():
            auth = await told(self._judged, path("app-session", user_id))
            if auth is not UNTOLD:
                return auth
        return await self._get_auth_by_id(user_id, db)


def _judge(is_valid_token: Callable[..., Awaitable[bool]]) -> Callable[..., Awaitable[bool]]:
    @wraps(is_valid_token)
    async def judge(decoded: Any, redis: Any = None) -> bool:
        token = _is_judging.set(True)
        try:
            return await is_valid_token(decoded, redis)
        finally:
            _is_judging.reset(token)

    return judge
