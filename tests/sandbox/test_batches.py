"""Batches: what they hold, and the life cycles of the three product flavours."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox
from scale_mcp.sandbox.batches import SELECT
from tests.sandbox.calls import KINDS, batch, ok, project, refused, task
from tests.sandbox.conftest import Connect

pytestmark = pytest.mark.anyio
HOUR = 3600.0


@pytest.fixture
async def cars(live: httpx2.AsyncClient) -> httpx2.AsyncClient:
    """A live caller who has an Enterprise project, a Rapid and a Studio one."""
    await project(live)
    await project(live, "rapid", rapid=True)
    await project(live, "studio", studio=True)
    return live


async def test_a_batch_is_made_once_and_found_by_its_name(cars: httpx2.AsyncClient) -> None:
    made = await batch(cars, "a/b", metadata={"week": 12}, callback="https://example.com/done")
    assert (
        made.items()
        >= {
            "project": "cars",
            "name": "a/b",
            "status": "in_progress",
            "callback": "https://example.com/done",
            "metadata": {"week": 12},
        }.items()
    )
    assert "status_code" not in made
    assert await ok(cars.get("/batches/a%2Fb")) == made
    await refused(cars.post("/batches", json={"project": "rapid", "name": "a/b"}), 409)
    await refused(cars.get("/batches/none"), 404)


@pytest.mark.parametrize(
    ("wrong", "status"),
    [
        ({"project": None}, 400),
        ({"name": None}, 400),
        ({"name": ""}, 400),
        ({"name": 5}, 400),
        ({"project": "none"}, 404),
        ({"callback": "example.com"}, 400),
        ({"metadata": "x"}, 400),
        ({"calibration_batch": True}, 400),
        ({"self_label_batch": "yes"}, 400),
    ],
)
async def test_a_wrong_batch_is_refused(cars: httpx2.AsyncClient, wrong: dict[str, Any], status: int) -> None:
    await refused(cars.post("/batches", json={"project": "cars", "name": "x", **wrong}), status)
    assert (await ok(cars.get("/batches")))["totalDocs"] == 0


async def test_an_enterprise_batch_is_completed_with_its_last_task_and_goes_on_with_the_next(
    sandbox: Sandbox, cars: httpx2.AsyncClient
) -> None:
    await batch(cars)
    assert await ok(cars.get("/batches/first/status")) == {"status": "in_progress"}
    first, second = await task(cars, batch="first"), await task(cars, batch="first")
    assert await ok(cars.get("/batches/first/status")) == {"status": "in_progress", "pending": 2}
    assert (await ok(cars.post("/batches/first/finalize")))["status"] == "in_progress"
    await ok(cars.post(f"/task/{first['task_id']}/cancel"))
    await sandbox.advance(24 * HOUR)
    assert await ok(cars.get("/batches/first/status")) == {"status": "completed", "completed": 1, "canceled": 1}
    done = await ok(cars.get("/batches/first"))
    assert done["completed_at"] == (await ok(cars.get(f"/task/{second['task_id']}")))["completed_at"]
    await task(cars, batch="first")
    again = await ok(cars.get("/batches/first"))
    assert again["status"] == "in_progress"
    assert "completed_at" not in again
    assert (await ok(cars.post("/batches/first/finalize")))["status"] == "in_progress"


async def test_a_batch_is_completed_when_the_last_pending_task_is_canceled(
    sandbox: Sandbox, cars: httpx2.AsyncClient
) -> None:
    await batch(cars)
    await task(cars, batch="first")
    await sandbox.advance(24 * HOUR)
    other = await task(cars, batch="first")
    assert (await ok(cars.get("/batches/first/status")))["status"] == "in_progress"
    await ok(cars.post(f"/task/{other['task_id']}/cancel"))
    assert (await ok(cars.get("/batches/first/status")))["status"] == "completed"


@pytest.mark.parametrize("flavour", ["rapid", "studio"])
async def test_a_staged_batch_is_worked_on_once_finalized_and_takes_no_more_tasks(
    sandbox: Sandbox, cars: httpx2.AsyncClient, flavour: str
) -> None:
    assert (await batch(cars, project=flavour))["status"] == "staging"
    made = await task(cars, batch="first")
    await sandbox.advance(24 * HOUR)
    assert await ok(cars.get("/batches/first/status")) == {"status": "staging", "pending": 1}
    assert (await ok(cars.post("/batches/first/finalize")))["status"] == "in_progress"
    assert "only staging" in await refused(cars.post("/batches/first/finalize"), 400)
    await refused(cars.post("/task/imageannotation", json={**KINDS["imageannotation"], "batch": "first"}), 400)
    await sandbox.advance(24 * HOUR)
    assert await ok(cars.get("/batches/first/status")) == {"status": "completed", "completed": 1}
    assert (await ok(cars.get(f"/task/{made['task_id']}")))["status"] == "completed"
    await refused(cars.post("/batches/first/finalize"), 400)


async def test_a_staged_test_batch_is_completed_by_finalizing_it(connect: Connect) -> None:
    tester = connect("test_batches")
    await project(tester, rapid=True)
    await batch(tester)
    assert (await task(tester, batch="first"))["status"] == "completed"
    assert await ok(tester.get("/batches/first/status")) == {"status": "staging", "completed": 1}
    assert (await ok(tester.post("/batches/first/finalize")))["status"] == "in_progress"
    assert (await ok(tester.get("/batches/first/status")))["status"] == "completed"


async def test_rapid_batches_say_what_they_are_for(cars: httpx2.AsyncClient) -> None:
    made = await batch(cars, project="rapid", calibration_batch=True)
    assert (made["calibration_batch"], made["self_label_batch"]) == (True, False)


async def test_metadata_and_priority_of_a_batch_are_set(cars: httpx2.AsyncClient) -> None:
    await batch(cars, metadata={"a": 1})
    assert (await ok(cars.post("/batches/first/setMetadata", json={"b": 2})))["metadata"] == {"b": 2}
    assert (await ok(cars.post("/batches/first/setMetadata")))["metadata"] == {}
    assert (await ok(cars.post("/batches/first/prioritize", json={"priority": 25})))["priority"] == 25
    for wrong in ({}, {"priority": 9}, {"priority": 31}, {"priority": "high"}, {"priority": True}):
        await refused(cars.post("/batches/first/prioritize", json=wrong), 400)
    await refused(cars.post("/batches/none/prioritize", json={"priority": 10}), 404)
    await refused(cars.post("/batches/none/setMetadata", json={}), 404)


async def test_batches_are_listed_newest_first_in_pages(sandbox: Sandbox, cars: httpx2.AsyncClient) -> None:
    moments = []
    for number in range(5):
        moments.append(sandbox.clock.iso())
        await batch(cars, f"b{number}", project="studio" if number == 4 else "cars")
        await sandbox.advance(60)
    page = await ok(cars.get("/batches", params={"limit": 2, "offset": 2}))
    assert [each["name"] for each in page.pop("docs")] == ["b2", "b1"]
    assert page == {
        "totalDocs": 5,
        "total": 5,
        "limit": 2,
        "offset": 2,
        "has_more": True,
        "totalPages": 3,
        "page": 2,
        "pagingCounter": 3,
        "hasPrevPage": True,
        "hasNextPage": True,
        "prevPage": 1,
        "nextPage": 3,
    }
    for query, names in (
        ({"project": "studio"}, ["b4"]),
        ({"project": "none"}, []),
        ({"status": "staging"}, ["b4"]),
        ({"status": "in_progress", "limit": 2, "exclude_archived": "False"}, ["b3", "b2"]),
        ({"start_time": moments[3]}, ["b4", "b3"]),
        ({"end_time": moments[1]}, ["b1", "b0"]),
        ({"completed_after": moments[0]}, []),
        ({"audited_before": moments[4]}, []),
    ):
        assert [each["name"] for each in (await ok(cars.get("/batches", params=query)))["docs"]] == names, query
    for wrong in ({"limit": 0}, {"limit": 101}, {"status": "done"}, {"start_time": "x"}, {"offset": -1}):
        await refused(cars.get("/batches", params=wrong), 400)


async def test_audits_and_completions_can_be_filtered_by(sandbox: Sandbox, cars: httpx2.AsyncClient) -> None:
    await batch(cars)
    await batch(cars, "second")
    made = await task(cars, batch="first")
    await sandbox.advance(24 * HOUR)
    audit_time = sandbox.clock.iso()
    await ok(cars.post(f"/task/{made['task_id']}/audit", json={"accepted": True}))
    for query in ({"audited_after": audit_time}, {"completed_before": audit_time}, {"status": "completed"}):
        assert [each["name"] for each in (await ok(cars.get("/batches", params=query)))["docs"]] == ["first"]


async def test_details_are_counts_of_every_status(cars: httpx2.AsyncClient) -> None:
    await batch(cars)
    await task(cars, batch="first")
    (shown,) = (await ok(cars.get("/batches", params={"detailed": "true"})))["docs"]
    counts = {name: shown[name] for name in ("pending", "completed", "error", "canceled", "tasks_pending")}
    assert counts == {"pending": 1, "completed": 0, "error": 0, "canceled": 0, "tasks_pending": 1}


async def test_the_counts_of_a_batch_come_from_counters(sandbox: Sandbox) -> None:
    (line, *_) = sandbox.store.plan(
        "SELECT status, sum(tasks) AS tasks FROM task_counts WHERE scope = ? GROUP BY status", (1,)
    )
    assert line.startswith("SEARCH task_counts USING PRIMARY KEY (scope=?"), line


@pytest.mark.parametrize("where", ["", " AND b.project_no = ?", " AND b.status IN (?)"])
async def test_a_page_of_batches_is_read_in_the_order_of_an_index(sandbox: Sandbox, where: str) -> None:
    sql = f"{SELECT} WHERE b.account_id = ?{where} ORDER BY b.no DESC LIMIT ? OFFSET ?"
    plan = sandbox.store.plan(sql, [1] * sql.count("?"))
    assert not [line for line in plan if "SCAN" in line or "TEMP B-TREE" in line], plan


async def test_a_studio_batch_may_be_for_calibration(live: httpx2.AsyncClient) -> None:
    await project(live, studio=True)
    made = await batch(live, calibration_batch=True)
    assert (made["calibration_batch"], made["self_label_batch"]) == (True, False)
    await refused(live.post("/batches", json={"project": "cars", "name": "own", "self_label_batch": True}), 400)
    await ok(live.post("/batches/first/finalize"))
    (shown,) = await ok(live.get("/studio/batches"))
    assert shown["batchType"] == "Calibration"
