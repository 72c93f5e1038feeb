from __future__ import annotations

import random
from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import Sandbox, SandboxOptions, decisions
from scale_mcp.sandbox.scoring import agreement

from .conftest import Connect

pytestmark = pytest.mark.anyio

GEOMETRIES = {"box": {"objects_to_annotate": ["car", "tree"]}}
TASK = {"attachment": "https://example.com/street.png", "geometries": GEOMETRIES}
EXPECTED = {
    "annotations": [
        {"type": "box", "label": "car", "left": 20, "top": 30, "width": 120, "height": 90},
        {"type": "box", "label": "tree", "left": 200, "top": 10, "width": 60, "height": 180},
        {"type": "box", "label": "car", "left": 300, "top": 100, "width": 80, "height": 50},
    ]
}
QUALITY = {**TASK, "project": "rapid", "expected_response": EXPECTED}
MONTH = 30 * 86_400


async def rapid_project(client: httpx2.AsyncClient, name: str = "rapid", kind: str = "imageannotation") -> None:
    answer = await client.post("/projects", json={"name": name, "type": kind, "rapid": True})
    assert answer.status_code == 200, answer.text


async def create(client: httpx2.AsyncClient, kind: str = "training", body: Any = None, status: int = 200) -> Any:
    answer = await client.post(f"/{kind}_tasks/imageannotation", json=body or QUALITY)
    assert answer.status_code == status, answer.text
    return answer.json()


async def attempts(client: httpx2.AsyncClient, *task_ids: str, **query: Any) -> Any:
    answer = await client.get("/quality/labelers", params={"quality_task_ids": list(task_ids), **query})
    assert answer.status_code == 200, answer.text
    return answer.json()


# ---------------------------------------------------------------------------------------------------- quality tasks


@pytest.mark.parametrize("kind", ["training", "evaluation"])
async def test_a_quality_task_gives_back_its_answer(live: httpx2.AsyncClient, kind: str) -> None:
    await rapid_project(live)
    made = await create(live, kind, {**QUALITY, "initial_response": {"annotations": []}})

    assert len(made["id"]) == 24
    assert made["expected_response"] == EXPECTED
    assert made["initial_response"] == {"annotations": []}
    assert made["params"] == {**TASK, "attachment_type": "image"}


async def test_parameters_of_the_project_count(live: httpx2.AsyncClient) -> None:
    await rapid_project(live)
    await live.post("/projects/rapid/setParams", json={"geometries": GEOMETRIES})
    made = await create(live, body={name: value for name, value in QUALITY.items() if name != "geometries"})

    assert made["params"]["geometries"] == GEOMETRIES


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"expected_response": None}, 400),
        ({"expected_response": []}, 400),
        ({"initial_response": "x"}, 400),
        ({"attachment": None}, 400),
        ({"geometries": None}, 400),
        ({"geometries": {"circle": {}}}, 400),
        ({"project": None}, 400),
        ({"project": "plain"}, 400),
        ({"project": "texts"}, 400),
        ({"project": "nowhere"}, 404),
    ],
)
@pytest.mark.parametrize("kind", ["training", "evaluation"])
async def test_a_wrong_quality_task_is_refused(
    live: httpx2.AsyncClient, kind: str, change: dict[str, Any], status: int
) -> None:
    await rapid_project(live)
    await rapid_project(live, "texts", "textcollection")
    await live.post("/projects", json={"name": "plain", "type": "imageannotation"})

    await create(live, kind, {**QUALITY, **change}, status)


@pytest.mark.parametrize("task_type", ["lidarannotation", "categorization", "nonsense"])
async def test_only_six_types_have_quality_tasks(live: httpx2.AsyncClient, task_type: str) -> None:
    assert (await live.post(f"/evaluation_tasks/{task_type}", json=QUALITY)).status_code == 404


