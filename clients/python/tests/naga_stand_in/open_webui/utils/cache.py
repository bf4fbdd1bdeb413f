"""The stand-in's cache: a dictionary that nobody else invalidates, instead of Redis."""

from __future__ import annotations

from typing import Any, Optional


class CacheManager:
    def __init__(self) -> None:
        self.entries: dict[Any, Any] = {}
        self.invalidated: list[Any] = []

    def get_user_settings(self, user_id: str, config_path: str) -> Optional[Any]:
        return self.entries.get(("settings", user_id, config_path))

    def set_user_settings(self, user_id: str, config_path: str, value: Any) -> bool:
        self.entries["settings", user_id, config_path] = value
        return True

    def get_user_permissions(self, user_id: str) -> Optional[Any]:
        return self.entries.get(("permissions", user_id))

    def set_user_permissions(self, user_id: str, permissions: Any) -> bool:
        self.entries["permissions", user_id] = permissions
        return True

    def get_auth_user(self, user_id: str) -> Optional[Any]:
        return self.entries.get(("auth", user_id))

    def set_auth_user(self, user_id: str, user_data: Any, ttl: int = 600) -> bool:
        self.entries["auth", user_id] = user_data
        return True

    def get_api_key_user(self, api_key_hash: str) -> Optional[Any]:
        return self.entries.get(("key", api_key_hash))

    def set_api_key_user(self, api_key_hash: str, user_id: str, ttl: int = 1800) -> bool:
        self.entries["key", api_key_hash] = user_id
        return True

    def set_user_role(self, user_id: str, role: str) -> bool:
        self.entries["role", user_id] = role
        return True

    def invalidate_user_settings(self, user_id: str, config_path: Optional[str] = None) -> int:
        self.invalidated.append(("settings", user_id, config_path))
        return 0

    def invalidate_group_admin_config(self, group_id: str, config_path: Optional[str] = None) -> int:
        self.invalidated.append(("group", group_id, config_path))
        return 0

    def invalidate_group_member_users(self, group_id: str) -> int:
        self.invalidated.append(("members", group_id))
        return 0


_cache = CacheManager()


def get_cache_manager() -> CacheManager:
    return _cache
