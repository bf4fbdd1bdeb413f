"""A walk as lines, without what no two walks have in common, so that two of them can be held against each other."""

from __future__ import annotations

import json
import re
from typing import Any

from walk import Step

_UUID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}")
_SECRET = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+|sk-[0-9a-f]{32}")
_HASH = re.compile(r"\b[0-9a-f]{40,64}\b")
_PLACE = re.compile(r"127\.0\.0\.1:\d+|/[\w/.-]*/replica-\d+")
_INSTANT = re.compile(r"\b1[6-9]\d{8}(?:\d{3}){0,3}(?:\.\d+)?\b|\b20\d\d-\d\d-\d\dT[\d:.]+(?:\+00:00|Z)?")


def normalised(steps: list[Step]) -> list[str]:
    """The steps as lines: identifiers by the order in which they appear; no instants, secrets, places.

    What has random identifiers is sorted: the application orders it by the second in which it was made.
    """
    names: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return names.setdefault(found[0].replace("-", ""), f"id-{len(names)}")

    lines = []
    for step in steps:
        told = _json(_sorted(step.reply.body, names))
        line = f"{step.who}: {step.call} -> {step.reply.status} {told}"
        for pattern, word in ((_PLACE, "place"), (_SECRET, "secret"), (_INSTANT, "instant")):
            line = pattern.sub(word, line)
        lines.append(_HASH.sub("hash", _UUID.sub(named, line)))
    return lines


def _sorted(value: Any, names: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(one, names) for key, one in value.items()}
    if not isinstance(value, list):
        return value
    whole = [_sorted(one, names) for one in value]
    if all(isinstance(one, str) and _UUID.fullmatch(one) for one in whole):
        whole.sort(key=lambda one: names.get(one.replace("-", ""), ""))
    if any(isinstance(one, dict) and _UUID.fullmatch(str(one.get("id"))) for one in whole):
        whole.sort(key=lambda one: _INSTANT.sub("", _UUID.sub("", _json(one))))
    return whole


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)
