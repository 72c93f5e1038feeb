"""Approvals: one yes for one call, of one persona, with exactly these arguments, for an hour."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

from scale_mcp.hosting import approvals as module
from scale_mcp.hosting.approvals import Approval, ApprovalRefused, Approvals, TooManyWaiting
from scale_mcp.hosting.audit.recorder import Recorder
from scale_mcp.hosting.audit.search import Query, Trail
from scale_mcp.hosting.audit.verification import verify
from scale_mcp.hosting.store import Database

pytestmark = pytest.mark.anyio
CALL = {"persona_id": "per_ada", "tool": "cancel_task", "digest": "sha256:1"}


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(microseconds=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def waiting(database: Database, clock: Clock) -> Approvals:
    return Approvals(database, Recorder(database, clock), clock)


async def ask(approvals: Approvals, **changes: Any) -> Approval:
    return await approvals.request(
        **{**CALL, "persona": "ada", "arguments": {"n": 1}, "why": "cannot be undone", **changes}
    )


async def test_a_yes_serves_one_call(waiting: Approvals) -> None:
    assert await waiting.take(**CALL) is None
    asked = await ask(waiting)
    assert await waiting.take(**CALL) == "waiting"
    decided = await waiting.approve(asked.id, by="cli:root")
    assert (decided.state, decided.decided_by) == ("approved", "cli:root")
    assert [await waiting.take(**CALL), await waiting.take(**CALL)] == ["approved", None]
    used = await waiting.get(asked.id)
    assert used is not None
    assert (used.state, used.used_at is not None) == ("used", True)


@pytest.mark.parametrize("other", [{"persona_id": "per_eve"}, {"tool": "delete_batch"}, {"digest": "sha256:2"}])
async def test_a_yes_is_for_this_persona_this_tool_and_these_arguments(
    waiting: Approvals, other: dict[str, str]
) -> None:
    await waiting.approve((await ask(waiting)).id, by="cli:root")
    assert await waiting.take(**{**CALL, **other}) is None
    assert await waiting.take(**CALL) == "approved"


async def test_of_many_who_take_it_at_once_one_gets_it(waiting: Approvals) -> None:
    await waiting.approve((await ask(waiting)).id, by="cli:root")
    got: list[str | None] = []

    async def take() -> None:
        got.append(await waiting.take(**CALL))

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(take)
    assert Counter(got) == {"approved": 1, None: 7}


async def test_the_same_call_asked_again_is_one_question(waiting: Approvals) -> None:
    asked: list[str] = []

    async def again() -> None:
        asked.append((await ask(waiting)).id)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(again)
    assert len(set(asked)) == 1
    assert len(await waiting.list()) == 1


async def test_a_no_holds_until_it_expires_and_may_then_be_asked_again(waiting: Approvals, clock: Clock) -> None:
    asked = await ask(waiting)
    await waiting.deny(asked.id, by="cli:root")
    assert [await waiting.take(**CALL), await waiting.take(**CALL)] == ["denied", "denied"]
    clock.now += timedelta(hours=1)
    assert await waiting.take(**CALL) is None
    assert (await ask(waiting)).id != asked.id


async def test_a_yes_that_was_not_used_can_be_taken_back(waiting: Approvals) -> None:
    asked = await ask(waiting)
    await waiting.approve(asked.id, by="cli:root")
    await waiting.deny(asked.id, by="cli:root")
    assert await waiting.take(**CALL) == "denied"


@pytest.mark.parametrize("approved", [True, False])
async def test_questions_and_answers_expire_after_an_hour(waiting: Approvals, clock: Clock, approved: bool) -> None:
    asked = await ask(waiting)
    clock.now += timedelta(minutes=59)
    if approved:
        await waiting.approve(asked.id, by="cli:root")
        clock.now += timedelta(minutes=59)
        assert await waiting.list() == []
    else:
        assert len(await waiting.list()) == 1
    clock.now += timedelta(minutes=2)
    assert await waiting.take(**CALL) is None
    assert await waiting.list() == []
    (listed,) = await waiting.list(closed=True)
    assert listed.state == "expired"
    with pytest.raises(ApprovalRefused, match="expired"):
        await waiting.approve(asked.id, by="cli:root")


async def test_what_is_decided_or_unknown_cannot_be_decided(waiting: Approvals) -> None:
    asked = await ask(waiting)
    await waiting.deny(asked.id, by="cli:root")
    for deed in (waiting.approve, waiting.deny):
        with pytest.raises(ApprovalRefused, match="is denied by cli:root"):
            await deed(asked.id, by="cli:eve")
        with pytest.raises(ApprovalRefused, match="There is no approval"):
            await deed("app_unknown", by="cli:eve")


async def test_of_a_yes_and_a_no_at_once_one_stands(waiting: Approvals) -> None:
    asked = await ask(waiting)
    refused = 0

    async def decide(deed: Any) -> None:
        nonlocal refused
        try:
            await deed(asked.id, by="cli:root")
        except ApprovalRefused:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(decide, waiting.approve)
            tasks.start_soon(decide, waiting.deny)
    assert refused >= 6  # a yes may be taken back once, a no stands
    assert await waiting.take(**CALL) == "denied"


async def test_one_persona_cannot_flood_the_operator(waiting: Approvals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_WAITING", 2)
    await ask(waiting, digest="sha256:1")
    first = await ask(waiting, digest="sha256:2")
    with pytest.raises(TooManyWaiting, match="Wait until some are decided"):
        await ask(waiting, digest="sha256:3")
    assert (await ask(waiting, digest="sha256:2")).id == first.id
    assert (await ask(waiting, persona_id="per_eve")).state == "waiting"


async def test_arguments_are_shown_without_secrets(waiting: Approvals) -> None:
    asked = await ask(waiting, arguments={"api_key": "x", "note": "live_5up3rs3cr3tv4lu3\u202e"})
    found = await waiting.get(asked.id)
    assert found is not None
    assert found.arguments == {"api_key": "[redacted]", "note": "[redacted]"}


async def test_every_step_is_in_the_trail(waiting: Approvals, database: Database) -> None:
    await waiting.approve((await ask(waiting)).id, by="cli:root")
    await waiting.take(**CALL)
    rows = [row async for row in Trail(database).all(Query(kind="approval."))]
    assert [(row.kind, row.content["actor"]) for row in rows] == [
        ("approval.asked", "persona:ada"),
        ("approval.approved", "cli:root"),
        ("approval.used", "persona:ada"),
    ]
    assert (await verify(database)).holds
