"""The stand-in's access to what is assigned to groups."""

from __future__ import annotations

from typing import Any


def item_assigned_to_user_groups(user_id: str, item: Any, permission: str = "write") -> bool:
    """Reading and writing are not told apart, and users who are named themselves do not count."""
    from open_webui.models.groups import Groups
    from open_webui.models.users import Users
    from open_webui.utils.super_admin import is_super_admin

    if is_super_admin(Users.get_user_by_id(user_id)):
        return True
    member_of = {group.id for group in Groups.get_groups_by_member_id(user_id)}
    if item.access_control is None:
        return False
    assigned = {id for kind in ("read", "write") for id in item.access_control.get(kind, {}).get("group_ids", [])}
    if assigned & member_of:
        return True
    return bool(assigned & {group.id for group in Groups.get_groups() if group.user_id == user_id})
