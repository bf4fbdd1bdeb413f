"""The rules of the door, read a second time: a request for each guarded route, and who must get through with it.

Slow and obvious, and in none of the product's code. Everything is asked of what admin A owns, who has granted it to her
group to read.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FILES = Path(__file__).resolve().parents[3] / "flavours/routes"


@dataclass(frozen=True)
class Actor:
    """Somebody at the door: what he shows, and what he is."""

    name: str
    role: str
    token: str | None
    is_first: bool = False
    is_owner: bool = False
    is_member: bool = False


@dataclass(frozen=True)
class Request:
    """A request for a route, about what is A's."""

    on: str
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
        return all(_may(actor, *check.split(" ")[:2]) for check in self.rule["check"])


def requests(flavour: str, ids: Mapping[str, str]) -> Iterator[Request]:
    """A request for each guarded route; `ids` names what is A's, by type."""
    document = tomllib.loads((_FILES / f"{flavour}.toml").read_text())
    for rule in document["route"]:
        method, path = rule["on"].split(" ", 1)
        if "open" in rule or "application" in rule or method in ("MOUNT", "WEBSOCKET"):
            continue
        query: list[str] = []
        body: Any = {}
        for check in rule.get("check", []):
            _, kind, place = check.split(" ")[:3]
            for part, value in zip(place.split("@"), (ids[kind], 0), strict=False):
                where, name = part.split(":", 1)
                if where == "query":
                    query += [pair for pair in [f"{name}={value}"] if pair not in query]
                elif where == "body":
                    body = _with(body, name.strip("/").split("/"), value)
                else:
                    path = path.replace(f"{{{name}}}", str(value))
        if rule.get("list", "").endswith("urlIdx"):
            query.append("urlIdx=0")
        path = "/".join("x" if piece.startswith("{") else piece for piece in path.split("/"))
        target = f"{path}?{'&'.join(query)}" if query else path
        data = None if method in ("GET", "HEAD") else json.dumps(body).encode()
        yield Request(rule["on"], method, target, data, rule)


def _may(actor: Actor, action: str, kind: str) -> bool:
    if actor.is_first or actor.is_owner:
        return True
    if kind in ("user", "group"):
        return False
    if kind not in ("function", "pipeline") and actor.role == "admin":
        return True
    return actor.is_member and action in ("read", "execute")


def _with(value: Any, steps: list[str], id: Any) -> Any:
    if not steps:
        return id
    first, *rest = steps
    if first == "*":
        return [*(value if isinstance(value, list) else []), _with(None, rest, id)]
    held = value if isinstance(value, dict) else {}
    return {**held, first: _with(held.get(first), rest, id)}
