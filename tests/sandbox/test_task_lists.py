"""Lists of tasks: filters, order, both styles of paging, totals; and how SQLite finds them among a million."""

from __future__ import annotations

import itertools
import random
from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox, task_store
from scale_mcp.sandbox.accounts import account_for
from scale_mcp.sandbox.task_query import TaskQuery
from tests.sandbox.calls import batch, listed, ok, project, refused, task
from tests.sandbox.conftest import Connect

pytestmark = pytest.mark.anyio


@pytest.fixture
async def tester(connect: Connect) -> httpx2.AsyncClient:
    return connect("test_lists")


async def test_an_empty_list_has_the_whole_envelope(live: httpx2.AsyncClient) -> None:
    assert await ok(live.get("/tasks")) == {"docs": [], "total": 0, "limit": 100, "offset": 0, "has_more": False}


@pytest.mark.parametrize("style", ["next_token", "offset"])
async def test_every_task_comes_once_newest_first(tester: httpx2.AsyncClient, style: str) -> None:
    made = [(await task(tester))["task_id"] for _ in range(7)]
    found: list[str] = []
    position: Any = ""
    for remaining in (7, 4, 1):
        page = await ok(
            tester.get("/tasks", params={"limit": 3, style: position or 0 if style == "offset" else position})
        )
        found += [each["task_id"] for each in page["docs"]]
        assert (page["total"], page["limit"], page["has_more"]) == (7, 3, remaining > 3)
        assert ("next_token" in page) == page["has_more"]
        position = page.get("next_token") if style == "next_token" else len(found)
    assert found == made[::-1]


async def test_a_token_goes_on_where_it_was_whatever_comes_in_between(tester: httpx2.AsyncClient) -> None:
    made = [(await task(tester))["task_id"] for _ in range(4)]
    first = await ok(tester.get("/tasks", params={"limit": 2}))
    await task(tester)
    second = await ok(tester.get("/tasks", params={"limit": 2, "next_token": first["next_token"]}))
    assert [each["task_id"] for each in second["docs"]] == [made[1], made[0]]
    assert (second["total"], second["has_more"]) == (5, False)


@pytest.mark.parametrize(
    "query",
    [
        {"limit": 0},
        {"limit": 101},
        {"limit": "many"},
        {"offset": -1},
        {"next_token": "nonsense"},
        {"next_token": "WzFd"},
        {"next_token": "WzFlOTksIG51bGxd"},
        {"status": "done"},
        {"customer_review_status": "accepted,perfect"},
        {"start_time": "yesterday"},
        {"updated_after": "2021-13-01"},
    ],
)
async def test_a_wrong_filter_is_refused(live: httpx2.AsyncClient, query: dict[str, Any]) -> None:
    assert next(iter(query)) in await refused(live.get("/tasks", params=query), 400)


async def test_unknown_names_and_filters_give_an_empty_or_unfiltered_list(tester: httpx2.AsyncClient) -> None:
    made = await task(tester)
    for query in ({"project": "none"}, {"batch": "none"}, {"unique_id": "none"}, {"type": "none"}, {"tags": "none"}):
        assert await listed(tester, **query) == []
    assert await listed(tester, colour="red", status="", project="") == [made["task_id"]]


async def test_names_of_project_and_batch_filter_together(tester: httpx2.AsyncClient) -> None:
    await project(tester)
    await project(tester, "vans")
    await batch(tester)
    await batch(tester, "second")
    free, loose = await task(tester), await task(tester, project="cars")
    first, second = await task(tester, batch="first"), await task(tester, batch="second")
    vans = await task(tester, project="vans")
    ids = [each["task_id"] for each in (vans, second, first, loose, free)]
    assert await listed(tester) == ids
    assert await listed(tester, project="cars") == ids[1:4]
    assert await listed(tester, batch="first") == [ids[2]]
    assert await listed(tester, batch="first", project="cars") == [ids[2]]
    assert await listed(tester, batch="first", project="vans") == []


