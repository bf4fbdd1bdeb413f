"""Takes over `Users.update_user_settings_by_id`: a user's settings, one document in the user's row.

The application reads the document and writes it back whole, so of two tabs, or replicas, that save at once one erases the other's.
Here each of its members is saved by itself; of `ui`, as in the application, only the fields that are named, and null takes one away.
"""

from __future__ import annotations

from typing import Any

from neverstale.openwebui import edits, saves
from neverstale.openwebui.documents import ABSENT
from neverstale.openwebui.entries import UNTOLD
from neverstale.openwebui.recognise import recognised
from neverstale.openwebui.transactions import is_within_another

KNOWN = {
    # 0.12.4
    "update_user_settings_by_id": frozenset({"0c6f942e46d21f3c"}),
}


def take(module: Any) -> None:
    """Takes the function over if it is known."""
    users: Any = recognised(module, "Users", KNOWN)
    if users is not None:
        users.update_user_settings_by_id = _Settings(module).update


class _Settings:
    def __init__(self, module: Any) -> None:
        self._module = module

    async def update(self, id: str, updated: dict[str, Any], db: Any = None) -> Any:
        changes = edits.of_members(id, updated, {"ui": _fields})
        user = await self._save(id, changes, db)
        edits.saved_members(id, {name: value for name, value in updated.items() if name != "ui"})
        return user

    async def _save(self, id: str, changes: dict[str, edits.Change], db: Any) -> Any:
        if changes and not is_within_another(db) and saves.are_paths(id, changes):
            for name in list(changes):
                if await saves.saves().save(saves.user_setting(id, name), changes[name]) is UNTOLD:
                    break
                del changes[name]
            if not changes:
                return await self._module.Users.get_user_by_id(id)
        return await self._locked(id, changes, db)

    async def _locked(self, id: str, changes: dict[str, edits.Change], db: Any) -> Any:
        module = self._module
        async with module.get_async_db_context(db) as session:
            user = await session.get(module.User, id, with_for_update=True, populate_existing=True)
            if not user:
                return None
            settings = dict(user.settings or {})
            for name, change in changes.items():
                settings[name] = change(settings.get(name, ABSENT))
            user.settings = settings
            await session.commit()
            return module.UserModel.model_validate(user)


def _fields(fields: dict[str, Any]) -> edits.Change:
    """As the application changes `ui`."""

    def change(now: Any) -> Any:
        ui = {} if now is ABSENT else dict(now or {})
        for name, value in fields.items():
            if value is None:
                ui.pop(name, None)
            else:
                ui[name] = value
        return ui

    return change
