"""Takes over the settings: those of a user, inherited from the admins of the groups, and the global ones.

A user's setting is looked for in the documents that the application looks in, in the same order and by the same rule: the first
value that is not the default. The sidecar gives the documents of one state; what is equal is decided here, in Python, as there.
Whoever saves changes nothing of the document but the path, and of a global path that its request has read only what it changes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from neverstale.openwebui import edits
from neverstale.openwebui.documents import ABSENT, at, fresh, write
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.saves import config, saves, user_setting
from neverstale.openwebui.snapshot import path, seen_now

KNOWN = {
    "get": frozenset({"ef6890658075df8e"}),
    "_get_for_user_direct": frozenset({"2fc04979d652ade5"}),
    "set": frozenset({"d3b880db2cef1ab0"}),
}
APP_CONFIG = {
    "__getattr__": frozenset({"8da0a19f46d25375"}),
    "__setattr__": frozenset({"a033598361fa9982"}),
}
OTHERS = {
    "PersistentConfig": frozenset({"4695e8a3f2851f90"}),
    "Config": frozenset({"e13de062e7b0d0e2"}),
    "get_config": frozenset({"65c7635135f27a8b"}),
    "get_config_value": frozenset({"9fe2d001a24289d8"}),
    "save_config": frozenset({"dd826e8e32b66a8d"}),
    "save_to_db": frozenset({"87a012fd4e31fbcc"}),
}
DOCUMENT_PATH = "/v1/app/config"


def take(module: Any) -> None:
    """Takes reads and saves over if they are known."""
    scoped: Any = recognised(module, "UserScopedConfig", KNOWN)
    if scoped is not None:
        _take_scoped(module, scoped)
    app_config: Any = recognised(module, "AppConfig", APP_CONFIG)
    if app_config is not None and is_known(module, OTHERS):
        _take_global(module, app_config)


def _take_scoped(module: Any, scoped: Any) -> None:
    own: Callable[[Any, str], Any] = scoped.get

    @wraps(own)
    def get(self: Any, email: str) -> Any:
        documents = seen_now(_documents, path("app-scoped-config", email))
        if documents is UNTOLD:
            return own(self, email)
        place = self.config_path.split(".")
        for document in documents:
            value = at(document, place)
            if value is not ABSENT and value != self.default:
                return fresh(value)
        return self.default

    def set(self: Any, email: str, value: Any) -> None:
        row_type, user = module.Config, module.Users.get_user_by_email(email)

        def change(now: Any) -> Any:
            return value

        place = None if user is None else user_setting(user.id, self.config_path)
        if place is None or saves().save_now(place, change) is UNTOLD:
            with module.get_db() as db:
                rows = db.query(row_type).filter_by(email=email).order_by(row_type.id)
                write(db, rows, lambda: row_type(email=email, data={}), self.config_path.split("."), change)
        _invalidate(module, self, email)

    scoped.get, scoped.set = get, set


def _invalidate(module: Any, item: Any, email: str) -> None:
    """What the application does for replicas that still go by its cache."""
    from open_webui.utils.cache import get_cache_manager

    user = module.Users.get_user_by_email(email)
    if user is not None:
        cache = get_cache_manager()
        cache.invalidate_user_settings(user.id, item.config_path)
        for group in module.Groups.get_groups(email):
            cache.invalidate_group_admin_config(group.id, item.config_path)
            cache.invalidate_group_member_users(group.id)


def _take_global(module: Any, app_config: Any) -> None:
    own: Callable[[Any, str], Any] = app_config.__getattr__

    def __getattr__(self: Any, key: str) -> Any:
        item = self._state.get(key)
        if not isinstance(item, module.PersistentConfig):
            return own(self, key)
        document = seen_now(_data, DOCUMENT_PATH)
        if document is UNTOLD:
            document = module.get_config()
        value = at(document, item.config_path.split("."))
        if value is ABSENT:
            return fresh(item.env_value)
        edits.given(item.config_path, value)
        return fresh(value)

    def save(self: Any) -> None:
        row_type, email = module.Config, module.GLOBAL_CONFIG_EMAIL

        def new_row() -> Any:
            return row_type(email=email, data=module.get_config(), version=0)

        change, written = edits.change(edits.base(self.config_path), self.value), fresh(self.value)
        if change is not None:
            value = saves().save_now(config(self.config_path), change)
            if value is UNTOLD:
                with module.get_db() as db:
                    rows = db.query(row_type).filter_by(email=email).order_by(row_type.id)
                    module.CONFIG_DATA = write(db, rows, new_row, self.config_path.split("."), change)
                value = at(module.CONFIG_DATA, self.config_path.split("."))
            # Also with what others have saved: the application hands it on by Redis.
            self.value = fresh(value)
        edits.saved(self.config_path, written)
        self.config_value = self.value

    app_config.__getattr__ = __getattr__
    module.PersistentConfig.save = save


def _documents(body: Any) -> Any:
    return body["documents"]


def _data(body: Any) -> Any:
    return body["data"]
