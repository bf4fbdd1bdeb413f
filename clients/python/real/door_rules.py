"""The rules of the door, read a second time: a request for each guarded route, and who must get through with it; and who sees what
of a list.

Slow and obvious, and in none of the product's code. Two admins, A and B, own one thing of every type, which they have granted to
their groups to read.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_ROOT = Path(__file__).resolve().parents[3]
_FILES = _ROOT / "flavours/routes"
_LISTS = _ROOT / "crates/guard/tests/routes"


@dataclass(frozen=True)
class Actor:
    """Somebody at the door: what he shows, and what he is; `mark` is `a` for A and the members of her group, `b` for B's."""

    name: str
    role: str
    token: str | None
    mark: str = ""
    is_first: bool = False


@dataclass(frozen=True)
class Request:
    """A request for a route, about what is somebody's."""

    on: str
    owner: str
    method: str
    target: str
    body: bytes | None
    rule: Mapping[str, Any]

    def may(self, actor: Actor) -> bool:
        """Whether it must reach the application."""
        if actor.token is None or actor.role not in ("user", "admin"):
            return False
        match self.rule.get("allow"):
            case "admins":
                return actor.role == "admin"
            case "super-admins":
                return actor.is_first
            case "signed-in":
                return True
        if "list" in self.rule:
            return True
        checks = [check.split(" ") for check in self.rule["check"]]
        return all(_may(actor, action, kind, self.owner) for action, kind, *_ in checks)


def sees(actor: Actor, check: str, id: str, ids: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether the door leaves an element of that id in a list that is filtered by this check; what nobody owns is the application's."""
    action, kind = check.split(" ")[:2]
    for mark, owned in ids.items():
        # A pipe is offered as a model of the function's name.
        for of in (kind, "function") if kind == "model" else (kind,):
            if owned[of] == id.removeprefix("/"):
                return _may(actor, action, of, mark)
    return actor.is_first or check.endswith("if-known")


def unasked(flavour: str, asked: set[str]) -> set[str]:
    """The routes of the application's own list that nothing was asked of, and that no rule excuses."""
    document = tomllib.loads((_FILES / f"{flavour}.toml").read_text())
    excused = {rule["on"] for rule in document["route"] if "open" in rule or "application" in rule}
    return set((_LISTS / f"{flavour}.txt").read_text().splitlines()) - excused - asked


def requests(flavour: str, ids: Mapping[str, Mapping[str, str]]) -> Iterator[Request]:
    """A request for each guarded route, and where it names something one for each owner's; `ids` names these, by owner and type."""
    document = tomllib.loads((_FILES / f"{flavour}.toml").read_text())
    for rule in document["route"]:
        if "open" in rule or "application" in rule or rule["on"].startswith(("MOUNT ", "WEBSOCKET ")):
            continue
        for owner in ids if "check" in rule else ["a"]:
            yield _request(rule, owner, ids[owner])


def _request(rule: Mapping[str, Any], owner: str, ids: Mapping[str, str]) -> Request:
    method, path = rule["on"].split(" ", 1)
    query: list[str] = []
    body: Any = {}
    for check in rule.get("check", []):
        _, kind, place = check.split(" ")[:3]
        for part, value in zip(place.split("@"), (ids[kind], 0), strict=False):
            where, name = part.split(":", 1)
            if where == "query":
                query += [pair for pair in [f"{name}={value}"] if pair not in query]
            elif where == "mentions":
                body = _with(body, name.strip("/").split("/"), f"<@M:{value}|somebody>")
            elif where == "body":
                body = _with(body, name.strip("/").split("/"), value)
            else:
                path = path.replace(f"{{{name}}}", str(value))
    if rule.get("list", "").endswith("urlIdx"):
        query.append("urlIdx=0")
    path = "/".join("x" if piece.startswith("{") else piece for piece in path.split("/"))
    target = f"{path}?{'&'.join(query)}" if query else path
    data = None if method in ("GET", "HEAD") else json.dumps(body).encode()
    return Request(rule["on"], owner, method, target, data, rule)


def _may(actor: Actor, action: str, kind: str, owner: str) -> bool:
    is_admin = actor.role == "admin"
    if actor.is_first or (is_admin and actor.mark == owner):
        return True
    if kind in ("user", "group"):
        return False
    if kind not in ("function", "pipeline") and is_admin:
        return True
    return actor.role == "user" and actor.mark == owner and action in ("read", "execute")


def _with(value: Any, steps: list[str], id: Any) -> Any:
    if not steps:
        return id
    first, *rest = steps
    if first == "*":
        return [*(value if isinstance(value, list) else []), _with(None, rest, id)]
    held = value if isinstance(value, dict) else {}
    return {**held, first: _with(held.get(first), rest, id)}