async def test_a_unique_id_of_a_quality_task_serves_once(live: httpx2.AsyncClient) -> None:
    await rapid_project(live)
    first = await create(live, body={**QUALITY, "unique_id": "u1"})
    again = await create(live, body={**QUALITY, "unique_id": "u1"}, status=409)

    assert again["error"] == f'The unique_id ("u1") is already used for a different task ({first["id"]}).'


# --------------------------------------------------------------------------------------------------------- attempts


async def test_every_worker_attempts_a_training_task_in_the_course_of_time(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    await rapid_project(live)
    made = await create(live)
    assert (await attempts(live, made["id"]))["docs"] == []
    await sandbox.advance(MONTH)

    page = await attempts(live, made["id"])
    assert page["total"] == sandbox.options.workers
    assert {each["labeler_email"] for each in page["docs"]} == {worker.email for worker in sandbox.engine.workers}
    for each in page["docs"]:
        assert each["quality_task_id"] == made["id"]
        assert each["quality_task_type"] == "training"
        assert each["project"] == "rapid"
        assert each["started_at"] < each["completed_at"] <= sandbox.clock.iso()
        assert each["passed"] is (each["score"] >= decisions.PASSING_SCORE.value)
        assert each["score"] == pytest.approx(agreement(EXPECTED, each["response"]), abs=1e-4)


async def test_workers_make_their_own_mistakes(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    await rapid_project(live)
    made = await create(live)
    await sandbox.advance(MONTH)

    scores = [each["score"] for each in (await attempts(live, made["id"]))["docs"]]
    assert len(set(scores)) > 3
    assert all(0 < score < 1 for score in scores)


async def test_some_workers_meet_an_evaluation_task(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    await rapid_project(live)
    made = await create(live, "evaluation")
    await sandbox.advance(MONTH)

    page = await attempts(live, made["id"])
    assert 0 < page["total"] < sandbox.options.workers
    assert {each["quality_task_type"] for each in page["docs"]} == {"evaluation"}


async def test_with_a_test_key_nobody_has_to_wait(connect: Connect) -> None:
    test = connect("test_side")
    await rapid_project(test)
    made = await create(test)

    assert (await attempts(test, made["id"]))["total"] > 0


async def test_the_same_seed_makes_the_same_attempts() -> None:
    async def run(seed: int) -> Any:
        async with Sandbox(SandboxOptions(clock="manual", seed=seed)) as box:
            url = "http://sandbox.localhost/v1"
            async with httpx2.AsyncClient(transport=box.transport(), base_url=url, auth=("live_x", "")) as client:
                await rapid_project(client)
                made = await create(client)
                await box.advance(MONTH)
                docs = (await attempts(client, made["id"]))["docs"]
        return [(each["labeler_email"], each["score"], each["response"]) for each in docs]

    assert await run(3) == await run(3) != await run(4)


async def test_an_expected_response_that_cannot_be_read_gets_no_attempts(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    await rapid_project(live, "masks", "segmentannotation")
    body = {
        "project": "masks",
        "attachment": "https://example.com/a.png",
        "labels": ["road"],
        "expected_response": {"annotations": {"combined": {"image": "https://example.com/mask.png"}}},
    }
    made = (await live.post("/training_tasks/segmentannotation", json=body)).json()
    await sandbox.advance(MONTH)

    assert (await attempts(live, made["id"]))["docs"] == []


async def test_attempts_are_listed_by_task_by_person_and_by_both(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    await rapid_project(live)
    first, second, third = [(await create(live))["id"] for _ in range(3)]
    await sandbox.advance(MONTH)
    ann, bob = (worker.email for worker in sandbox.engine.workers[:2])

    async def count(**query: Any) -> int:
        return int((await live.get("/quality/labelers", params=query)).json()["total"])

    workers = sandbox.options.workers
    assert await count(quality_task_ids=first) == workers
    assert await count(quality_task_ids=[first, second]) == 2 * workers
    assert await count(quality_task_ids=f"{first},{third}") == 2 * workers
    assert await count(labeler_emails=ann.upper()) == 3
    assert await count(labeler_emails=[ann, bob]) == 6
    assert await count(quality_task_ids=[first, second], labeler_emails=[ann, bob]) == 4
    assert await count(quality_task_ids="unknown") == 0


async def test_attempts_go_from_page_to_page(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    await rapid_project(live)
    made = await create(live)
    await sandbox.advance(MONTH)

    seen: list[str] = []
    query: dict[str, Any] = {"limit": 5}
    while True:
        page = await attempts(live, made["id"], **query)
        seen += [each["id"] for each in page["docs"]]
        if not page["has_more"]:
            break
        query["next_token"] = page["next_token"]
    assert "next_token" not in page
    assert len(seen) == len(set(seen)) == page["total"] == sandbox.options.workers


@pytest.mark.parametrize("query", [{}, {"quality_task_ids": ""}, {"labeler_emails": "a@b.cc", "limit": "0"}])
async def test_a_list_of_attempts_needs_a_task_or_a_person(live: httpx2.AsyncClient, query: dict[str, str]) -> None:
    assert (await live.get("/quality/labelers", params=query)).status_code == 400


async def test_attempts_of_another_account_stay_hidden(
    sandbox: Sandbox, live: httpx2.AsyncClient, connect: Connect
) -> None:
    await rapid_project(live)
    made = await create(live)
    await sandbox.advance(MONTH)

    assert (await attempts(connect("live_other"), made["id"]))["total"] == 0


# ---------------------------------------------------------------------------------------------------------- scoring


def test_the_same_response_scores_one_and_an_empty_one_nothing() -> None:
    assert agreement(EXPECTED, EXPECTED) == 1
    assert agreement(EXPECTED, {"annotations": []}) == 0
    assert agreement({"annotations": []}, {"annotations": []}) == 1
    assert agreement({"annotations": []}, EXPECTED) == 0


def test_order_does_not_matter_and_every_mistake_costs() -> None:
    boxes = EXPECTED["annotations"]
    shuffled = random.Random(1).sample(boxes, 3)
    relabelled = [{**boxes[0], "label": "tree"}, *boxes[1:]]
    moved = [{**boxes[0], "left": 40}, *boxes[1:]]
    extra = [*boxes, {**boxes[0], "left": 900}]

    assert agreement(EXPECTED, {"annotations": shuffled}) == 1
    assert agreement(EXPECTED, {"annotations": boxes[:2]}) == pytest.approx(4 / 5)
    assert agreement(EXPECTED, {"annotations": extra}) == pytest.approx(6 / 7)
    assert agreement(EXPECTED, {"annotations": relabelled}) == pytest.approx(2 / 3)
    assert agreement(EXPECTED, {"annotations": moved}) == pytest.approx((2 + 100 / 140) / 3)


@pytest.mark.parametrize(
    ("expected", "given", "score"),
    [
        ([{"label": "p", "x": 5, "y": 5}], [{"label": "p", "x": 8, "y": 9}], 0.5),
        ([{"label": "p", "x": 5, "y": 5}], [{"label": "p", "left": 8, "top": 9, "width": 1, "height": 1}], 0),
        ([{"label": "p", "x": 5, "y": 5}], [{"label": "p"}], 0),
        ([{"label": "n", "start": 0, "end": 10}], [{"label": "n", "start": 5, "end": 10}], 0.5),
        ([{"label": "n", "start": 0, "end": 10}], [{"label": "n"}], 0),
        (
            [{"label": "t", "text": "abcd", "location": {"left": 0, "top": 0, "width": 9, "height": 9}}],
            [{"label": "t", "text": "abXX", "location": {"left": 0, "top": 0, "width": 9, "height": 9}}],
            0.5,
        ),
        ([{"label": "c", "x": 1, "y": 1, "attributes": {"a": 1, "b": 2}}], [{"label": "c", "x": 1, "y": 1}], 0.5),
        ({"q": ["en"], "n": "Ann"}, {"q": ["en"], "n": "Ann"}, 1),
        ({"q": ["en"], "n": "Ann"}, {"q": ["de"], "n": "Ann"}, 0.5),
        ({"q": ["en", "de"]}, {"q": ["de"]}, 2 / 3),
        ({"q": "x"}, {}, 0),
    ],
)
def test_each_kind_of_annotation_is_compared_in_its_own_way(expected: Any, given: Any, score: float) -> None:
    assert agreement({"annotations": expected}, {"annotations": given}) == pytest.approx(score, abs=0.03)


# ----------------------------------------------------------------------------------------------------------- audits


async def completed_task(connect: Connect) -> tuple[httpx2.AsyncClient, str]:
    test = connect("test_side")
    return test, (await test.post("/task/imageannotation", json=TASK)).json()["task_id"]


async def test_an_audit_is_created_with_201_and_found_by_task_and_id(sandbox: Sandbox, connect: Connect) -> None:
    test, task_id = await completed_task(connect)
    item = {"type": "error", "comment": "loose", "scope": {"annotation_id": "a", "category": "geometry"}}
    body = {
        "task_id": task_id,
        "result": "rejected",
        "response_url": "https://example.com/r",
        "feedback_items": [item, {"type": "flag", "state": "disputed"}],
        "own": 7,
    }
    answer = await test.put("/audits", json=body)
    audit = answer.json()

    assert answer.status_code == 201
    assert audit == {
        **body,
        "id": audit["id"],
        "created_at": sandbox.clock.iso(),
        "audited_by": decisions.AUDITOR.value,
        "feedback_items": [
            {"id": "1", "state": "accepted", **item},
            {"id": "2", "type": "flag", "state": "disputed", "scope": {}},
        ],
    }
    second = (await test.put("/audits", json={**body, "result": "accepted"})).json()
    assert (await test.get("/audits", params={"task_id": task_id})).json() == [second, audit]
    assert (await test.get("/audits", params={"id": audit["id"]})).json() == [audit]
    assert (await test.get("/audits", params={"id": audit["id"], "task_id": task_id})).json() == [audit]


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"task_id": None}, 400),
        ({"task_id": "nope"}, 404),
        ({"result": None}, 400),
        ({"result": "great"}, 400),
        ({"response_url": None}, 400),
        ({"response_url": 7}, 400),
        ({"feedback_items": {}}, 400),
        ({"feedback_items": [{"type": "praise"}]}, 400),
        ({"feedback_items": [{"type": "error", "state": "open"}]}, 400),
        ({"feedback_items": [{"type": "error", "scope": "all"}]}, 400),
    ],
)
async def test_a_wrong_audit_is_refused(connect: Connect, change: dict[str, Any], status: int) -> None:
    test, task_id = await completed_task(connect)
    body = {"task_id": task_id, "result": "accepted", "response_url": "https://example.com/r", **change}

    assert (await test.put("/audits", json=body)).status_code == status
    assert (await test.get("/audits", params={"task_id": task_id})).json() == []


async def test_a_pending_task_cannot_be_audited(live: httpx2.AsyncClient) -> None:
    task_id = (await live.post("/task/imageannotation", json=TASK)).json()["task_id"]
    body = {"task_id": task_id, "result": "accepted", "response_url": "https://example.com/r"}

    assert (await live.put("/audits", json=body)).status_code == 400


@pytest.mark.parametrize(("query", "status"), [({}, 400), ({"task_id": "x"}, 404), ({"id": "x"}, 404)])
async def test_audits_of_nothing_are_not_listed(live: httpx2.AsyncClient, query: dict[str, str], status: int) -> None:
    assert (await live.get("/audits", params=query)).status_code == status
