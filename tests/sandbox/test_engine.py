"""The simulated workforce: who works on what when, on a clock that only moves by hand."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.sandbox.accounts import account_for
from tests.sandbox.calls import BOXES, batch, ok, project, refused, task

pytestmark = pytest.mark.anyio
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class Shop:
    """A sandbox of its own kind and a live caller of it."""

    def __init__(self, **options: Any) -> None:
        self.sandbox = Sandbox(SandboxOptions(clock="manual", **options))

    async def __aenter__(self) -> tuple[Sandbox, httpx2.AsyncClient]:
        await self.sandbox.start()
        self.client = httpx2.AsyncClient(
            transport=self.sandbox.transport(), base_url=SANDBOX_URL, auth=("live_shop", "")
        )
        return self.sandbox, self.client

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        await self.sandbox.close()


async def documents(client: httpx2.AsyncClient) -> list[dict[str, Any]]:
    """All tasks, oldest first."""
    return list((await ok(client.get("/tasks")))["docs"][::-1])


async def test_a_task_is_queued_then_started_then_completed() -> None:
    async with Shop() as (sandbox, live):
        await task(live)
        await sandbox.advance(MINUTE - 1)
        assert [each["work_started"] for each in await documents(live)] == [False]
        await sandbox.advance(1)
        (started,) = await documents(live)
        assert (started["status"], started["work_started"]) == ("pending", True)
        await sandbox.advance(DAY)
        (done,) = await documents(live)
        assert done["status"] == "completed"
        assert done["created_at"] < started["updated_at"] < done["completed_at"] == done["updated_at"]
        assert done["response"]["annotations"] == []
        assert done["simulation"]["truth"] == "none"
        assert "simulation" not in done["response"]


async def test_a_worker_does_one_task_at_a_time_oldest_first() -> None:
    async with Shop(workers=1) as (sandbox, live):
        for _ in range(4):
            await task(live)
            await sandbox.advance(1)
        await sandbox.advance(MINUTE)
        assert [each["work_started"] for each in await documents(live)] == [True, False, False, False]
        await sandbox.advance(DAY)
        times = [each["completed_at"] for each in await documents(live)]
        assert times == sorted(times)
        assert len(set(times)) == 4


async def test_as_many_tasks_are_worked_on_as_there_are_workers() -> None:
    async with Shop(workers=3) as (sandbox, live):
        for _ in range(5):
            await task(live)
        await sandbox.advance(MINUTE)
        assert [each["work_started"] for each in await documents(live)] == [True, True, True, False, False]
        assert sandbox.store.value("SELECT count(*) FROM agenda WHERE kind = 'task_done'") == 3


async def test_priority_goes_before_age_and_that_of_the_batch_before_that_of_the_task() -> None:
    async with Shop(workers=1) as (sandbox, live):
        await project(live, params={"geometries": BOXES})
        await batch(live, "usual")
        await batch(live, "urgent")
        names = {}
        for name, where in (
            ("plain", {}),
            ("low", {"priority": 10}),
            ("high", {"priority": 30}),
            ("usual batch", {"batch": "usual", "priority": 20}),
            ("urgent batch", {"batch": "urgent"}),
            ("urgent batch, high", {"batch": "urgent", "priority": 30}),
        ):
            names[(await task(live, **where))["task_id"]] = name
        await ok(live.post("/batches/urgent/prioritize", json={"priority": 30}))
        await sandbox.advance(2 * DAY)
        done = sorted(await documents(live), key=lambda each: each["completed_at"])
        assert [names[each["task_id"]] for each in done] == [
            *("urgent batch, high", "urgent batch", "high", "usual batch", "plain", "low"),
        ]


async def test_one_long_advance_and_many_short_ones_come_to_the_same() -> None:
    async def run(steps: int) -> list[tuple[str, Any]]:
        async with Shop(workers=2, seed=3) as (sandbox, live):
            start = sandbox.clock.now()
            for _ in range(6):
                await task(live)
            for _ in range(steps):
                await sandbox.advance(DAY / steps)
            return [
                (each["simulation"]["worker"], round(sandbox_time(each["completed_at"]) - start, 1))
                for each in await documents(live)
            ]

    assert await run(1) == await run(500)


def sandbox_time(iso: str) -> float:
    from scale_mcp.sandbox.clock import from_iso

    return from_iso(iso)


async def test_accounts_do_not_share_workers() -> None:
    async with (
        Shop(workers=1) as (sandbox, live),
        httpx2.AsyncClient(transport=sandbox.transport(), base_url=SANDBOX_URL, auth=("live_other", "")) as other,
    ):
        await task(live)
        await task(other)
        await sandbox.advance(MINUTE)
        for client in (live, other):
            assert [each["work_started"] for each in await documents(client)] == [True]


async def test_a_hypothesis_is_what_a_worker_starts_from() -> None:
    async with Shop() as (sandbox, live):
        box = {"type": "box", "label": "car", "left": 100, "top": 50, "width": 200, "height": 100}
        await task(live, hypothesis={"annotations": [box]})
        await sandbox.advance(DAY)
        (done,) = await documents(live)
        (found,) = done["response"]["annotations"]
        assert (found["type"], found["label"]) == ("box", "car")
        assert abs(found["left"] - 100) < 30
        assert done["simulation"]["truth"] == "hypothesis"


async def test_recalled_tasks_are_done_again_and_keep_their_earlier_response() -> None:
    async with Shop(recall_rate=1.0) as (sandbox, live):
        await project(live)
        await batch(live)
        await task(live, batch="first")
        while not (await documents(live))[0].get("completed_at"):
            await sandbox.advance(MINUTE)
        (done,) = await documents(live)
        await sandbox.advance(HOUR)
        (recalled,) = await documents(live)
        assert (recalled["status"], recalled["work_started"]) == ("pending", False)
        assert recalled["prior_responses"] == [done["response"]]
        assert not {"response", "completed_at"} & recalled.keys()
        assert await ok(live.get("/batches/first/status")) == {"status": "in_progress", "pending": 1}


async def test_a_rejected_task_is_done_again_where_the_sandbox_is_set_so() -> None:
    for rate, status in ((0.0, "completed"), (1.0, "pending")):
        async with Shop(redo_rate=rate) as (sandbox, live):
            await task(live)
            await sandbox.advance(DAY)
            (done,) = await documents(live)
            await ok(live.post(f"/task/{done['task_id']}/audit", json={"accepted": False}))
            await sandbox.advance(10 * MINUTE)
            assert (await documents(live))[0]["status"] == status


async def test_a_large_batch_is_released_piece_by_piece_and_entirely(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scale_mcp.sandbox.engine.RELEASED_AT_ONCE", 7)
    async with Shop(workers=50) as (sandbox, live):
        await project(live, "seeded", studio=True, params={"geometries": BOXES})
        account = account_for("live_shop")
        assert account is not None
        sandbox.seed_tasks(account, 40, batch="big", completed=False)
        await sandbox.advance(HOUR)
        assert not any(each["work_started"] for each in await documents(live))
        await ok(live.post("/batches/big/finalize"))
        await sandbox.advance(DAY)
        assert await ok(live.get("/batches/big/status")) == {"status": "completed", "completed": 40}


async def test_the_next_task_is_found_by_the_index_of_the_waiting(sandbox: Sandbox) -> None:
    (line,) = sandbox.store.plan(
        "SELECT seq, created_ms FROM tasks INDEXED BY tasks_waiting"
        " WHERE account_no = ? AND lane = ? AND queue_rank IS NOT NULL ORDER BY queue_rank, seq LIMIT 1",
        (1, 0),
    )
    assert line == "SEARCH tasks USING INDEX tasks_waiting (account_no=? AND lane=? AND queue_rank>?)"


async def test_an_answer_that_cannot_be_made_does_not_stop_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("on purpose")

    monkeypatch.setattr("scale_mcp.sandbox.answers.live_answer", broken)
    async with Shop(workers=1) as (sandbox, live):
        await task(live)
        await task(live)
        await sandbox.advance(DAY)
        assert [(each["status"], each["response"]) for each in await documents(live)] == [("completed", {})] * 2


async def studio_batch(live: httpx2.AsyncClient, name: str = "first", tasks: int = 6) -> None:
    await batch(live, name)
    for _ in range(tasks):
        await task(live, batch=name)
    await ok(live.post(f"/batches/{name}/finalize"))


def workers_of(sandbox: Sandbox) -> list[str]:
    """Who is at work now."""
    return sorted(row["worker"] for row in sandbox.store.query("SELECT worker FROM assignments"))


async def test_studio_tasks_go_to_those_assigned_to_the_project(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    await project(live, studio=True)
    pair = [worker.email for worker in sandbox.engine.workers[:2]]
    await ok(live.post("/studio/assignments/add", json={"emails": pair, "projects": ["cars"]}))
    await studio_batch(live)
    await sandbox.advance(60)
    assert workers_of(sandbox) == sorted(pair)
    await sandbox.advance(DAY)
    assert await ok(live.get("/batches/first/status")) == {"status": "completed", "completed": 6}


async def test_a_batch_given_to_groups_is_theirs_and_other_work_goes_on(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    await project(live, studio=True)
    emails = [worker.email for worker in sandbox.engine.workers[:3]]
    await ok(live.post("/studio/assignments/add", json={"emails": emails, "projects": ["cars"]}))
    await ok(live.post("/studio/projects/cars/groups", json={"name": "night", "emails": emails[:1]}))
    await batch(live)
    await ok(live.put("/studio/batches/first", json={"groups": ["night"]}))
    for _ in range(3):
        await task(live, batch="first")
    await ok(live.post("/batches/first/finalize"))
    loose = [(await task(live))["task_id"] for _ in range(4)]
    await sandbox.advance(60)
    assert emails[0] in workers_of(sandbox)
    assert len(workers_of(sandbox)) == 5
    started = [(await ok(live.get(f"/task/{each}")))["work_started"] for each in loose]
    assert all(started)
    await ok(live.put("/studio/projects/cars/groups/night", json={"remove_emails": emails[:1]}))
    await sandbox.advance(DAY)
    assert (await ok(live.get("/batches/first/status")))["pending"] == 2, "an empty group works on nothing"
    await ok(live.put("/studio/projects/cars/groups/night", json={"add_emails": emails[1:2]}))
    await sandbox.advance(DAY)
    assert (await ok(live.get("/batches/first/status")))["status"] == "completed"


async def test_an_invited_teammate_accepts_and_works_like_a_simulated_one(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    await project(live, studio=True)
    await ok(live.post("/teams/invite", json={"emails": ["Eve@example.com"], "team_role": "labeler"}))
    who = {"emails": ["eve@example.com"], "projects": ["cars"]}
    await refused(live.post("/studio/assignments/add", json=who), 400)
    await sandbox.advance(DAY)
    (eve,) = [each for each in await ok(live.get("/teams")) if each["email"] == "Eve@example.com"]
    assert (eve["role"], eve["firstName"], "expiry" in eve) == ("labeler", "Eve", False)
    await ok(live.post("/studio/assignments/add", json=who))
    await studio_batch(live, tasks=2)
    await sandbox.advance(60)
    assert workers_of(sandbox) == ["Eve@example.com"]
    await sandbox.advance(DAY)
    assert (await ok(live.get("/batches/first/status")))["status"] == "completed"


async def test_an_invitation_renewed_is_accepted_later(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    async def role() -> str:
        return str(next(e["role"] for e in await ok(live.get("/teams")) if e["email"] == "eve@example.com"))

    for wait in (DAY / 2, DAY / 2 + 1):
        await ok(live.post("/teams/invite", json={"emails": ["eve@example.com"], "team_role": "member"}))
        await sandbox.advance(wait)
        assert await role() == "invited"
    await sandbox.advance(DAY / 2)
    assert await role() == "member"
