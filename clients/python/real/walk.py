"""A scripted walk through the application's API, as three people take it: an administrator and two users.

The same calls in the same order each time, so that what a replica with a sidecar answers can be held against what one
without answers. After each change everybody looks around again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from api import Api, Reply, file_form

PASSWORD = "Correct-horse-9"
PIPE = '''
"""
title: Parrot
version: 0.1
"""
from pydantic import BaseModel

class Pipe:
    class Valves(BaseModel):
        prefix: str = "parrot: "

    def __init__(self):
        self.valves = self.Valves()

    def pipe(self, body: dict):
        return self.valves.prefix + str(body["messages"][-1]["content"])
'''
FILTER = """
class Filter:
    def inlet(self, body: dict):
        return body
"""
TOOL = '''
class Tools:
    def add(self, a: int, b: int) -> int:
        """Adds two numbers."""
        return a + b
'''

LOOK_AROUND = (
    "/api/config",
    "/api/v1/auths/",
    "/api/v1/users/user/settings",
    "/api/v1/users/permissions",
    "/api/v1/users/groups",
    "/api/models",
    "/api/v1/chats/?page=1",
    "/api/v1/knowledge/",
    "/api/v1/prompts/",
    "/api/v1/tools/",
)
"""What everybody asks after each change."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call and what came of it."""

    who: str
    call: str
    reply: Reply


