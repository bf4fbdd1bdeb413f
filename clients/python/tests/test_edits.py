"""What a save changes: the difference between what its request was given and what it writes, put into what is there now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from neverstale.openwebui import edits
from neverstale.openwebui.documents import ABSENT
from neverstale.openwebui.edits import SEVERAL, UNKNOWN, base, change, given, merged, saved
from neverstale.openwebui.snapshot import Plan, Snapshot, current


class Refused(Exception):
    """Stands for the application's 412."""


@pytest.fixture(autouse=True)
def request_of_the_application(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    # The application brings what refuses.
    monkeypatch.setattr(edits, "somebody_was_faster", Refused)
    token = current.set(Snapshot(Plan()))
    yield
    current.reset(token)


@pytest.mark.parametrize(
    ("was", "value", "now", "expected"),
    [
        ({"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 3}, {"a": 2, "b": 3}),
        ({"a": {"x": 1, "y": 1}}, {"a": {"x": 2, "y": 1}}, {"a": {"x": 1, "y": 5}, "new": 0}, {"a": {"x": 2, "y": 5}, "new": 0}),
        ({"a": 1, "b": 1}, {"b": 1}, {"a": 1, "b": 2}, {"b": 2}),
        ({}, {"a": None}, {"b": 1}, {"a": None, "b": 1}),
        ({"a": 1}, {"a": 1}, {"a": 7}, {"a": 7}),
        # Both have come to the same.
        ({"a": 1}, {"a": 2}, {"a": 2}, {"a": 2}),
        ([1], [1, 2], [1], [1, 2]),
        (ABSENT, [1], ABSENT, [1]),
        # Things with ids are told apart by these.
        ([{"id": "x", "n": 1}], [{"id": "x", "n": 1}, {"id": "y"}], [{"id": "x", "n": 2}, {"id": "z"}],
         [{"id": "x", "n": 2}, {"id": "z"}, {"id": "y"}]),
        ([{"id": "x"}, {"id": "y"}], [{"id": "y"}], [{"id": "x"}, {"id": "y"}, {"id": "z"}], [{"id": "y"}, {"id": "z"}]),
        ({"a": 1}, ABSENT, {"a": 1}, ABSENT),
    ],
)  # fmt: skip
def test_both_changes_are_in_what_is_saved(was: Any, value: Any, now: Any, expected: Any) -> None:
    assert merged(was, value, now) == expected


@pytest.mark.parametrize(
    ("was", "value", "now"),
    [
        ({"a": 1}, {"a": 2}, {"a": 3}),
        # To Python they are equal.
        ({"a": 0}, {"a": 1}, {"a": True}),
        ([], [1], [2]),
        ({"a": 1}, {}, {"a": 2}),
        (ABSENT, [1], [2]),
        ([{"id": "x"}, {"id": "y"}], [{"id": "y"}, {"id": "x"}], [{"id": "x"}]),
        ([{"id": "x"}], [{"id": "x"}, {"id": "x"}], [{"id": "y"}]),
        ([{"id": "x", "n": 1}], [{"id": "x", "n": 2}], [{"id": "x", "n": 3}]),
        ({"a": {"b": 1}}, {"a": {"b": 2}}, {"a": None}),
        ({"a": 1}, {"a": 2}, ABSENT),
    ],
)
def test_whoever_changes_the_very_same_thing_later_is_refused(was: Any, value: Any, now: Any) -> None:
    with pytest.raises(Refused):
        merged(was, value, now)


def test_what_a_request_was_given_and_does_not_change_is_not_written() -> None:
    given("k", {"a": 1, "b": [True]})
    assert change(base("k"), {"b": [True], "a": 1}) is None
    assert change(base("k"), {"b": [1], "a": 1}) is not None
    given("n", 7)
    assert change(base("n"), 7) is None


def test_of_single_values_the_last_one_counts_and_what_was_not_read_is_written_as_it_comes() -> None:
    given("n", 7)
    made = change(base("n"), 8)
    assert made is not None and made(9) == 8
    made = change(base("unread"), {"a": 1})
    assert base("unread") is UNKNOWN and made is not None and made({"b": 1}) == {"a": 1}


def test_a_request_that_was_given_two_things_is_refused_and_not_guessed_at() -> None:
    given("k", {"a": 1})
    given("k", {"a": 1})
    assert base("k") == {"a": 1}
    given("k", {"a": 2})
    assert base("k") is SEVERAL
    made = change(base("k"), {"a": 1, "b": 1})
    assert made is not None
    with pytest.raises(Refused):
        made({"a": 2})
    # But not where nothing is lost.
    assert made({"a": 1, "b": 1}) == {"a": 1, "b": 1}


def test_what_a_request_has_written_itself_is_what_it_goes_on_from() -> None:
    given("k", {"a": 1})
    saved("k", {"a": 2})
    given("k", {"a": 2})
    made = change(base("k"), {"a": 3})
    assert made is not None and made({"a": 2, "b": 1}) == {"a": 3, "b": 1}


def test_the_members_of_a_users_settings_are_told_apart() -> None:
    edits.given_settings("u", {"notifications": {"targets": [1]}, "ui": {}})
    edits.given_settings("u", {"notifications": {"targets": [1]}, "ui": {"theme": "dark"}})
    changes = edits.of_members("u", {"notifications": {"targets": [1, 2]}, "new": [1]})
    assert changes["notifications"]({"targets": [1], "more": 0}) == {"targets": [1, 2], "more": 0}
    assert changes["new"](ABSENT) == [1]
    edits.saved_members("u", {"notifications": {"targets": [1, 2]}})
    assert base((edits.SETTINGS, "u"), "notifications") == {"targets": [1, 2]}
    assert edits.of_members("nobody", {"a": {"b": 1}})["a"]({"c": 1}) == {"b": 1}
