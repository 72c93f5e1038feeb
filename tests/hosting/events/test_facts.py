"""What happened, from what was known and what Scale says now: nothing twice, nothing from old readings, no old news."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as some

from scale_mcp.hosting.events.facts import Facts, happened, of_batch, of_task, storable, time_of
from scale_mcp.models.batches import Batch
from scale_mcp.models.tasks import Task

PENDING = Facts("task", "t1", "pending", updated_at="2026-01-01T00:00:01Z")
COMPLETED = replace(PENDING, status="completed", updated_at="2026-01-01T00:00:02Z", completed_at="2026-01-01T00:00:02Z")
AUDITED = replace(COMPLETED, review="rejected", updated_at="2026-01-01T00:00:03Z", audited_at="2026-01-01T00:00:03Z")
RECALLED = replace(PENDING, updated_at="2026-01-01T00:00:04Z")
AGAIN = replace(COMPLETED, updated_at="2026-01-01T00:00:05Z", completed_at="2026-01-01T00:00:05Z")
LIFE = (PENDING, COMPLETED, AUDITED, RECALLED, AGAIN)


def kinds(before: Facts | None, now: Facts, since: datetime | None = None, said: str | None = None) -> list[str]:
    return [happening.kind for happening in happened(before, now, since=since, said=said)]


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, PENDING, []),
        (None, COMPLETED, ["completed"]),
        (None, AUDITED, ["completed", "audited"]),
        (None, replace(PENDING, status="error"), ["error"]),
        (None, replace(PENDING, status="canceled"), ["canceled"]),
        (None, replace(PENDING, status="something new"), []),
        (PENDING, COMPLETED, ["completed"]),
        (COMPLETED, COMPLETED, []),
        (COMPLETED, replace(COMPLETED, updated_at="2026-01-02T00:00:00Z"), []),  # a tag was added
        (COMPLETED, AUDITED, ["audited"]),
        (AUDITED, replace(AUDITED, review="fixed"), ["audited"]),
        (AUDITED, replace(AUDITED, audited_at="2026-01-01T00:00:09Z"), ["audited"]),
        (AUDITED, replace(AUDITED, audited_at=None), []),
        (COMPLETED, replace(COMPLETED, review="pending"), []),
        (COMPLETED, RECALLED, ["recalled"]),
        (RECALLED, AGAIN, ["completed"]),
        (COMPLETED, AGAIN, ["completed"]),  # recalled and done again in between
        (AGAIN, COMPLETED, []),  # read before, noted after
        (RECALLED, PENDING, []),
    ],
)
def test_an_event_is_a_difference(before: Facts | None, now: Facts, expected: list[str]) -> None:
    assert kinds(before, now) == expected


@given(some.lists(some.sampled_from(LIFE), max_size=30))
def test_however_often_and_in_whatever_order_it_is_read_nothing_is_told_twice(readings: list[Facts]) -> None:
    known: Facts | None = None
    told: list[tuple[str, str | None]] = []
    for reading in readings:
        if known is not None and reading.older_than(known):
            continue
        told += [(each.kind, each.at) for each in happened(known, reading, since=None, said=None)]
        known = reading.after(known)
    assert len(told) == len(set(told))
    if COMPLETED in readings and readings[0] is COMPLETED:
        assert told[0] == ("completed", COMPLETED.completed_at)


def test_old_news_of_what_was_unknown_is_none_but_a_change_is_always_news() -> None:
    since = datetime(2026, 1, 1, 0, 0, 4, tzinfo=UTC)

    assert kinds(None, AUDITED, since) == []
    assert kinds(None, AGAIN, since) == ["completed"]
    assert kinds(PENDING, COMPLETED, since) == ["completed"]


def test_a_batch_is_done_once_also_when_it_was_seen_undone_in_between() -> None:
    undone = Facts("batch", "night", "in_progress", batch="night")
    done = replace(undone, status="completed", completed_at="2026-01-01T00:00:00Z")
    later = replace(done, completed_at="2026-01-03T00:00:00Z")

    assert kinds(undone, done) == ["batch_completed"]
    assert kinds(done, undone) == []
    assert kinds(undone.after(done), done) == []
    assert kinds(undone.after(done), later) == ["batch_completed"]


def test_a_pending_task_nobody_knew_is_recalled_only_when_its_callback_says_pending() -> None:
    assert kinds(None, PENDING, said="pending") == ["recalled"]
    assert kinds(None, PENDING, said="completed") == []
    assert kinds(PENDING, PENDING, said="pending") == []


def test_what_scale_sends_is_read_into_facts() -> None:
    audits = [{"audited_at": "2026-01-02T00:00:00Z"}, {"audited_at": "2026-01-01T00:00:00Z"}, {}]
    task = Task.model_validate({"task_id": "t1", "status": "completed", "project": "a\0b", "audits": audits})
    assert of_task(task) == Facts("task", "t1", "completed", audited_at="2026-01-02T00:00:00Z", project="ab")
    batch = Batch.model_validate({"name": "night", "status": "completed", "project": "streets"})
    assert of_batch(batch) == Facts("batch", "night", "completed", project="streets", batch="night")


@pytest.mark.parametrize("text", [None, "", "yesterday", "2026-13-01"])
def test_what_is_no_time_is_none(text: str | None) -> None:
    assert time_of(text) is None


@given(some.text(alphabet=some.characters(exclude_categories=()), max_size=600))
def test_whatever_is_kept_can_be_written_into_any_database(text: str) -> None:
    kept = storable(text)
    assert kept is not None
    assert "\0" not in kept
    assert len(kept.encode("utf-8")) <= 4 * 500
