"""What is true of a task or batch, and what must have happened when it was something else before.

Callbacks arrive late, twice and in any order, polls overlap, and replicas see the same thing. So an event is not made
from what somebody says has happened, but from the difference between what was known and what Scale says now.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from scale_mcp.models.batches import Batch
    from scale_mcp.models.tasks import Task
    from scale_mcp.tools.feed import EventKind

Subject = Literal["task", "batch"]

MAX_TEXT = 500  # characters of any text that is kept
FINISHED: dict[str, EventKind] = {"completed": "completed", "error": "error", "canceled": "canceled"}


@dataclass(frozen=True)
class Facts:
    """What Scale says of a task or batch. Times are Scale's own, as it writes them."""

    subject: Subject
    name: str  # the task's id, the batch's name
    status: str
    updated_at: str | None = None
    completed_at: str | None = None
    review: str | None = None
    audited_at: str | None = None
    project: str | None = None
    batch: str | None = None

    def after(self, before: Facts | None) -> Facts:
        """These, with what is worth remembering of what was known before: when it was last completed and audited."""
        if before is None:
            return self
        return replace(
            self,
            completed_at=self.completed_at or before.completed_at,
            audited_at=self.audited_at or before.audited_at,
        )

    def older_than(self, other: Facts) -> bool:
        """Whether this was read before the other, going by Scale's time of the last update."""
        mine, others = time_of(self.updated_at), time_of(other.updated_at)
        return mine is not None and others is not None and mine < others


@dataclass(frozen=True)
class Happening:
    """An event in the making."""

    kind: EventKind
    at: str | None


def of_task(task: Task) -> Facts:
    audited = [audit.audited_at for audit in task.audits if audit.audited_at]
    return Facts(
        subject="task",
        name=storable(task.task_id) or "",
        status=storable(task.status) or "",
        updated_at=storable(task.updated_at),
        completed_at=storable(task.completed_at),
        review=storable(task.customer_review_status),
        audited_at=storable(max(audited, default=None)),
        project=storable(task.project),
        batch=storable(task.batch),
    )


def of_batch(batch: Batch) -> Facts:
    name = storable(batch.name)
    return Facts(
        subject="batch",
        name=name or "",
        status=storable(batch.status) or "",
        completed_at=storable(batch.completed_at),
        project=storable(batch.project),
        batch=name,
    )


def happened(before: Facts | None, now: Facts, *, since: datetime | None, said: str | None) -> list[Happening]:
    """What makes ``now`` out of ``before``, in its order; nothing when nothing worth telling has.

    since  for what was never heard of before: only what is at least this new is news. None: everything is.
    said   the status that a callback claimed. It is believed in one case only: that a pending task of which nothing
           is known was recalled, because Scale calls back about no other pending tasks.
    """
    if before is not None and now.older_than(before):
        return []
    found: list[Happening] = []
    if change := _status_change(before, now, since, said):
        found.append(change)
    if now.subject == "task" and _is_audited(before, now, since):
        found.append(Happening("audited", now.audited_at or now.updated_at))
    return found


def _status_change(before: Facts | None, now: Facts, since: datetime | None, said: str | None) -> Happening | None:
    at = now.completed_at if now.status == "completed" and now.completed_at else now.updated_at
    if now.subject == "batch":
        done = now.status == "completed" and (before is None or _again(before, now))
        return Happening("batch_completed", at) if done and _is_news(before, at, since) else None
    if kind := FINISHED.get(now.status):
        changed = before is None or _again(before, now)
        return Happening(kind, at) if changed and _is_news(before, at, since) else None
    if now.status == "pending" and (said == "pending" if before is None else before.status in FINISHED):
        return Happening("recalled", at)
    return None


def _again(before: Facts, now: Facts) -> bool:
    """Whether it came to its status since, be it from another one or once more."""
    if now.status == "completed" and before.completed_at and now.completed_at:
        return before.completed_at != now.completed_at  # the very same completion, whatever was seen in between
    return before.status != now.status


def _is_audited(before: Facts | None, now: Facts, since: datetime | None) -> bool:
    if now.review in (None, "", "pending"):
        return False
    if before is None:
        return _is_news(before, now.audited_at or now.completed_at, since)
    return before.review != now.review or now.audited_at not in (None, before.audited_at)


def _is_news(before: Facts | None, at: str | None, since: datetime | None) -> bool:
    moment = time_of(at)
    return before is not None or since is None or moment is None or moment >= since


def time_of(text: str | None) -> datetime | None:
    """A time as Scale writes it; None for none and for what is no time. Without an offset it is UTC."""
    try:
        moment = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def storable(text: str | None) -> str | None:
    """A text as every database takes it: no NUL, no half surrogate pair, of bounded length."""
    if text is None:
        return None
    return text[:MAX_TEXT].replace("\0", "").encode("utf-8", "replace").decode()
