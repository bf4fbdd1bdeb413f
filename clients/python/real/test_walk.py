"""The application behaves as it did: a walk through its API gives the same answers with the sidecar and without, and through the door
what it gives without one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import house
from api import Api
from door import counted, door
from normalised import normalised
from stage import Stage, stage
from walk import Step, Walker

CALLS_MIN = 200
# Who is given something else through the door, and why, beside those whom the door refuses what the application refuses in other words.
_FUNCTIONS = ("bob", "GET /api/v1/functions/")  # The application lists all of them to everybody.
_COLLECTIONS = ("cleo", "POST /api/v1/retrieval/query/collection")  # 0.6 asks nobody whose a collection is.
_GONE = "GET /api/config"  # A credential that is worth nothing is taken off, so this is what everybody gets.
_OTHERWISE = {
    "0.12.4": {_FUNCTIONS, ("bob", _GONE)},
    "0.6.43": {_FUNCTIONS, _COLLECTIONS, ("cleo", _GONE)},
}


def test_a_walk_with_the_sidecar_gives_the_answers_of_a_walk_without(
    release: str, postgres: house.Postgres, tmp_path: Path
) -> None:
    with stage(release, postgres) as plain, stage(release, postgres) as ours:
        replicas = plain.put(attached=False), ours.put(attached=True)
        for replica in replicas:
            replica.wait()
        before, after = _walked((plain, replicas[0].port), (ours, replicas[1].port))
        log = replicas[1].log.read_text(errors="replace")
    _hold_against_each_other(before, after, tmp_path)
    assert "Traceback" not in log or "neverstale" not in log, log[-4000:]


def test_a_walk_through_the_door_gives_the_answers_of_a_walk_without(
    release: str, postgres: house.Postgres, tmp_path: Path
) -> None:
    with stage(release, postgres) as plain, stage(release, postgres) as ours:
        replicas = plain.put(attached=False), ours.put(attached=False)
        for replica in replicas:
            replica.wait()
        with door(ours, replicas[1].port) as (sidecar, port):
            before, after = _walked((plain, replicas[0].port), (ours, port))
            decided = counted(sidecar, "allowed")
    pairs = list(zip(before, after, strict=True))
    refused = {n for n, (own, given) in enumerate(pairs) if given.reply.status in (401, 403) and _is_nothing(own)}
    otherwise = {n for n, (own, _) in enumerate(pairs) if (own.who, own.call) in _OTHERWISE[release]}
    changed = {(own.who, own.call) for n, (own, given) in enumerate(pairs) if n in otherwise and own != given}
    assert changed == _OTHERWISE[release]
    same = [pair for n, pair in enumerate(pairs) if n not in refused | otherwise]
    _hold_against_each_other([own for own, _ in same], [given for _, given in same], tmp_path)
    assert decided > CALLS_MIN / 2, "the door had little to decide"


def _is_nothing(step: Step) -> bool:
    """Whether nothing is given: a refusal, or nothing in the place of what was asked for."""
    return step.reply.status >= 400 or step.reply.body is None


def _walked(*ways: tuple[Stage, int]) -> list[list[Step]]:
    """Walks on each stage at once, through the port."""
    with ThreadPoolExecutor() as walkers:
        return list(walkers.map(_walk, *zip(*ways, strict=True)))


def _walk(on: Stage, port: int) -> list[Step]:
    with Api(port) as api:
        return _Granting(on, api).walk()


class _Granting(Walker):
    """Gives everybody the pipe, too: without a door whoever may use its model has it, and behind one nobody but its owner."""

    def __init__(self, stage: Stage, api: Api) -> None:
        super().__init__(api, is_old=stage.is_old)
        self._stage = stage

    def _functions_and_tools(self) -> None:
        super()._functions_and_tools()
        if self._stage.sql("SELECT to_regclass('neverstale.access_overlay')::text")[0][0]:
            self._stage.sql(
                """UPDATE neverstale.access_overlay SET access_control = '{"read": {"user_ids": ["*"]}}' """
                "WHERE resource_type = 'function' AND resource_id = 'parrot'"
            )


def _hold_against_each_other(before: list[Step], after: list[Step], kept: Path) -> None:
    lines = [normalised(steps) for steps in (before, after)]
    for name, walked in zip(("before", "after"), lines, strict=True):
        (kept / name).write_text("\n".join(walked))
    done = sum(step.reply.status == 200 for step in before)
    assert len(before) >= CALLS_MIN and done >= 0.75 * len(before), (len(before), done)
    different = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    assert not different, "\n".join("\n".join(pair) for pair in different[:5])
