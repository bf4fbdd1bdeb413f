"""The application behaves as it did: a walk through its API gives the same answers with the sidecar and without."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import house
from api import Api
from stage import Replica, Stage, stage
from normalised import normalised
from walk import Step, Walker

CALLS_MIN = 200


def test_a_walk_with_the_sidecar_gives_the_answers_of_a_walk_without(
    release: str, postgres: house.Postgres, tmp_path: Path
) -> None:
    with stage(release, postgres) as plain, stage(release, postgres) as ours:
        replicas = plain.put(attached=False), ours.put(attached=True)
        for replica in replicas:
            replica.wait()
        with ThreadPoolExecutor() as walkers:
            before, after = walkers.map(_walked, (plain, ours), replicas)
        log = replicas[1].log.read_text(errors="replace")
    lines = [normalised(steps) for steps in (before, after)]
    for name, walked in zip(("before", "after"), lines, strict=True):
        (tmp_path / name).write_text("\n".join(walked))
    done = sum(step.reply.status == 200 for step in before)
    assert len(before) >= CALLS_MIN and done >= 0.75 * len(before), (len(before), done)
    different = [pair for pair in zip(*lines, strict=True) if pair[0] != pair[1]]
    assert not different, "\n".join("\n".join(pair) for pair in different[:5])
    assert "Traceback" not in log or "neverstale" not in log, log[-4000:]


def _walked(on: Stage, replica: Replica) -> list[Step]:
    with Api(replica.port) as api:
        return Walker(api, is_old=on.is_old).walk()
