"""The stand-in's users."""

from __future__ import annotations

import time
from typing import Any, Optional

from open_webui.internal.db import Base, JSONField, get_db
from pydantic import BaseModel, ConfigDict
from sqlalchemy import BigInteger, Column, String, Text


class User(Base):
    __tablename__ = "user"
    id = Column(String, primary_key=True)
    name = Column(String)
    email = Column(String)
    role = Column(String)
    profile_image_url = Column(Text)
    last_active_at = Column(BigInteger)
    updated_at = Column(BigInteger)
    created_at = Column(BigInteger)
    api_key = Column(String)
    settings = Column(JSONField)
    info = Column(JSONField)
    oauth_sub = Column(Text)


class UserSettings(BaseModel):
    ui: Optional[dict[str, Any]] = {}
    model_config = ConfigDict(extra="allow")


class UserModel(BaseModel):
    id: str
    name: str
    email: str
    role: str = "pending"
    profile_image_url: str
    last_active_at: int
    updated_at: int
    created_at: int
    api_key: Optional[str] = None
    settings: Optional[UserSettings] = None
    info: Optional[dict[str, Any]] = None
    oauth_sub: Optional[str] = None
    model_config = ConfigDict(from_attributes=True)


class UsersTable:
    def get_user_by_id(self, id: str) -> Optional[UserModel]:
        return self._first(id=id)

    def get_user_by_api_key(self, api_key: str) -> Optional[UserModel]:
        return self._first(api_key=api_key)

    def get_user_by_email(self, email: str) -> Optional[UserModel]:
        return self._first(email=email)

    def get_first_user(self) -> Optional[UserModel]:
        with get_db() as db:
            found = db.query(User).order_by(User.created_at).first()
            return UserModel.model_validate(found) if found else None

    def update_user_last_active_by_id(self, id: str) -> Optional[UserModel]:
        with get_db() as db:
            db.query(User).filter_by(id=id).update({"last_active_at": int(time.time())})
            db.commit()
        return self._first(id=id)

    def _first(self, **by: str) -> Optional[UserModel]:
        try:
            with get_db() as db:
                return UserModel.model_validate(db.query(User).filter_by(**by).first())
        except Exception:
            return None


Users = UsersTable()
