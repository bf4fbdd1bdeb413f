"""A session reads its own writes and never goes back, and events tell of every change."""

from __future__ import annotations

import neverstale
import pytest
from askers import Asker
from conftest import House
from neverstale import reads
from neverstale.freshness import Freshness

A, B = "a" * 32, "b" * 32


def test_a_caller_reads_its_own_writes_in_many_tries(asker: Asker, shared: House) -> None:
    session = asker.session()
    # Another session keeps the old value in every cache on the way.
    other = asker.session()
    for number in range(40):
        other.read(reads.user("u5"))
        shared.execute(f"UPDATE \"user\" SET name = 'n{number}' WHERE id = 'u5'")
        session.wrote()
        assert session.read(reads.user("u5"))["name"] == f"n{number}"
        assert session.batch([reads.user("u5")])[0]["name"] == f"n{number}"
        assert session.token is not None


def test_a_session_asks_for_what_it_has_seen(asker: Asker) -> None:
    session = asker.session()
    assert session.token is None
    first = session.answer(reads.user("u6"))
    assert first.level == "fully-consistent"
    assert session.token == first.position
    second = session.answer(reads.user("u6"))
    assert second.level.startswith("at-least-as-fresh")


def test_a_write_that_failed_half_way_leaves_the_session_fully_consistent(own: House) -> None:
    with Asker("blocking", own.sidecar.socket_url) as asker:
        session = asker.session()
        session.read(reads.user("u6"))
        with pytest.raises(RuntimeError, match="in the write"), session.writing():
            own.sidecar.stop()
            raise RuntimeError("in the write")
        assert session.token is None
        own.sidecar.start()
        assert session.answer(reads.user("u6")).level == "fully-consistent"
        # An ordinary answer may name a state before the write: only a fence ends it.
        assert session.token is None
        session.wrote()
        assert session.answer(reads.user("u6")).level.startswith("at-least-as-fresh")


def test_the_newest_token_is_kept_whatever_order_answers_come_in() -> None:
    freshness = Freshness()
    for token, expected in [
        (f"{A}-9", f"{A}-9"),
        (f"{A}-10", f"{A}-10"),
        (f"{A}-9", f"{A}-10"),
        (f"{A}-a", f"{A}-10"),
        (f"{A}-1f", f"{A}-1f"),
        (f"{B}-1", f"{B}-1"),
    ]:
        freshness.seen(token, freshness.generation)
        assert freshness.token == expected


def test_an_answer_asked_for_before_a_write_does_not_count_after_it() -> None:
    freshness = Freshness()
    before = freshness.generation
    fence = freshness.wrote()
    freshness.seen(f"{A}-7", before)
    freshness.seen(f"{A}-7", freshness.generation)
    assert freshness.level is None
    overtaken, fence = fence, freshness.wrote()
    freshness.fenced(f"{A}-8", overtaken)
    assert freshness.level is None
    freshness.fenced(f"{A}-9", fence)
    assert freshness.token == f"{A}-9"


def test_events_name_each_change_and_go_on_from_a_token(asker: Asker, shared: House) -> None:
    since = asker.position()
    events = asker.events()
    first = next(events)
    assert first.name == "heartbeat"
    shared.execute("UPDATE \"user\" SET name = name || '.' WHERE id = 'u7'")
    event = next(event for event in events if event.name == "invalidation")
    assert "user.id:u7" in event.tags
    events.close()
    events = asker.events(since)
    replayed = next(event for event in events if event.name == "invalidation")
    assert replayed == event
    events.close()
    with pytest.raises(neverstale.Malformed):
        next(asker.events("no-token"))


def test_a_stream_that_the_sidecar_ends_ends(kind: str, own: House) -> None:
    with Asker(kind, own.sidecar.url) as asker:
        events = asker.events()
        next(events)
        assert own.sidecar.end() == 0
        assert [event for event in events if event.name != "heartbeat"] == []
