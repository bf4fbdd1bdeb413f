"""Who is on a stage when a test begins: made through the application's own API, in both releases alike."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from api import Api
from walk import PASSWORD, PIPE


@dataclass
class People:
    """An administrator and users; each user is in one of the groups, has a key and settings."""

    admin: dict[str, Any]
    users: list[dict[str, Any]] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)


class Town:
    """Makes people and what they use, on one replica."""

    def __init__(self, api: Api, *, is_old: bool) -> None:
        """Signs the administrator up; from then on the caller is her."""
        self._is_old = is_old
        self.api = api
        form = {"name": "Ada", "email": "ada@example.org", "password": PASSWORD}
        self.people = People(api.post("/api/v1/auths/signup", form))
        api.token = self.people.admin["token"]

    def settle(self, users: int, *, groups: int = 2) -> People:
        """Makes groups, users, their keys and settings, and some chats."""
        api, people = self.api, self.people
        permissions = {"features": {"api_keys": True}}
        for n in range(groups):
            form = {"name": f"group {n}", "description": "", "permissions": permissions}
            group = api.post("/api/v1/groups/create", form)
            # 0.6 heeds the permissions only here.
            api.post(f"/api/v1/groups/id/{group['id']}/update", form)
            people.groups.append(group["id"])
        for n in range(users):
            form = {"name": f"User {n}", "email": f"user{n}@example.org", "password": PASSWORD, "role": "user"}
            api.post("/api/v1/auths/add", form)
            session = api.post("/api/v1/auths/signin", {"email": form["email"], "password": PASSWORD})
            people.users.append(session)
        for n, group in enumerate(people.groups):
            ids = [user["id"] for user in people.users[n :: len(people.groups)]] + [people.admin["id"]]
            api.post(f"/api/v1/groups/id/{group}/users/add", {"user_ids": ids})
        for person in (people.admin, *people.users):
            own = api.as_(person["token"])
            person["api_key"] = own.post("/api/v1/auths/api_key")["api_key"]
            own.post("/api/v1/users/user/settings/update", {"ui": {"models": ["m0"], "chatBubble": True}})
            for _ in range(3):
                own.post("/api/v1/chats/new", {"chat": _CHAT})
        return people

    def pipe(self, id: str = "parrot", content: str = PIPE) -> None:
        """Makes a pipe function, a model that everybody may use, and turns it on."""
        form = {"id": id, "name": id, "content": content, "meta": {"description": id}}
        self.api.post("/api/v1/functions/create", form)
        self.api.post(f"/api/v1/functions/id/{id}/toggle")
        self.model(id)

    def model(self, id: str, base: str | None = None, *, group: str | None = None) -> None:
        """Makes a model, for everybody or for one group."""
        make_model(self.api, id, base, group=group, is_old=self._is_old)


def make_model(
    api: Api, id: str, base: str | None = None, *, group: str | None = None, is_old: bool
) -> None:
    """Makes a model, for everybody or for one group, as this release writes it down."""
    form: dict[str, Any] = {
        "id": id,
        "base_model_id": base,
        "name": id,
        "meta": {},
        "params": {},
        "is_active": True,
    }
    if is_old:
        readers = {"group_ids": [group], "user_ids": []}
        form["access_control"] = group and {"read": readers, "write": {"group_ids": [], "user_ids": []}}
    else:
        principal = ("group", group) if group else ("user", "*")
        grant = {"principal_type": principal[0], "principal_id": principal[1], "permission": "read"}
        form["access_grants"] = [grant]
    api.post("/api/v1/models/create", form)


_MESSAGE: dict[str, Any] = {
    "id": "1",
    "role": "user",
    "content": "hi",
    "parentId": None,
    "childrenIds": [],
    "timestamp": 1,
}
_CHAT = {
    "title": "A chat",
    "models": ["m0"],
    "history": {"messages": {"1": _MESSAGE}, "currentId": "1"},
    "messages": [_MESSAGE],
}
