"""One task at a time: creation with its checks and merges, and everything that can be done with a task."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from tests.sandbox.calls import BOXES, KINDS, PICTURE, batch, ok, project, refused, task
from tests.sandbox.conftest import Connect

pytestmark = pytest.mark.anyio
HOUR = 3600.0


@pytest.fixture
async def tester(connect: Connect) -> httpx2.AsyncClient:
    """A caller with a test key, whose tasks are done at once."""
    return connect("test_core")


# Creation


@pytest.mark.parametrize("kind", KINDS)
async def test_a_live_task_waits_and_keeps_what_was_sent(live: httpx2.AsyncClient, kind: str) -> None:
    made = await task(live, kind, colour="red", empty=None)
    assert (made["type"], made["status"], made["is_test"], made["work_started"]) == (kind, "pending", False, False)
    assert made["params"].items() >= {**KINDS[kind], "colour": "red"}.items()
    assert made["metadata"] == {}
    assert not {"tags", "unique_id", "response", "project", "batch", "callback_succeeded"} & made.keys()
    assert await ok(live.get(f"/task/{made['task_id']}")) == made


@pytest.mark.parametrize("kind", KINDS)
async def test_a_test_task_is_completed_in_the_answer_to_its_creation(tester: httpx2.AsyncClient, kind: str) -> None:
    made = await task(tester, kind)
    assert (made["status"], made["is_test"]) == ("completed", True)
    assert made["completed_at"] > made["created_at"]
    assert made["response"]
    assert await ok(tester.get(f"/task/{made['task_id']}")) == made


@pytest.mark.parametrize(
    ("kind", "missing", "text"),
    [
        ("imageannotation", "attachment", "Please include an attachment or attachments parameter."),
        ("imageannotation", "geometries", 'Parameter is invalid, reason: "geometries" is required'),
        ("segmentannotation", "labels", '"labels" is required'),
        ("textcollection", "attachments", 'Parameter is invalid, reason: "attachments" is required'),
        ("textcollection", "fields", '"fields" is required'),
        ("documenttranscription", "attachment", "Please include an attachment or attachments parameter."),
        ("documenttranscription", "features", '"features" is required'),
        ("namedentityrecognition", "text", '"text" is required'),
        ("lidarannotation", "attachments", '"attachments" is required'),
        ("lidarsegmentation", "attachments", '"attachments" or "lidar_task" is required'),
        ("videoannotation", "geometries", '"geometries" is required'),
    ],
)
async def test_a_missing_parameter_is_named(live: httpx2.AsyncClient, kind: str, missing: str, text: str) -> None:
    body = {name: value for name, value in KINDS[kind].items() if name != missing}
    assert text in await refused(live.post(f"/task/{kind}", json=body), 400)
    assert text in await refused(live.post(f"/task/{kind}", json={**body, missing: None}), 400)


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("imageannotation", {"geometries": []}),
        ("imageannotation", {"geometries": {"blob": {}}}),
        ("imageannotation", {"geometries": {"point": {}}}),
        ("imageannotation", {"geometries": {"box": {"objects_to_annotate": [{"subchoices": []}]}}}),
        ("imageannotation", {"attachment": 7}),
        ("imageannotation", {"metadata": {"blob": "x" * 10_240}}),
        ("imageannotation", {"metadata": []}),
        ("imageannotation", {"tags": ["1", "2", "3", "4", "5", "6"]}),
        ("imageannotation", {"tags": "night"}),
        ("imageannotation", {"priority": 15}),
        ("imageannotation", {"priority": 10**40}),
        ("imageannotation", {"unique_id": 5}),
        ("imageannotation", {"unique_id": ""}),
        ("imageannotation", {"callback_url": "example.com/no-scheme"}),
        ("imageannotation", {"context_attachments": [{"attachment": PICTURE}]}),
        ("imageannotation", {"hypothesis": {"annotations": [{"type": "polygon", "label": "car"}]}}),
        ("segmentannotation", {"labels": "road"}),
        ("videoannotation", {"attachment_type": "video"}),
        ("videoannotation", {"attachment_type": "image", "attachments": None, "attachment": "https://e.example/v.mp4"}),
        ("textcollection", {"fields": [{"type": "text", "field_id": "a"}, {"type": "text", "field_id": "a"}]}),
        ("textcollection", {"attachments": ["https://example.com"]}),
        (
            "namedentityrecognition",
            {
                "relationships": [
                    {"name": "a", "source_label": "person", "target_label": "person"},
                    {"source_label": "person", "target_label": "person"},
                ]
            },
        ),
        ("documenttranscription", {"features": [{"label": "total"}]}),
    ],
)
async def test_nonsense_is_refused_and_makes_no_task(
    live: httpx2.AsyncClient, kind: str, wrong: dict[str, Any]
) -> None:
    body = {**KINDS[kind], **wrong}
    assert await refused(live.post(f"/task/{kind}", json=body), 400)
    assert (await ok(live.get("/tasks")))["total"] == 0


async def test_numbers_may_be_written_as_strings(live: httpx2.AsyncClient) -> None:
    body = {"attachment": PICTURE, "objects_to_annotate": ["cow"], "min_width": "30", "priority": "20"}
    made = await ok(live.post("/task/annotation", json=body))
    assert (made["params"]["min_width"], made["priority"]) == ("30", 20)


async def test_defaults_are_filled_in_and_what_was_sent_wins(live: httpx2.AsyncClient) -> None:
    legacy = {"attachment": PICTURE, "objects_to_annotate": ["cow"]}
    made = await ok(live.post("/task/cuboidannotation", json={**legacy, "with_labels": False}))
    assert made["params"].items() >= {"with_labels": False, "min_annotations": 0, "max_annotations": 0}.items()
    sound = await ok(live.post("/task/audiotranscription", json={"attachment": "https://example.com/a.mp3"}))
    assert sound["instruction"] == "Please transcribe the attached audio file."
    frames, film = await task(live, "videoannotation"), {"attachment": "https://e.example/v.mp4", "geometries": BOXES}
    assert frames["params"]["attachment_type"] == "image"
    assert (await ok(live.post("/task/videoannotation", json=film)))["params"]["attachment_type"] == "video"


async def test_an_unknown_task_type_is_not_found(live: httpx2.AsyncClient) -> None:
    assert "imageannotaton" in await refused(live.post("/task/imageannotaton", json={}), 404)


async def test_an_enterprise_type_costs_402_where_it_is_not_enabled() -> None:
    async with (
        Sandbox(SandboxOptions(clock="manual", enterprise=False)) as sandbox,
        httpx2.AsyncClient(transport=sandbox.transport(), base_url=SANDBOX_URL, auth=("live_a", "")) as client,
    ):
        await refused(client.post("/task/videoannotation", json=KINDS["videoannotation"]), 402)
        await task(client)


# Projects and batches


async def test_a_task_inherits_the_latest_params_of_its_project(live: httpx2.AsyncClient) -> None:
    await project(live, params={"geometries": BOXES, "instruction": "Of the project.", "padding": 1})
    await ok(live.post("/projects/cars/setParams", json={"patch": True, "padding": 2}))
    made = await task(live, geometries=None, project="cars", instruction="Of the task.")
    assert made["params"] == {"attachment_type": "image", "geometries": BOXES, "padding": 2, "attachment": PICTURE}
    assert made["instruction"] == "Of the task.\n\nOf the project."
    assert made["project_param_version"] == 1
    old = await task(live, geometries=None, project="cars", project_version=0, padding="9")
    assert (old["params"]["padding"], old["project_param_version"], old["instruction"]) == ("9", 0, "Of the project.")
    bare = await task(live, project="cars", project_version=-1)
    assert "padding" not in bare["params"]
    assert not {"project_param_version", "instruction"} & bare.keys()
    body = {"attachment": PICTURE, "project": "cars"}
    await refused(live.post("/task/imageannotation", json={**body, "project_version": -1}), 400)
    await refused(live.post("/task/imageannotation", json={**body, "project_version": 7}), 400)


async def test_a_batch_implies_its_project(live: httpx2.AsyncClient) -> None:
    await project(live, params={"geometries": BOXES})
    await project(live, "other")
    await batch(live)
    made = await task(live, geometries=None, batch="first")
    assert (made["project"], made["batch"]) == ("cars", "first")
    assert (await task(live, project="cars", batch="first"))["project"] == "cars"
    body = {**KINDS["imageannotation"], "batch": "first"}
    assert "belongs to" in await refused(live.post("/task/imageannotation", json={**body, "project": "other"}), 400)
    await refused(live.post("/task/imageannotation", json={**body, "batch": "none"}), 404)
    await refused(live.post("/task/segmentannotation", json={**KINDS["segmentannotation"], "project": "cars"}), 400)


async def test_a_rapid_task_needs_a_staging_batch_and_overrides_the_instruction(live: httpx2.AsyncClient) -> None:
    await project(live, rapid=True, params={"geometries": BOXES, "instruction": "Of the project."})
    body = {"attachment": PICTURE, "project": "cars"}
    assert '"batch" is required' in await refused(live.post("/task/imageannotation", json=body), 400)
    await batch(live)
    assert (await task(live, batch="first", instruction="Mine."))["instruction"] == "Mine."
    await ok(live.post("/batches/first/finalize"))
    assert "takes no more tasks" in await refused(
        live.post("/task/imageannotation", json={**body, "batch": "first"}), 400
    )


async def test_lidar_segmentation_starts_from_a_completed_lidar_task(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    source = await task(live, "lidarannotation")
    body = {"lidar_task": source["task_id"], "labels": ["road"]}
    await refused(live.post("/task/lidarsegmentation", json=body), 400)
    await refused(live.post("/task/lidarsegmentation", json={**body, "lidar_task": "0" * 24}), 404)
    await sandbox.advance(24 * HOUR)
    assert (await ok(live.post("/task/lidarsegmentation", json=body)))["params"]["lidar_task"] == source["task_id"]


# unique_id and Idempotency-Key


async def test_a_used_unique_id_names_its_task(tester: httpx2.AsyncClient) -> None:
    first = await task(tester, unique_id="u/1")
    body = {**KINDS["segmentannotation"], "unique_id": "u/1"}
    text = await refused(tester.post("/task/segmentannotation", json=body), 409)
    assert text == f'The unique_id ("u/1") is already used for a different task ({first["task_id"]}).'
    path = f"/task/{first['task_id']}/unique_id"
    assert "unique_id" not in await ok(tester.delete(path))
    assert "unique_id" not in await ok(tester.delete(path))
    second = await task(tester, unique_id="u/1")
    await refused(tester.post(path, json={"unique_id": "u/1"}), 409)
    again = await ok(tester.post(f"/task/{second['task_id']}/unique_id", json={"unique_id": "u/1"}))
    assert again["unique_id"] == "u/1"
    await refused(tester.post(path, json={}), 400)
    await refused(tester.post(path, json={"unique_id": 5}), 400)


async def test_a_used_idempotency_key_is_a_conflict(live: httpx2.AsyncClient) -> None:
    send = {"json": KINDS["imageannotation"], "headers": {"Idempotency-Key": "k1"}}
    made = await ok(live.post("/task/imageannotation", **send))
    assert made["task_id"] in await refused(live.post("/task/imageannotation", **send), 409)
    assert (await ok(live.get("/tasks")))["total"] == 1


# Changes


async def test_tags_are_added_replaced_and_deleted_at_most_five(tester: httpx2.AsyncClient) -> None:
    path = f"/task/{(await task(tester))['task_id']}/tags"
    assert (await ok(tester.put(path, json=["b", "a"])))["tags"] == ["b", "a"]
    assert (await ok(tester.put(path, json={"tags": ["a", "c"]})))["tags"] == ["b", "a", "c"]
    assert "at most 5" in await refused(tester.put(path, json=["d", "e", "f"]), 400)
    for wrong in (["a", 5], [""], "a", {"tags": "a"}):
        await refused(tester.put(path, json=wrong), 400)
    assert (await ok(tester.request("DELETE", path, json=["b", "x"])))["tags"] == ["a", "c"]
    assert (await ok(tester.post(path, json=["z"])))["tags"] == ["z"]
    assert (await ok(tester.post(path)))["tags"] == []
    await refused(tester.put("/task/nope/tags", json=["a"]), 404)


async def test_metadata_is_replaced_up_to_ten_kilobytes(tester: httpx2.AsyncClient) -> None:
    path = f"/task/{(await task(tester, metadata={'a': 1}))['task_id']}/setMetadata"
    assert (await ok(tester.post(path, json={"b": None})))["metadata"] == {"b": None}
    assert (await ok(tester.post(path)))["metadata"] == {}
    await refused(tester.post(path, json={"blob": "x" * 10_240}), 400)
    await refused(tester.post(path, json=["a"]), 400)


async def test_only_what_nobody_works_on_can_be_canceled(sandbox: Sandbox, live: httpx2.AsyncClient) -> None:
    queued, started = await task(live, unique_id="q"), await task(live, unique_id="s")
    path = f"/task/{queued['task_id']}/cancel"
    assert (await ok(live.post(path)))["status"] == "canceled"
    assert (await ok(live.post(path)))["unique_id"] == "q"
    assert "unique_id" not in await ok(live.post(path, params={"clear_unique_id": "True"}))
    await sandbox.advance(61)
    assert (await ok(live.get(f"/task/{started['task_id']}")))["work_started"] is True
    assert "in progress" in await refused(live.post(f"/task/{started['task_id']}/cancel"), 400)
    await sandbox.advance(24 * HOUR)
    assert "completed" in await refused(live.post(f"/task/{started['task_id']}/cancel"), 400)
    assert (await ok(live.get(f"/task/{queued['task_id']}")))["status"] == "canceled"
    await refused(live.post("/task/nope/cancel"), 404)


async def test_an_audit_is_kept_and_can_be_filtered_by(tester: httpx2.AsyncClient) -> None:
    made = await task(tester)
    path = f"/task/{made['task_id']}/audit"
    await ok(tester.post(path, json={"accepted": False, "comments": "too loose"}))
    audited = await ok(tester.post(path, json={"accepted": True, "comments": None}))
    assert audited["customer_review_status"] == "accepted"
    assert [(each["audit_result"], each.get("comments")) for each in audited["audits"]] == [
        ("rejected", "too loose"),
        ("accepted", None),
    ]
    for wrong in ({}, {"accepted": "yes"}, {"accepted": True, "comments": 5}):
        await refused(tester.post(path, json=wrong), 400)


async def test_a_task_that_is_not_completed_cannot_be_audited(live: httpx2.AsyncClient) -> None:
    made = await task(live)
    await refused(live.post(f"/task/{made['task_id']}/audit", json={"accepted": True}), 400)


# Attachments and result files


async def test_an_attachment_that_cannot_be_had_becomes_an_error_after_a_while(
    sandbox: Sandbox, live: httpx2.AsyncClient
) -> None:
    url = "http://broken.sandbox.invalid/403/kitten.png"
    kept = await task(live, attachment=url, unique_id="kept")
    freed = await task(live, attachment=url, unique_id="freed", clear_unique_id_on_error=True)
    assert kept["status"] == "pending"
    await sandbox.advance(10)
    kept, freed = [await ok(live.get(f"/task/{each['task_id']}")) for each in (kept, freed)]
    assert kept["status"] == "error"
    assert kept["response"] == {
        "error": "One or more attachments could not be downloaded.",
        "attachments": [{"statusCode": 403, "url": url}],
    }
    assert kept["unique_id"] == "kept"
    assert "unique_id" not in freed
    await refused(live.post(f"/task/{kept['task_id']}/cancel"), 400)
    await sandbox.advance(24 * HOUR)
    assert (await ok(live.get(f"/task/{kept['task_id']}")))["status"] == "error"


async def test_a_lidar_frame_that_is_no_json_is_an_error_of_that_frame(tester: httpx2.AsyncClient) -> None:
    files = []
    for content in (b'{"points": []}', b'{"points"'):
        files.append(await ok(tester.post("/files/upload", files={"file": ("frame.json", content)})))
    good, bad = (file["attachment_url"] for file in files)
    made = await task(tester, "lidarannotation", attachments=[good, bad])
    (frame,) = made["response"]["frames"]
    assert (made["status"], frame["frame"]) == ("error", 1)
    assert frame["attachment"] == {"statusCode": 200, "url": bad}
    assert frame["message"].startswith("Invalid JSON Format: ")


async def test_a_stranger_s_file_cannot_be_used(connect: Connect, tester: httpx2.AsyncClient) -> None:
    file = await ok(connect("test_other").post("/files/upload", files={"file": ("a.png", b"x")}))
    made = await task(tester, attachment=file["attachment_url"])
    assert (made["status"], made["response"]["attachments"][0]["statusCode"]) == ("error", 404)


async def test_a_result_file_is_at_the_address_by_which_the_caller_knows_us(
    sandbox: Sandbox, connect: Connect, tester: httpx2.AsyncClient
) -> None:
    made = await task(tester, "videoannotation")
    url = made["response"]["annotations"]["url"]
    assert url.startswith(f"{SANDBOX_URL}/task/{made['task_id']}/response_url/")
    answer = await tester.get(url)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
    assert isinstance(answer.json(), list)
    elsewhere = await ok(tester.get(f"/task/{made['task_id']}", headers={"Host": "elsewhere.example:81"}))
    assert elsewhere["response"]["annotations"]["url"].startswith("http://elsewhere.example:81/v1/task/")
    assert (await connect("live_core").get(url)).status_code == 200
    await refused(connect("live_other").get(url), 404)
    await refused(connect("test_other").get(url), 404)
    await refused(tester.get(f"/task/{made['task_id']}/response_url/nope"), 404)
    other = await task(tester)
    await refused(tester.get(url.replace(made["task_id"], other["task_id"])), 404)


async def test_a_segmentation_gives_png_masks(tester: httpx2.AsyncClient) -> None:
    made = await task(tester, "segmentannotation")
    answer = await tester.get(made["response"]["annotations"]["combined"]["indexedImage"])
    assert answer.headers["content-type"] == "image/png"
    assert answer.content.startswith(b"\x89PNG")


async def test_labels_of_entities_may_be_plain_strings(connect: Connect) -> None:
    tester = connect("test_entities")
    made = await task(tester, "namedentityrecognition", labels=["person", {"name": "event"}])
    assert [each["label"] for each in made["response"]["annotations"]] == ["person", "event"]
    for labels in ([""], [3], [{"name": 3}], [{"choice": "person"}]):
        body = {"text": "Ann", "labels": labels}
        assert "labels" in await refused(tester.post("/task/namedentityrecognition", json=body), 400)
