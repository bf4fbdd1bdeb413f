"""The stand-in's super admins: the first user, and whom the environment names."""

from __future__ import annotations

import os
from typing import Any


def is_super_admin(user: Any) -> bool:
    from open_webui.models.users import Users

    if not user:
        return False
    first = Users.get_first_user()
    named = {email.strip().lower() for email in os.environ.get("SUPER_ADMIN_EMAILS", "").split(",") if email.strip()}
    return (first is not None and user.id == first.id) or user.email.lower() in named
