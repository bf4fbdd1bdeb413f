"""The stand-in's settings: one document for each admin, by e-mail address, and one for everybody."""

from __future__ import annotations

import copy
from datetime import datetime
from typing import Any

from open_webui.internal.db import Base, get_db
from open_webui.models.groups import Groups
from open_webui.models.users import Users
from sqlalchemy import JSON, Column, DateTime, Integer, String, func

GLOBAL_CONFIG_EMAIL = "system@default"
DEFAULT_CONFIG: dict[str, Any] = {"version": 0, "ui": {}}


class Config(Base):
    __tablename__ = "config"
    id = Column(Integer, primary_key=True)
    email = Column(String, nullable=False, default=GLOBAL_CONFIG_EMAIL)
    data = Column(JSON, nullable=False)
    version = Column(Integer, nullable=False, default=0)
    created_at = Column(DateTime, nullable=False, server_default=func.now())
    updated_at = Column(DateTime, nullable=True, onupdate=func.now())


def get_config() -> Any:
    with get_db() as db:
        row = db.query(Config).filter(Config.email == GLOBAL_CONFIG_EMAIL).first()
        row = row or db.query(Config).order_by(Config.id.desc()).first()
        return row.data if row else DEFAULT_CONFIG


def save_to_db(data: Any) -> None:
    with get_db() as db:
        row = db.query(Config).filter(Config.email == GLOBAL_CONFIG_EMAIL).first()
        row = row or Config(email=GLOBAL_CONFIG_EMAIL, version=0)
        row.data, row.updated_at = copy.deepcopy(data), datetime.now()
        db.add(row)
        db.commit()


CONFIG_DATA = get_config()


def get_config_value(config_path: str) -> Any:
    place = CONFIG_DATA
    for part in config_path.split("."):
        if part not in place:
            return None
        place = place[part]
    return place


def save_config(config: Any) -> bool:
    global CONFIG_DATA
    save_to_db(config)
    CONFIG_DATA = config
    return True


class PersistentConfig:
    """Read once, and saved with everything else that this process has read."""

    def __init__(self, env_name: str, config_path: str, env_value: Any) -> None:
        self.env_name, self.config_path, self.env_value = env_name, config_path, env_value
        self.config_value = get_config_value(config_path)
        self.value = env_value if self.config_value is None else self.config_value

    def save(self) -> None:
        place = CONFIG_DATA
        parts = self.config_path.split(".")
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = self.value
        save_to_db(CONFIG_DATA)
        self.config_value = self.value


class UserScopedConfig:
    """An admin has the value of the own document; anybody else that of the admin whose group was edited last and is not the default."""

    def __init__(self, config_path: str, default: Any) -> None:
        self.config_path, self.default = config_path, default

    def get(self, email: str) -> Any:
        user = Users.get_user_by_email(email)
        if not user:
            return self.default
        if user.role != "admin":
            return self._get_for_user_direct(email, user)
        from open_webui.utils.cache import get_cache_manager

        cached = get_cache_manager().get_user_settings(user.id, self.config_path)
        if cached is not None:
            return cached
        value = self._in_document(email)
        get_cache_manager().set_user_settings(user.id, self.config_path, value)
        return value

    def _get_for_user_direct(self, email: str, user: Any) -> Any:
        for group in Groups.get_groups_by_member_id(user.id):
            if group.created_by:
                value = self._in_document(group.created_by)
                if value != self.default:
                    return value
        return self.default

    def _in_document(self, email: str) -> Any:
        with get_db() as db:
            row = db.query(Config).filter_by(email=email).first()
        place = row.data if row else None
        for part in self.config_path.split("."):
            if not isinstance(place, dict) or part not in place:
                return self.default
            place = place[part]
        return place if place != self.default else self.default

    def set(self, email: str, value: Any) -> None:
        with get_db() as db:
            row = db.query(Config).filter_by(email=email).first() or Config(email=email, data={})
            data = copy.deepcopy(row.data) if row.data else {}
            place, parts = data, self.config_path.split(".")
            for part in parts[:-1]:
                if not isinstance(place.get(part), dict):
                    place[part] = {}
                place = place[part]
            place[parts[-1]] = value
            row.data = data
            db.add(row)
            db.commit()


class AppConfig:
    _state: dict[str, Any]

    def __init__(self) -> None:
        super().__setattr__("_state", {})

    def __setattr__(self, key: str, value: Any) -> None:
        if isinstance(value, (PersistentConfig, UserScopedConfig)):
            self._state[key] = value
        else:
            self._state[key].value = value
            self._state[key].save()

    def __getattr__(self, key: str) -> Any:
        item = self._state[key]
        return item.value if isinstance(item, PersistentConfig) else item