async def test_several_values_of_a_filter_match_any_of_them(tester: httpx2.AsyncClient) -> None:
    ids = []
    for tags, unique_id in ((["a"], "1"), (["b"], "2,3"), (["a", "b"], "4"), (None, None)):
        ids.insert(0, (await task(tester, tags=tags, unique_id=unique_id))["task_id"])
    assert await listed(tester, tags="a") == [ids[1], ids[3]]
    assert await listed(tester, tags=["a", "b"]) == ids[1:]
    page = await ok(tester.get("/tasks", params={"tags": "a,b", "limit": 2}))
    assert (page["total"], page["has_more"]) == (3, True)
    rest = await ok(tester.get("/tasks", params={"tags": "a,b", "limit": 2, "next_token": page["next_token"]}))
    assert [each["task_id"] for each in rest["docs"]] == [ids[3]]
    assert await listed(tester, unique_id=["1", "2,3", "none"]) == [ids[2], ids[3]]
    await tester.post(f"/task/{ids[1]}/audit", json={"accepted": True})
    await tester.post(f"/task/{ids[2]}/audit", json={"accepted": False})
    assert await listed(tester, customer_review_status="accepted,rejected") == [ids[1], ids[2]]
    assert await listed(tester, customer_review_status="accepted", tags="b") == [ids[1]]


