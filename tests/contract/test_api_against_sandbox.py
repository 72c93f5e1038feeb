"""Every operation of the api layer against the sandbox, in process and over either transport: all mean the same."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import anyio
import httpx2
import pytest
import uvicorn

from scale_mcp.api import ApiOptions, Conflict, InvalidRequest, NotFound, ScaleApi, Unauthorized
from scale_mcp.api.aiohttp_transport import AiohttpTransport
from scale_mcp.models.batches import BatchFilter
from scale_mcp.models.evaluation_requests import EvaluationTaskRequest
from scale_mcp.models.task_requests import (
    ImageAnnotationRequest,
    SegmentationRequest,
    TextCollectionRequest,
)
from scale_mcp.models.tasks import TaskFilter
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.server.transports.listening import listen

pytestmark = pytest.mark.anyio
Way = Literal["in process", "httpx2", "aiohttp"]
all_ways = pytest.mark.parametrize("way", get_args(Way))

PICTURE = "https://example.com/street.jpg"
BOXES = {"box": {"objects_to_annotate": ["car"]}}
DAY = 24 * 3600.0
RESOURCES = ("tasks", "batches", "projects", "files", "team", "studio", "quality")


@dataclass(frozen=True)
class World:
    """A sandbox whose clock stands still, and two keys of the same account holder."""

    live: ScaleApi
    test: ScaleApi
    admin: httpx2.AsyncClient
    sandbox: Sandbox

    async def pass_time(self, seconds: float) -> None:
        answer = await self.admin.post("/_sandbox/clock/advance", json={"seconds": seconds})
        assert answer.status_code == 200, answer.text


@asynccontextmanager
async def world(way: Way) -> AsyncIterator[World]:
    async with Sandbox(SandboxOptions(clock="manual", seed=5)) as sandbox:
        if way == "in process":
            async with connected(sandbox, SANDBOX_URL, sandbox.transport) as made:
                yield made
            return
        server = uvicorn.Server(uvicorn.Config(sandbox.app, log_level="error", lifespan="off"))
        with listen("127.0.0.1", 0) as listener:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            async with anyio.create_task_group() as group:
                group.start_soon(lambda: server.serve(sockets=[listener]))
                try:
                    kind = httpx2.AsyncHTTPTransport if way == "httpx2" else AiohttpTransport
                    async with connected(sandbox, address, kind) as made:
                        yield made
                finally:
                    server.should_exit = True


@asynccontextmanager
async def connected(
    sandbox: Sandbox, base_url: str, transport: Callable[[], httpx2.AsyncBaseTransport]
) -> AsyncIterator[World]:
    async with (
        ScaleApi("live_me", base_url=base_url, transport=transport()) as live,
        ScaleApi("test_me", base_url=base_url, transport=transport()) as test,
        httpx2.AsyncClient(base_url=base_url.removesuffix("/v1"), transport=transport()) as admin,
    ):
        yield World(live, test, admin, sandbox)


def picture_task(**more: Any) -> ImageAnnotationRequest:
    return ImageAnnotationRequest.model_validate(
        {"project": "streets", "attachment": PICTURE, "geometries": BOXES, **more}
    )


@all_ways
async def test_a_task_is_created_found_changed_and_cancelled(way: Way):
    async with world(way) as w:
        tasks = w.live.tasks
        await w.live.projects.create("streets", "imageannotation")

        created = await tasks.create(picture_task(unique_id="streets-1", tags=["day"], metadata={"scene": 7}))
        task_id = created.task.task_id

        assert not created.recovered
        assert not created.unique_id_assigned
        fetched = await tasks.get(task_id)
        assert (fetched.status, fetched.type, fetched.project) == ("pending", "imageannotation", "streets")
        assert fetched.unique_id == "streets-1"
        assert fetched.metadata == {"scene": 7}
        assert fetched.params["geometries"]["box"]["objects_to_annotate"] == ["car"]

        assert sorted((await tasks.add_tags(task_id, ["night", "day"])).tags) == ["day", "night"]
        assert (await tasks.set_tags(task_id, ["rain"])).tags == ["rain"]
        assert (await tasks.delete_tags(task_id, ["rain", "absent"])).tags == []
        assert (await tasks.set_metadata(task_id, {"scene": 8})).metadata == {"scene": 8}
        assert (await tasks.set_unique_id(task_id, "streets-one")).unique_id == "streets-one"
        assert not (await tasks.clear_unique_id(task_id)).unique_id

        assert (await tasks.cancel(task_id)).status == "canceled"
        assert await tasks.count(TaskFilter(project="streets", status="canceled")) == 1


@all_ways
async def test_a_unique_id_given_by_us_lets_the_same_request_make_two_tasks(way: Way):
    async with world(way) as w:
        await w.live.projects.create("streets", "imageannotation")
        first = await w.live.tasks.create(picture_task())
        second = await w.live.tasks.create(picture_task())

        assert first.unique_id_assigned
        assert first.task.task_id != second.task.task_id


@all_ways
async def test_a_unique_id_that_is_taken_is_a_conflict_that_names_the_task(way: Way):
    async with world(way) as w:
        await w.live.projects.create("streets", "imageannotation")
        first = await w.live.tasks.create(picture_task(unique_id="one"))

        with pytest.raises(Conflict, match=first.task.task_id):
            await w.live.tasks.create(picture_task(unique_id="one"))


@all_ways
async def test_all_pages_of_tasks_together_hold_each_task_once_newest_first(way: Way):
    async with world(way) as w:
        await w.test.projects.create("streets", "imageannotation")
        made = [(await w.test.tasks.create(picture_task())).task.task_id for _ in range(7)]

        page = await w.test.tasks.page(TaskFilter(project="streets"), limit=3)
        following = await w.test.tasks.page(TaskFilter(project="streets"), page.next_token, limit=3)
        seen = [task.task_id async for task in w.test.tasks.iterate(TaskFilter(project="streets"))]

        assert [task.task_id for task in [*page.docs, *following.docs]] == made[::-1][:6]
        assert page.has_more
        assert seen == made[::-1]
        assert await w.test.tasks.count(TaskFilter(project="streets")) == 7


@all_ways
async def test_a_completed_task_can_be_audited_called_back_and_its_masks_fetched_with_the_live_key(way: Way):
    async with world(way) as w:
        await w.test.projects.create("roads", "segmentannotation")
        request = SegmentationRequest.model_validate(
            {
                "project": "roads",
                "attachment": PICTURE,
                "labels": ["road", "sky"],
                "allow_unlabeled": True,
                "callback_url": "ada@example.com",
            }
        )
        task = (await w.test.tasks.create(request)).task

        completed = await w.test.tasks.get(task.task_id)
        assert completed.status == "completed"
        uuid = re.findall(r"response_url/([\w-]+)", str(completed.response))[0]
        async with w.live.tasks.response(task.task_id, uuid) as file:
            content = b"".join([chunk async for chunk in file.chunks()])
        assert content

        await w.test.tasks.audit(task.task_id, accepted=True, comments="Tight.")
        audited = await w.test.tasks.get(task.task_id)
        assert audited.customer_review_status == "accepted"
        with pytest.raises(InvalidRequest):
            await w.test.tasks.cancel(task.task_id)
        assert isinstance(await w.test.tasks.send_callback(task.task_id), dict)


@all_ways
async def test_a_batch_goes_from_staging_over_finalizing_to_completed(way: Way):
    async with world(way) as w:
        batches = w.live.batches
        await w.live.projects.create("rapid streets", "imageannotation", rapid=True)
        batch = await batches.create("rapid streets", "night/1", metadata={"week": 3})
        assert batch.status == "staging"
        await w.live.tasks.create(picture_task(project="rapid streets", batch="night/1"))

        await batches.prioritize("night/1", 30)
        await batches.set_metadata("night/1", {"week": 4})
        await batches.finalize("night/1")
        assert (await batches.status("night/1")).pending == 1
        await w.pass_time(60 * DAY)

        status = await batches.status("night/1")
        assert (status.status, status.pending, status.completed) == ("completed", 0, 1)
        fetched = await batches.get("night/1")
        assert fetched.metadata == {"week": 4}
        assert fetched.project == "rapid streets"
        with pytest.raises(InvalidRequest):
            await batches.finalize("night/1")


@all_ways
async def test_all_pages_of_batches_together_hold_each_batch_once(way: Way):
    async with world(way) as w:
        await w.live.projects.create("streets", "imageannotation")
        for number in range(5):
            await w.live.batches.create("streets", f"batch {number}")

        page = await w.live.batches.page(BatchFilter(project="streets"), offset=1, limit=2)
        seen = [batch.name async for batch in w.live.batches.iterate(BatchFilter(project="streets"))]

        assert (len(page.docs), page.total, page.has_more) == (2, 5, True)
        assert sorted(seen) == [f"batch {number}" for number in range(5)]


@all_ways
async def test_a_project_keeps_every_version_of_its_parameters_and_ontology(way: Way):
    async with world(way) as w:
        projects = w.live.projects
        await projects.create("a/b c?d", "imageannotation", params={"instruction": "Draw.", "geometries": BOXES})

        patched = await projects.set_params("a/b c?d", {"instruction": "Draw tightly."}, patch=True)
        assert patched.params["geometries"] == BOXES
        replaced = await projects.set_params("a/b c?d", {"instruction": "Draw."}, patch=False)
        assert "geometries" not in replaced.params
        assert [entry["version"] for entry in replaced.param_history] == [0, 1, 2]
        with_ontology = await projects.set_ontology("a/b c?d", ["car", "person"], "first")
        assert len(with_ontology.ontology_history) == 1

        assert (await projects.get("a/b c?d")).name == "a/b c?d"
        assert [project.name for project in await projects.list()] == ["a/b c?d"]
        assert await projects.list(archived=True) == []
        with pytest.raises(NotFound):
            await projects.get("nobody's")


@all_ways
async def test_a_project_s_template_can_be_read(way: Way):
    async with world(way) as w:
        await w.live.projects.create(
            "forms", "textcollection", params={"fields": [{"type": "text", "field_id": "name", "title": "Name"}]}
        )
        assert (await w.live.projects.template("forms")).id


@all_ways
async def test_a_text_task_inherits_its_fields_from_the_project(way: Way):
    async with world(way) as w:
        fields = [{"type": "text", "field_id": "name", "title": "Name"}]
        await w.test.projects.create("forms", "textcollection", params={"fields": fields})
        request = TextCollectionRequest.model_validate(
            {"project": "forms", "attachments": [{"type": "text", "content": "Dear Ada"}]}
        )

        created = await w.test.tasks.create(request)

        assert created.task.params["fields"][0]["field_id"] == "name"


@all_ways
async def test_files_are_uploaded_imported_and_listed_page_by_page(way: Way):
    async with world(way) as w:
        files = w.live.files
        await w.live.projects.create("streets", "imageannotation")
        progress: list[int] = []

        uploaded = await files.upload(
            b"\x89PNG" * 1000,
            file_name="näh.png",
            mime_type="image/png",
            project_name="streets",
            reference_id="ref-1",
            metadata={"camera": "front"},
            on_progress=lambda sent, _total: progress.append(sent),
        )
        imported = await files.import_url(PICTURE, project_name="streets")

        assert uploaded.size == 4000
        assert uploaded.attachment_url
        assert uploaded.attachment_url.startswith("scaledata://")
        assert progress
        with pytest.raises(Conflict):
            await files.upload(b"x", file_name="x.png", project_name="streets", reference_id="ref-1")
        page = await files.page("streets")
        seen = [file.id async for file in files.iterate("streets")]
        assert {file.id for file in page.docs} == set(seen) == {uploaded.id, imported.id}


@all_ways
async def test_people_are_invited_and_get_roles(way: Way):
    async with world(way) as w:
        await w.live.team.invite(["ada@example.com"], "labeler")
        await w.pass_time(DAY)

        members = await w.live.team.set_role(["ada@example.com"], "manager")

        assert "ada@example.com" in {member.email for member in await w.live.team.list()}
        assert {member.email: member.role for member in members}["ada@example.com"] in ("manager", "invited")


@all_ways
async def test_studio_assigns_people_groups_them_and_orders_batches(way: Way):
    async with world(way) as w:
        studio = w.live.studio
        await w.live.team.invite(["ada@example.com"], "labeler")
        await w.pass_time(DAY)
        await w.live.projects.create("studio streets", "imageannotation", studio=True)
        for name in ("one", "two"):
            await w.live.batches.create("studio streets", name)
            await w.live.tasks.create(picture_task(project="studio streets", batch=name))
            await w.live.batches.finalize(name)

        await studio.add_assignments(["ada@example.com"], ["studio streets"])
        assert (await studio.assignments())["ada@example.com"] == ["studio streets"]
        await studio.create_group("studio streets", "night", ["ada@example.com"])
        await studio.update_group("studio streets", "night", remove_emails=["ada@example.com"])
        await studio.update_group("studio streets", "night", add_emails=["ada@example.com"])
        groups = {group.name: group for group in await studio.groups("studio streets")}
        assert [worker.email for worker in groups["night"].workers] == ["ada@example.com"]
        await studio.assign_groups("one", ["night"])

        assert {batch.name for batch in await studio.batches()} == {"one", "two"}
        assert [batch.name for batch in await studio.set_priorities(["two", "one"])] == ["two", "one"]
        assert [batch.name for batch in await studio.reset_priorities()] == ["one", "two"]

        after = await studio.remove_assignments(["ada@example.com"], ["studio streets"])
        assert after.get("ada@example.com", []) == []


@all_ways
async def test_quality_tasks_audits_and_attempts_can_be_read(way: Way):
    async with world(way) as w:
        await w.live.projects.create("rapid streets", "imageannotation", rapid=True)
        request = EvaluationTaskRequest.model_validate(
            {
                "type": "imageannotation",
                "project": "rapid streets",
                "attachment": PICTURE,
                "geometries": BOXES,
                "expected_response": {"annotations": []},
            }
        )
        evaluation = await w.live.tasks.create_evaluation(request)
        assert evaluation.id

        await w.test.projects.create("streets", "imageannotation")
        task = (await w.test.tasks.create(picture_task())).task
        body = {
            "task_id": task.task_id,
            "result": "rejected",
            "response_url": f"https://example.com/{task.task_id}",
            "feedback_items": [{"type": "error", "state": "accepted"}],
        }
        await w.test.quality.create_fixless_audit(body)
        audits = await w.test.quality.fixless_audits(task_id=task.task_id)
        assert [audit.task_id for audit in audits] == [task.task_id]

        await w.pass_time(30 * DAY)
        attempts = await w.live.quality.training_attempts([evaluation.id], [])
        assert all(attempt.quality_task_id == evaluation.id for attempt in attempts.docs)


@all_ways
async def test_a_key_that_is_none_is_refused(way: Way):
    async with world(way) as w:
        transport = w.sandbox.transport() if way == "in process" else None
        async with ScaleApi("nonsense", base_url=w.live.base_url, transport=transport) as api:
            with pytest.raises(Unauthorized):
                await api.projects.list()


@all_ways
async def test_keys_do_not_see_each_other_s_projects(way: Way):
    async with world(way) as w:
        await w.live.projects.create("streets", "imageannotation")

        assert await w.test.projects.list() == []


def test_every_operation_of_the_api_is_tested_above():
    source = Path(__file__).read_text(encoding="utf-8")
    api = ScaleApi("test_me", options=ApiOptions())
    untested = []
    for resource in RESOURCES:
        for name, _ in inspect.getmembers(type(getattr(api, resource)), inspect.isfunction):
            if not name.startswith("_") and not re.search(rf"\b{resource}\.{name}\(", source):
                untested.append(f"{resource}.{name}")

    assert untested == []
