"""Takes over the settings: each read of an `AppConfig` is what the database says now, and each save writes one path.

The application reads its one JSON document when it starts, and Redis at each use; a value that somebody else wrote to the database
is never seen, and is overwritten by the next save, which writes the whole document of this process. Here a setting is its path in
the document, or the process's default where the document has none. A save changes nothing of the document but the path, and of a path
that its request has read only what it changes (`edits`).

Left as they are: what does not come from the database (`ENABLE_PERSISTENT_CONFIG=false`, the `oauth.` settings unless they are
persistent), the import of a whole document, and Redis, which other replicas may still read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from neverstale.openwebui import edits
from neverstale.openwebui.documents import ABSENT, at, fresh, write
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import is_known, recognised
from neverstale.openwebui.saves import config, saves
from neverstale.openwebui.snapshot import seen_now

KNOWN = {
    # 0.6.43
    "__getattr__": frozenset({"f9c21181ad40d8c9"}),
    "__setattr__": frozenset({"c11c9890523a29ed"}),
}
OTHERS = {
    "PersistentConfig": frozenset({"a5e73f83d3946546"}),
    "Config": frozenset({"3a4c38cc8a3470dd"}),
    "get_config": frozenset({"a40a4149d11974db"}),
    "get_config_value": frozenset({"9fe2d001a24289d8"}),
    "save_config": frozenset({"dd826e8e32b66a8d"}),
}
DOCUMENT_PATH = "/v1/app/config"


def take(module: Any) -> None:
    """Takes reads and saves over if they are known."""
    app_config: Any = recognised(module, "AppConfig", KNOWN)
    if app_config is None or not is_known(module, OTHERS):
        return
    own: Callable[[Any, str], Any] = app_config.__getattr__
    # The path of each setting, in parts; of a few hundred that live as long as the process.
    paths: dict[Any, list[str]] = {}

    def path_of(item: Any) -> list[str]:
        path = paths.get(item)
        if path is None:
            path = paths[item] = item.config_path.split(".")
        return path

    def __getattr__(self: Any, key: str) -> Any:
        item = self._state.get(key)
        if item is None or not module.ENABLE_PERSISTENT_CONFIG:
            return own(self, key)
        path = path_of(item)
        if path[0] == "oauth" and not module.ENABLE_OAUTH_PERSISTENT_CONFIG:
            return own(self, key)
        document = seen_now(_data, DOCUMENT_PATH)
        if document is UNTOLD:
            document = module.get_config()
        value = at(document, path)
        if value is ABSENT:
            return fresh(item.env_value)
        edits.given(item.config_path, value)
        return fresh(value)

    def save(self: Any) -> None:
        row_type = module.Config

        def new_row() -> Any:
            return row_type(data=module.DEFAULT_CONFIG, version=0)

        change, written = edits.change(edits.base(self.config_path), self.value), fresh(self.value)
        if change is not None:
            value = saves().save_now(config(self.config_path), change)
            if value is UNTOLD:
                with module.get_db() as db:
                    rows = db.query(row_type).order_by(row_type.id.desc())
                    module.CONFIG_DATA = write(db, rows, new_row, path_of(self), change)
                value = at(module.CONFIG_DATA, path_of(self))
            # Also with what others have saved: the application hands it on by Redis.
            self.value = fresh(value)
        edits.saved(self.config_path, written)
        self.config_value = self.value

    app_config.__getattr__ = __getattr__
    module.PersistentConfig.save = save


def _data(body: Any) -> Any:
    return body["data"]