async def test_times_are_inclusive_and_without_a_zone_utc(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    made = []
    for _ in range(3):
        made.append(await task(tester))
        await sandbox.advance(3600)
    first, second, third = (each["task_id"] for each in made)
    at = made[1]["created_at"]
    assert await listed(tester, start_time=at) == [third, second]
    assert await listed(tester, end_time=at) == [second, first]
    assert await listed(tester, start_time=at, end_time=at) == [second]
    assert await listed(tester, start_time=at.replace("T", " ").removesuffix("Z") + "999") == [third]
    assert await listed(tester, start_time=at.replace("Z", "+00:00"), end_time=at.replace("Z", "-00:00")) == [second]
    assert await listed(tester, completed_after=at) == [third, second]
    assert await listed(tester, completed_before=at) == [first]
    await tester.post(f"/task/{first}/setMetadata", json={"touched": True})
    now = sandbox.clock.iso()
    assert await listed(tester, updated_after=now) == [first]
    assert await listed(tester, updated_before=now, updated_after=at) == [third, second, first]
    assert await listed(tester, start_time="2000-01-01", end_time="2999-12-31") == [third, second, first]


async def test_a_limited_response_has_few_members(tester: httpx2.AsyncClient) -> None:
    made = await task(tester, metadata={"a": 1})
    page = await ok(tester.get("/tasks", params={"limited_response": "true"}))
    assert page["docs"] == [{"task_id": made["task_id"], "status": "completed", "metadata": {"a": 1}}]


async def test_attachment_urls_lead_to_our_own_files(tester: httpx2.AsyncClient) -> None:
    file = await ok(tester.post("/files/upload", files={"file": ("a.png", b"not a picture")}))
    await task(tester, attachment=file["attachment_url"])
    await task(tester)
    theirs, ours = (await ok(tester.get("/tasks", params={"include_attachment_url": "True"})))["docs"]
    assert "attachmentS3Urls" not in theirs
    answer = await tester.get(ours["attachmentS3Urls"][file["attachment_url"]])
    assert answer.content == b"not a picture"


async def test_totals_and_pages_agree_with_a_plain_count(sandbox: Sandbox, tester: httpx2.AsyncClient) -> None:
    """Every combination of the counted filters, after many random changes, against a look at every row."""
    dice = random.Random(7)
    live = account_for("live_lists")
    assert live is not None
    await project(tester)
    await batch(tester)
    for number in range(40):
        made = await task(tester, batch=dice.choice([None, "first"]), project=dice.choice([None, "cars"]))
        if dice.random() < 0.4:
            await tester.post(f"/task/{made['task_id']}/audit", json={"accepted": dice.random() < 0.5})
        if dice.random() < 0.3:
            await task(tester, "segmentannotation", attachment="http://broken.sandbox.invalid/x", unique_id=f"{number}")
    rows = (await ok(tester.get("/tasks")))["docs"]
    for where, kind, status, review in itertools.product(
        ({}, {"project": "cars"}, {"batch": "first"}),
        (None, "imageannotation", "segmentannotation"),
        (None, "completed", "error", "completed,error"),
        (None, "accepted", "accepted,rejected"),
    ):
        query = {**where, "type": kind, "status": status, "customer_review_status": review}
        query = {name: value for name, value in query.items() if value}
        expected = [
            each["task_id"]
            for each in rows
            if all(each.get(name) in (value.split(",")) for name, value in query.items())
        ]
        page = await ok(tester.get("/tasks", params=query))
        assert ([each["task_id"] for each in page["docs"]], page["total"]) == (expected, len(expected)), query


async def test_deep_offsets_and_times_are_found_by_blocks(
    sandbox: Sandbox, tester: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("task_counters", "task_store"):
        monkeypatch.setattr(f"scale_mcp.sandbox.{module}.BLOCK", 8)
    account = account_for("test_lists")
    assert account is not None
    moments = []
    for _ in range(5):
        sandbox.seed_tasks(account, 13, batch="first")
        moments.append(sandbox.clock.iso())
        await sandbox.advance(60)
    await task(tester)
    ids = [each["task_id"] for each in (await ok(tester.get("/tasks")))["docs"]]
    assert len(ids) == 66
    for offset in range(0, 70, 3):
        page = await ok(tester.get("/tasks", params={"offset": offset, "limit": 5}))
        assert [each["task_id"] for each in page["docs"]] == ids[offset : offset + 5]
        assert page["has_more"] == (offset + 5 < 66)
        assert await listed(tester, offset=offset, limit=5, batch="first") == ids[1:][offset : offset + 5]
    for low, high in itertools.combinations_with_replacement(range(5), 2):
        times = {"start_time": moments[low], "end_time": moments[high], "limit": 1}
        assert (await ok(tester.get("/tasks", params=times)))["total"] == 13 * (high - low + 1)
        assert (await ok(tester.get("/tasks", params={**times, "status": "completed"})))["total"] == 13 * (
            high - low + 1
        )
        assert (await ok(tester.get("/tasks", params={**times, "status": "pending"})))["total"] == 0


async def test_any_filters_together_agree_with_a_look_at_every_task(
    sandbox: Sandbox, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tags, times, ids and names in random company, with few tasks to a block and few to a short range."""
    for module in ("task_counters", "task_store"):
        monkeypatch.setattr(f"scale_mcp.sandbox.{module}.BLOCK", 8)
    monkeypatch.setattr("scale_mcp.sandbox.task_lists.FEW", 6)
    dice, client = random.Random(3), connect("live_lists")
    await project(client)
    await batch(client)
    moments: list[str] = []
    for number in range(70):
        made = await task(
            client,
            batch=dice.choice([None, "first"]),
            project=dice.choice([None, "cars"]),
            tags=dice.choice([None, ["a"], ["b"], ["a", "b"], ["c"]]) if number > 30 else ["a"],
            unique_id=str(number) if number % 3 else None,
        )
        if dice.random() < 0.1:
            await client.post(f"/task/{made['task_id']}/cancel")
        await sandbox.advance(dice.choice([0, 1, 20, 90]))
        moments.append(sandbox.clock.iso())
    everything = (await ok(client.get("/tasks")))["docs"]
    for each in dice.sample(everything, 12):
        await client.post(f"/task/{each['task_id']}/setMetadata", json={"touched": True})
        await client.put(f"/task/{each['task_id']}/tags", json=["c"])
    everything = (await ok(client.get("/tasks")))["docs"]
    assert {each["status"] for each in everything} == {"pending", "completed", "canceled"}
    times = {"start_time": "created_at", "completed_after": "completed_at", "updated_after": "updated_at"}
    times |= {"end_time": "created_at", "completed_before": "completed_at", "updated_before": "updated_at"}
    for _ in range(300):
        query: dict[str, Any] = {name: dice.choice(moments) for name in times if dice.random() < 0.2}
        for name, values in (
            ("tags", [["a"], ["b"], ["c", "b"], ["a", "b", "none"]]),
            ("status", ["pending", "completed", "completed,canceled"]),
            ("batch", ["first"]),
            ("project", ["cars"]),
            ("unique_id", [["1", "4", "50"]]),
        ):
            if dice.random() < 0.35:
                query[name] = dice.choice(values)

        def matches(each: dict[str, Any], query: dict[str, Any] = query) -> bool:
            for name, wanted in query.items():
                if name in times:
                    at = each.get(times[name])
                    fits = at is not None and (at >= wanted if name in (*times,)[:3] else at <= wanted)
                elif name == "tags":
                    fits = bool(set(each.get("tags", ())) & set(wanted))
                elif name == "status":
                    fits = each["status"] in wanted.split(",")
                else:
                    fits = each.get(name) in wanted if name == "unique_id" else each.get(name) == wanted
                if not fits:
                    return False
            return True

        expected = [each["task_id"] for each in everything if matches(each)]
        offset, limit = dice.randrange(0, 30), dice.randrange(1, 30)
        page = await ok(client.get("/tasks", params={**query, "offset": offset, "limit": limit}))
        found = [each["task_id"] for each in page["docs"]]
        assert (found, page["total"]) == (expected[offset : offset + limit], len(expected)), query
        if page["has_more"]:
            rest = await ok(client.get("/tasks", params={**query, "next_token": page["next_token"]}))
            assert [each["task_id"] for each in rest["docs"]] == expected[offset + limit :], query
            assert rest["total"] == len(expected)


QUERIES = {
    "all": TaskQuery(1),
    "status": TaskQuery(1, statuses=("error",)),
    "project": TaskQuery(1, project_no=2),
    "project and status": TaskQuery(1, project_no=2, statuses=("completed",)),
    "batch": TaskQuery(1, batch_no=3),
    "batch and status": TaskQuery(1, batch_no=3, project_no=2, statuses=("completed", "error")),
    "type": TaskQuery(1, type="imageannotation"),
    "review": TaskQuery(1, reviews=("accepted", "rejected")),
    "review in a batch": TaskQuery(1, reviews=("rejected",), batch_no=3),
    "one tag": TaskQuery(1, tags=("night",)),
    "two tags": TaskQuery(1, tags=("night", "rain"), statuses=("completed",)),
}


@pytest.mark.parametrize("name", QUERIES)
@pytest.mark.parametrize("before", [None, 500_000])
async def test_a_page_is_read_in_the_order_of_an_index_without_scan_or_sort(
    sandbox: Sandbox, name: str, before: int | None
) -> None:
    plan = sandbox.store.plan(*sandbox.tasks.select(QUERIES[name]).page_sql(100, 0, None, before))
    assert not [line for line in plan if "SCAN" in line or "TEMP B-TREE" in line], plan
    ranges = [line for line in plan if line.startswith("SEARCH") and "rowid=?" not in line]
    assert ranges
    bound = " AND seq<?)" if before else ")"
    assert all(line.count("=?") >= 2 and line.endswith(bound) for line in ranges), plan


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (TaskQuery(1, unique_ids=("a", "b")), "tasks_by_unique_id (account_no=? AND unique_id=?"),
        (TaskQuery(1, updated=(5, None)), "tasks_by_updated (account_no=? AND updated_ms>?"),
        (TaskQuery(1, completed=(5, 9)), "tasks_by_completed (account_no=? AND completed_ms>? AND completed_ms<?"),
    ],
)
async def test_few_matches_are_found_by_their_own_index(sandbox: Sandbox, query: TaskQuery, index: str) -> None:
    plan = sandbox.store.plan(*sandbox.tasks.select(query).page_sql(100, 0, None, None))
    assert not [line for line in plan if "SCAN" in line], plan
    assert any(index in line for line in plan), plan


@pytest.mark.parametrize("query", [QUERIES["all"], QUERIES["batch and status"], TaskQuery(1, created=(5, 9))])
async def test_a_total_adds_counters_up_and_counts_no_tasks(
    sandbox: Sandbox, query: TaskQuery, monkeypatch: pytest.MonkeyPatch
) -> None:
    account = account_for("test_lists")
    assert account is not None
    sandbox.seed_tasks(account, 5)
    seen: list[str] = []
    query_of_one = sandbox.store.one

    def one(sql: str, args: Any = ()) -> Any:
        seen.append(sql)
        return query_of_one(sql, args)

    monkeypatch.setattr(sandbox.store, "one", one)
    sandbox.tasks.select(query).total()
    counting = [sql for sql in seen if "count(*)" in sql.lower() or "sum(" in sql]
    assert all("FROM task_counts" in sql or "FROM task_blocks" in sql for sql in counting) or query.created != (
        None,
        None,
    )
    for sql in seen:
        plan = sandbox.store.plan(sql, [1] * sql.count("?"))
        assert not [line for line in plan if line.startswith("SCAN t") and "tasks " in line], (sql, plan)


async def test_a_task_is_found_by_its_id_or_unique_id_through_an_index(sandbox: Sandbox) -> None:
    for sql in (
        "SELECT * FROM tasks WHERE task_id = ? AND account_no = ?",
        "SELECT task_id FROM tasks WHERE account_no = ? AND unique_id = ?",
    ):
        (line,) = sandbox.store.plan(sql, (1, 1))
        assert line.startswith("SEARCH tasks USING"), line


async def test_the_base_of_result_urls_never_leaves_the_sandbox() -> None:
    stored = {"response": {"annotations": {"url": f"{task_store.BASE}/task/1/response_url/2"}}}
    shown = task_store.at_base(stored, 'http://a"b/v1')
    assert shown["response"]["annotations"]["url"] == 'http://a"b/v1/task/1/response_url/2'
