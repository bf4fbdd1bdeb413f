"""Takes over `Users.update_user_settings_by_id`: a user's settings, one document in the user's row.

The application reads the document and writes it back whole, so of two tabs, or replicas, that save at once one erases the other's.
Here each of its members is saved by itself, and of one that the request has read only what it changes.
"""

from __future__ import annotations

from typing import Any

from neverstale.openwebui import edits, saves
from neverstale.openwebui.documents import ABSENT, fresh
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised

KNOWN = {
    # 0.6.43
    "update_user_settings_by_id": frozenset({"e6d981fee6d8225c"}),
}


def take(module: Any) -> None:
    """Takes the function over if it is known."""
    users: Any = recognised(module, "Users", KNOWN)
    if users is not None:
        users.update_user_settings_by_id = _Settings(module).update


class _Settings:
    def __init__(self, module: Any) -> None:
        self._module = module

    def update(self, id: str, updated: dict[str, Any]) -> Any:
        changes = edits.of_members(id, updated)
        user = self._save(id, changes)
        edits.saved_members(id, updated)
        return user

    def _save(self, id: str, changes: dict[str, edits.Change]) -> Any:
        if changes and saves.are_paths(id, changes):
            for name in list(changes):
                if saves.saves().save_now(saves.user_setting(id, name), changes[name]) is UNTOLD:
                    break
                del changes[name]
            if not changes:
                return self._module.Users.get_user_by_id(id)
        return self._locked(id, changes)

    def _locked(self, id: str, changes: dict[str, edits.Change]) -> Any:
        module = self._module
        with module.get_db() as db:
            user = db.query(module.User).filter_by(id=id).with_for_update().first()
            if user is None:
                return None
            settings = fresh(user.settings or {})
            for name, change in changes.items():
                settings[name] = change(settings.get(name, ABSENT))
            user.settings = settings
            db.commit()
            return module.UserModel.model_validate(user)
