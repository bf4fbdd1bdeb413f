"""A change holds on another replica for the next request; and without us it would not, so this test can fail."""

from __future__ import annotations

from stage import Stage
from staleness import table

TRIES = 20
LIMIT_SECONDS = 2.0

STALE_WITHOUT_US = {"admin demoted with a live socket, by SQL", "model deactivated, by SQL", "pipe deactivated, by SQL"}


def test_a_change_holds_on_another_replica_for_the_next_request(empty: Stage) -> None:
    delays = dict(table(empty, attached=True, tries=TRIES, limit_seconds=LIMIT_SECONDS))
    stale = {name: str(delay) for name, delay in delays.items() if not delay.is_fresh}
    assert not stale and len(delays) > 20, stale


def test_without_the_sidecar_some_changes_are_never_seen(empty: Stage) -> None:
    delays = dict(table(empty, attached=False, tries=2, limit_seconds=LIMIT_SECONDS))
    assert {name for name, delay in delays.items() if delay.never} >= STALE_WITHOUT_US, delays
