"""The stand-in's groups: members in a JSON list, the one edited last first."""

from __future__ import annotations

from typing import Any, Optional

from open_webui.internal.db import Base, get_db
from pydantic import BaseModel, ConfigDict
from sqlalchemy import JSON, BigInteger, Column, Text, text

IS_MEMBER = (
    'EXISTS (SELECT 1 FROM jsonb_array_elements_text(CAST("group".user_ids AS jsonb)) AS one WHERE one = :user_id)'
)


class Group(Base):
    __tablename__ = "group"
    id = Column(Text, primary_key=True)
    user_id = Column(Text)
    created_by = Column(Text)
    name = Column(Text)
    description = Column(Text)
    data = Column(JSON)
    meta = Column(JSON)
    permissions = Column(JSON)
    user_ids = Column(JSON)
    created_at = Column(BigInteger)
    updated_at = Column(BigInteger)


class GroupModel(BaseModel):
    id: str
    user_id: str
    created_by: Optional[str] = None
    name: str
    description: str
    data: Optional[dict[str, Any]] = None
    meta: Optional[dict[str, Any]] = None
    permissions: Optional[dict[str, Any]] = None
    user_ids: list[str] = []
    created_at: int
    updated_at: int
    model_config = ConfigDict(from_attributes=True)


class GroupTable:
    def get_groups(self, user_email: Optional[str] = None) -> list[GroupModel]:
        with get_db() as db:
            rows = db.query(Group)
            if user_email is not None:
                rows = rows.filter(Group.created_by == user_email)
            return [GroupModel.model_validate(row) for row in rows.order_by(Group.updated_at.desc()).all()]

    def get_groups_by_member_id(self, user_id: str) -> list[GroupModel]:
        with get_db() as db:
            rows = db.query(Group).filter(Group.user_ids.isnot(None)).filter(text(IS_MEMBER)).params(user_id=user_id)
            return [GroupModel.model_validate(row) for row in rows.order_by(Group.updated_at.desc()).all()]


Groups = GroupTable()