class Walker:
    """Walks, and writes down each step."""

    def __init__(self, api: Api, *, is_old: bool) -> None:
        self._api = api
        self._is_old = is_old
        self._people: dict[str, Api] = {"nobody": api}
        self.steps: list[Step] = []

    def walk(self) -> list[Step]:
        for chapter in (
            self._people_arrive,
            self._groups,
            self._settings,
            self._functions_and_tools,
            self._models,
            self._prompts_and_notes,
            self._files_and_knowledge,
            self._chats,
            self._keys,
            self._people_leave,
        ):
            chapter()
            for who in self._people:
                self._get(who, *(LOOK_AROUND[:2] if who == "nobody" else LOOK_AROUND))
        return self.steps

    def _do(self, who: str, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
        reply = self._people[who].ask(method, path, body, headers)
        self.steps.append(Step(who, f"{method} {path}", reply))
        return reply.body

    def _get(self, who: str, *paths: str) -> None:
        for path in paths:
            self._do(who, "GET", path)

    def _post(self, who: str, path: str, body: Any = None) -> Any:
        return self._do(who, "POST", path, {} if body is None else body)

    def _people_arrive(self) -> None:
        self._get("nobody", "/api/config", "/health", "/api/version", "/api/v1/auths/")
        for name in ("Ada", "Bob", "Cleo"):
            who = name.lower()
            email = f"{name}@example.org"
            new = {"name": name, "email": email, "password": PASSWORD}
            if who == "cleo":
                self._post("ada", "/api/v1/auths/add", {**new, "role": "user"})
            else:
                self._post("nobody", "/api/v1/auths/signup", new)
            if who == "bob":
                pending = self._post("nobody", "/api/v1/auths/signin", {"email": email, "password": PASSWORD})
                self._people["bob"] = self._api.as_(pending["token"])
                self._get("bob", "/api/v1/auths/", "/api/models", "/api/v1/chats/")
                form = {"role": "user", "name": name, "email": email.lower(), "profile_image_url": "/user.png"}
                self._post("ada", f"/api/v1/users/{pending['id']}/update", form)
            session = self._post("nobody", "/api/v1/auths/signin", {"email": email, "password": PASSWORD})
            self._people[who] = self._api.as_(session["token"])
            if who == "ada":
                # The first one to sign up closes the door behind her.
                admin = self._people["ada"].get("/api/v1/auths/admin/config")
                self._post("ada", "/api/v1/auths/admin/config", {**admin, "ENABLE_SIGNUP": True})
        self._post("nobody", "/api/v1/auths/signin", {"email": "ada@example.org", "password": "wrong"})
        self._post("nobody", "/api/v1/auths/signup", {"name": "x", "email": "ada@example.org", "password": PASSWORD})
        self._post("bob", "/api/v1/auths/update/profile", {"name": "Bobby", "profile_image_url": "/user.png"})
        self._post("cleo", "/api/v1/auths/update/timezone", {"timezone": "Europe/Berlin"})
        self._post("bob", "/api/v1/users/user/settings/update", {"ui": {"models": ["m0"], "nested": {"a": [1, None]}}})
        self._post("bob", "/api/v1/users/user/info/update", {"city": "Größenau"})
        ids = self._ids()
        self._get("ada", "/api/v1/users/", "/api/v1/users/all", "/api/v1/users/search?query=b")
        self._get("ada", *(f"/api/v1/users/{id}" for id in ids.values()))
        self._get("bob", f"/api/v1/users/{ids['cleo']}", "/api/v1/users/", "/api/v1/users/user/info")

    def _ids(self) -> dict[str, str]:
        return {who: self._people[who].get("/api/v1/auths/")["id"] for who in ("ada", "bob", "cleo")}

    def _groups(self) -> None:
        ids = self._ids()
        groups = []
        for name, permissions in (
            ("Readers", {"features": {"web_search": False}}),
            ("Makers", {"workspace": {"models": True, "tools": True, "prompts": True, "knowledge": True}}),
        ):
            form = {"name": name, "description": f"the {name}", "permissions": permissions}
            group = self._post("ada", "/api/v1/groups/create", form)
            self._post("ada", f"/api/v1/groups/id/{group['id']}/update", form)
            groups.append(group["id"])
        readers, makers = groups
        self._post("ada", f"/api/v1/groups/id/{readers}/users/add", {"user_ids": [ids["bob"], ids["cleo"]]})
        self._post("ada", f"/api/v1/groups/id/{makers}/users/add", {"user_ids": [ids["bob"]]})
        self._get("ada", "/api/v1/groups/", f"/api/v1/groups/id/{makers}", f"/api/v1/groups/id/{makers}/export")
        self._get("bob", "/api/v1/groups/", "/api/v1/users/permissions")
        self._post("ada", f"/api/v1/groups/id/{readers}/users/remove", {"user_ids": [ids["cleo"]]})
        self._get("cleo", "/api/v1/users/permissions", "/api/v1/users/groups")
        self._group = makers

    def _settings(self) -> None:
        self._get("ada", "/api/v1/users/default/permissions", "/api/v1/auths/admin/config", "/api/v1/configs/banners")
        permissions = self._people["ada"].get("/api/v1/users/default/permissions")
        permissions["features"]["web_search"] = False
        permissions["features"]["api_keys"] = True
        permissions["chat"]["temporary"] = False
        self._post("ada", "/api/v1/users/default/permissions", permissions)
        admin = self._people["ada"].get("/api/v1/auths/admin/config")
        self._post("ada", "/api/v1/auths/admin/config", {**admin, "SHOW_ADMIN_DETAILS": False})
        banner = {"id": "b1", "type": "info", "title": "T", "content": "Hello", "dismissible": True, "timestamp": 1}
        self._post("ada", "/api/v1/configs/banners", {"banners": [banner]})
        suggestion = {"title": ["Tell", "me"], "content": "Tell me"}
        self._post("ada", "/api/v1/configs/suggestions", {"suggestions": [suggestion]})
        self._get("bob", "/api/v1/configs/banners", "/api/v1/configs/models", "/api/v1/auths/admin/details")
        self._get("ada", "/api/v1/configs/models", "/api/v1/configs/connections", "/api/v1/configs/code_execution")
        self._get("ada", "/api/v1/retrieval/config", "/api/v1/retrieval/embedding", "/api/v1/tasks/config")
        self._get(
            "ada", "/api/v1/images/config", "/api/v1/audio/config", "/openai/config", "/api/v1/evaluations/config"
        )
        self._get("ada", "/api/v1/configs/tool_servers", "/api/webhook", "/api/v1/auths/admin/config/ldap")
        models = self._people["ada"].get("/api/v1/configs/models")
        self._post("ada", "/api/v1/configs/models", {**models, "MODEL_ORDER_LIST": ["m1", "m0"]})

    def _functions_and_tools(self) -> None:
        for id, content in (("parrot", PIPE), ("sieve", FILTER)):
            form = {"id": id, "name": id.title(), "content": content, "meta": {"description": id}}
            self._post("ada", "/api/v1/functions/create", form)
            self._post("ada", f"/api/v1/functions/id/{id}/toggle")
            self._get("ada", f"/api/v1/functions/id/{id}", f"/api/v1/functions/id/{id}/valves")
        self._post("ada", "/api/v1/functions/id/sieve/toggle/global")
        self._post("ada", "/api/v1/functions/id/parrot/valves/update", {"prefix": "said: "})
        self._get("ada", "/api/v1/functions/", "/api/v1/functions/export", "/api/v1/functions/id/parrot/valves/spec")
        self._get("bob", "/api/v1/functions/", "/api/v1/functions/id/parrot")
        tool = {"id": "adder", "name": "Adder", "content": TOOL, "meta": {"description": "adds"}}
        self._post("bob", "/api/v1/tools/create", tool | self._access(None))
        self._get("ada", "/api/v1/tools/", "/api/v1/tools/list", "/api/v1/tools/id/adder", "/api/v1/tools/export")
        self._get("bob", "/api/v1/tools/id/adder", "/api/v1/tools/id/adder/valves")
        self._get("cleo", "/api/v1/tools/id/adder", "/api/v1/tools/")
        self._post("bob", "/api/v1/tools/id/adder/update", tool | {"name": "Added"} | self._access("*"))
        self._get("cleo", "/api/v1/tools/id/adder", "/api/v1/tools/")

    def _access(self, to: str | None) -> dict[str, Any]:
        """Who may read it: everybody, a group, or only its owner; as this release writes it down."""
        if self._is_old:
            nobody: dict[str, list[str]] = {"group_ids": [], "user_ids": []}
            control = {"read": nobody if to is None else {"group_ids": [to], "user_ids": []}, "write": nobody}
            return {"access_control": None if to == "*" else control}
        kind = "user" if to == "*" else "group"
        grants = [] if to is None else [{"principal_type": kind, "principal_id": to, "permission": "read"}]
        return {"access_grants": grants}

    def _models(self) -> None:
        def model(id: str, base: str | None, to: str | None) -> dict[str, Any]:
            form: dict[str, Any] = {
                "id": id,
                "base_model_id": base,
                "name": id.upper(),
                "params": {},
                "is_active": True,
            }
            return {**form, "meta": {"description": id, "capabilities": {"vision": True}}, **self._access(to)}

        for form in (model("m0", None, "*"), model("m1", None, self._group), model("parrot", None, "*")):
            self._post("ada", "/api/v1/models/create", form)
        self._post("bob", "/api/v1/models/create", model("bobs-own", "m0", None))
        self._post("bob", "/api/v1/models/create", model("bobs-public", "m0", "*"))
        self._post("cleo", "/api/v1/models/create", model("not-allowed", "m0", None))
        self._get("bob", "/api/models", "/api/v1/models/list", "/api/v1/models/model?id=bobs-own")
        self._get("cleo", "/api/models", "/api/v1/models/model?id=bobs-own", "/api/v1/models/model?id=m1")
        self._get("ada", "/api/models", "/api/v1/models/base", "/api/v1/models/export", "/api/v1/models/tags")
        self._complete("bob", "m0", "m1", "parrot", "bobs-own", "m2", "unknown")
        self._complete("cleo", "m0", "m1", "parrot", "bobs-own", "bobs-public")
        self._post("ada", "/api/v1/models/model/toggle?id=bobs-public")
        self._get("cleo", "/api/models")
        self._complete("cleo", "bobs-public")
        self._post("ada", "/api/v1/models/model/toggle?id=bobs-public")
        self._get("cleo", "/api/models")

    def _complete(self, who: str, *models: str) -> None:
        for model in models:
            for stream in (False, True):
                body = {"model": model, "stream": stream, "messages": [{"role": "user", "content": "How much is it?"}]}
                self._post(who, "/api/chat/completions", body)

    def _prompts_and_notes(self) -> None:
        old = {"command": "/greet", "title": "Greet", "content": "Greet {{name}}"}
        prompt = old if self._is_old else {"command": "greet", "name": "Greet", "content": "Greet {{name}}"}
        made = self._post("bob", "/api/v1/prompts/create", prompt | self._access(self._group))
        self._get("bob", "/api/v1/prompts/", "/api/v1/prompts/list")
        self._get("cleo", "/api/v1/prompts/")
        if self._is_old:
            self._get("bob", "/api/v1/prompts/command/greet")
            self._get("cleo", "/api/v1/prompts/command/greet")
            self._post("bob", "/api/v1/prompts/command/greet/update", prompt | {"title": "Hail"} | self._access("*"))
        elif isinstance(made, dict) and "id" in made:
            at = f"/api/v1/prompts/id/{made['id']}"
            self._get("bob", at)
            self._get("cleo", at)
            self._post("bob", f"{at}/update", prompt | {"name": "Hail"} | self._access("*"))
        self._get("cleo", "/api/v1/prompts/")
        note = {"title": "A note", "data": {"content": {"json": None, "html": "<p>x</p>", "md": "x"}}}
        made = self._post("bob", "/api/v1/notes/create", note | self._access(None))
        at = f"/api/v1/notes/{made['id']}"
        self._get("bob", "/api/v1/notes/", at)
        self._get("cleo", "/api/v1/notes/", at)
        self._post("bob", f"{at}/update", note | {"title": "Another"})
        self._get("ada", at)
        self._get("bob", at)
        self._do("bob", "DELETE", f"{at}/delete")
        self._get("bob", at)
        self._post("cleo", "/api/v1/folders/", {"name": "Work"})
        self._get("cleo", "/api/v1/folders/", "/api/v1/memories/")

    def _files_and_knowledge(self) -> None:
        text = "\n".join(f"Line {n} of the book." for n in range(20))
        body, headers = file_form("book.txt", text)
        # Processed before the answer: a background task would end whenever it likes.
        path = "/api/v1/files/?process=true&process_in_background=false"
        file = self._do("bob", "POST", path, body, headers)
        at = f"/api/v1/files/{file['id']}"
        self._get("bob", at, f"{at}/content", f"{at}/data/content", f"{at}/process/status", "/api/v1/files/")
        self._get("cleo", at, f"{at}/content", "/api/v1/files/")
        form = {"name": "Library", "description": "books"} | self._access(self._group)
        base = self._post("bob", "/api/v1/knowledge/create", form)
        place = f"/api/v1/knowledge/{base['id']}"
        self._post("bob", f"{place}/file/add", {"file_id": file["id"]})
        self._get("bob", place, f"{place}/files", "/api/v1/knowledge/")
        self._get("cleo", place, "/api/v1/knowledge/", at)
        query = {"collection_names": [base["id"]], "query": "Which line?", "k": 2}
        self._post("bob", "/api/v1/retrieval/query/collection", query)
        self._post("cleo", "/api/v1/retrieval/query/collection", query)
        self._post("bob", f"{place}/update", form | {"description": "all books"} | self._access("*"))
        self._get("cleo", place, "/api/v1/knowledge/", at)
        self._post("bob", f"{place}/file/remove?delete_file=false", {"file_id": file["id"]})
        self._do("bob", "DELETE", f"{place}/delete")
        self._do("bob", "DELETE", at)
        self._get("bob", at, "/api/v1/knowledge/")

    def _chats(self) -> None:
        message: dict[str, Any] = {
            "id": "1",
            "role": "user",
            "content": "hi",
            "parentId": None,
            "childrenIds": [],
            "timestamp": 1,
        }
        history = {"messages": {"1": message}, "currentId": "1"}
        chat = {"title": "First", "models": ["m0"], "history": history, "messages": [message], "tags": []}
        made = self._post("bob", "/api/v1/chats/new", {"chat": chat})
        at = f"/api/v1/chats/{made['id']}"
        self._get("bob", at, "/api/v1/chats/", "/api/v1/chats/list", f"{at}/tags")
        self._get("cleo", at)
        self._get("ada", at)
        self._post("bob", at, {"chat": {"title": "Second"}})
        self._post("bob", f"{at}/pin")
        self._post("bob", f"{at}/tags", {"name": "important"})
        self._get("bob", "/api/v1/chats/pinned", "/api/v1/chats/all/tags", f"{at}/pinned", f"{at}/tags")
        shared = self._post("bob", f"{at}/share")
        self._get("cleo", f"/api/v1/chats/share/{shared.get('share_id')}")
        self._post("bob", f"{at}/archive")
        self._get("bob", "/api/v1/chats/archived", "/api/v1/chats/", "/api/v1/chats/search?text=second")
        self._do("bob", "DELETE", at)
        self._get("bob", at, "/api/v1/chats/")

    def _keys(self) -> None:
        for who in ("ada", "bob"):
            made = self._post(who, "/api/v1/auths/api_key")
            self._get(who, "/api/v1/auths/api_key")
            if isinstance(made, dict) and "api_key" in made:
                self._people[f"{who}'s key"] = self._api.as_(made["api_key"])
        for who in [who for who in self._people if who.endswith("key")]:
            self._get(who, "/api/v1/auths/", "/api/models", "/api/v1/users/user/settings")
            self._complete(who, "m0", "m1")
        self._do("bob", "DELETE", "/api/v1/auths/api_key")
        if "bob's key" in self._people:
            self._get("bob's key", "/api/v1/auths/", "/api/models")

    def _people_leave(self) -> None:
        ids = self._ids()
        form = {"role": "pending", "name": "Cleo", "email": "cleo@example.org", "profile_image_url": "/user.png"}
        self._post("ada", f"/api/v1/users/{ids['cleo']}/update", form)
        self._get("cleo", "/api/v1/auths/", "/api/models")
        self._post("ada", f"/api/v1/users/{ids['cleo']}/update", form | {"role": "admin"})
        self._get("cleo", "/api/v1/auths/", "/api/models", "/api/v1/users/")
        self._do("ada", "DELETE", f"/api/v1/groups/id/{self._group}/delete")
        self._get("bob", "/api/models", "/api/v1/users/permissions")
        self._post("bob", "/api/v1/auths/update/password", {"password": PASSWORD, "new_password": PASSWORD + "x"})
        self._get("bob", "/api/v1/auths/")
        self._do("ada", "DELETE", f"/api/v1/users/{ids['bob']}")
        self._get("bob", "/api/v1/auths/", "/api/models")
        self._get("ada", "/api/v1/users/", f"/api/v1/users/{ids['bob']}")
        self._get("cleo", "/api/v1/auths/signout")
        self._get("cleo", "/api/v1/auths/")
