"""The application behaves as it did: a walk through its API gives the same answers with the sidecar and without, and
through the door what it gives without one.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import house
from api import Api
from door import counted, door
from normalised import normalised
from stage import Stage, stage
from walk import Step, Walker

CALLS_MIN = 200
# A refusal, in whatever words.
_NO = {401, 403, 404}
_CONFIG = "GET /api/config"


@dataclass(frozen=True)
class Otherwise:
    """What somebody is given otherwise through the door: the beginning of the call, and the two statuses."""

    who: str
    call: str
    own: int
    given: int
    is_leak: bool = False
    """Whether the application gives what it should not."""

    def is_met(self, own: Step, given: Step, anonymous: object) -> bool:
        """Whether this is such a step; `anonymous` is what nobody gets."""
        statuses = (own.reply.status, given.reply.status)
        if own.who != self.who or not own.call.startswith(self.call) or statuses != (self.own, self.given):
            return False
        if self.given == 200:
            return given.reply.body in ([], anonymous)
        return self.is_leak or self.own != 200 or own.reply.body is None


_BOTH = {
    # The application lists them to everybody; whoever may read none gets an empty list.
    Otherwise("bob", "GET /api/v1/functions/", 200, 200),
    # The application denies that there is such a model.
    Otherwise("cleo", "POST /api/chat/completions", 400, 403),
}
_OTHERWISE = {
    # A credential that is worth nothing is taken off, so that he is given what nobody gets.
    "0.12.4": _BOTH | {Otherwise("bob", _CONFIG, 401, 200)},
    "0.6.43": _BOTH
    | {
        Otherwise("cleo", _CONFIG, 200, 200),
        # Asked for what is somebody else's, it answers 200 and null.
        Otherwise("cleo", "GET /api/v1/tools/id/adder", 200, 401),
        Otherwise("cleo", "GET /api/v1/models/model?id=", 200, 401),
        Otherwise("cleo", "GET /api/v1/prompts/command/greet", 200, 401),
        Otherwise("cleo", "GET /api/v1/knowledge/", 200, 401),
        # It asks nobody whose a collection is.
        Otherwise("cleo", "POST /api/v1/retrieval/query/collection", 200, 401, is_leak=True),
        # It has no such route, and unknown ones are shut.
        Otherwise("cleo", "POST /api/v1/auths/update/timezone", 405, 401),
    },
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
    same: list[tuple[Step, Step]] = []
    met: set[Otherwise] = set()
    anonymous: object = None
    for own, given in zip(before, after, strict=True):
        if (own.who, own.call) == ("nobody", _CONFIG):
            anonymous = given.reply.body
        expected = {one for one in _OTHERWISE[release] if one.is_met(own, given, anonymous)}
        is_no = {own.reply.status, given.reply.status} <= _NO
        if normalised([own]) == normalised([given]) or not (expected or is_no):
            same.append((own, given))
        else:
            met |= expected
    assert met == _OTHERWISE[release]
    _hold_against_each_other([own for own, _ in same], [given for _, given in same], tmp_path)
    assert decided > CALLS_MIN / 2, "the door had little to decide"


def _walked(*ways: tuple[Stage, int]) -> list[list[Step]]:
    """Walks on each stage at once, through the port."""
    with ThreadPoolExecutor() as walkers:
        return list(walkers.map(_walk, *zip(*ways, strict=True)))


def _walk(on: Stage, port: int) -> list[Step]:
    with Api(port) as api:
        return _Granting(on, api).walk()


class _Granting(Walker):
    """Gives everybody the pipe, too: without a door whoever may use its model has it."""

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
