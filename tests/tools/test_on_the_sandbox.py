"""Every tool against the sandbox, once with a test key and once with a live one: nothing is refused, all is typed."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from scale_mcp.api import ScaleApi
from scale_mcp.sandbox import SANDBOX_URL, Sandbox, SandboxOptions
from scale_mcp.tools.card import Call
from scale_mcp.tools.registry import cards
from scale_mcp.tools.schema import output_schema
from tests.tools.conftest import run

PICTURE = "https://example.com/a.png"
BOX = {"box": {"objects_to_annotate": ["car"]}}
FRAMES = ["https://example.com/0.json"]


class Session:
    """Calls tools and remembers which; checks each structure against its schema."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.called: set[str] = set()

    async def __call__(self, name: str, /, **arguments: Any) -> dict[str, Any]:
        output = await run(self.call, name, arguments)
        self.called.add(name)
        structure = output.model_dump(mode="json", by_alias=True, exclude_none=True)
        Draft202012Validator(output_schema(cards()[name])).validate(structure)
        assert output.text()
        return structure


@pytest.fixture(params=["test_0123456789abcdef", "live_0123456789abcdef"], ids=["test key", "live key"])
async def session(request: pytest.FixtureRequest) -> AsyncIterator[Session]:
    async with (
        Sandbox(SandboxOptions(clock="manual")) as sandbox,
        ScaleApi(request.param, base_url=SANDBOX_URL, transport=sandbox.transport()) as api,
    ):
        yield Session(Call(api=api))


@pytest.mark.anyio
async def test_every_tool_works_on_the_sandbox(session: Session):
    live = session.call.api.mode == "live"

    await session(
        "create_project", name="streets", type="imageannotation", params={"instruction": "x", "geometries": BOX}
    )
    await session("create_project", name="a b/c", type="imageannotation", studio=True, params={"geometries": BOX})
    await session("create_project", name="rapid", type="imageannotation", rapid=True, params={"geometries": BOX})
    await session("create_project", name="points", type="lidarsegmentation")
    await session("set_project_params", name="streets", patch=True, instruction="Draw boxes.")
    await session("set_project_ontology", name="streets", ontology=["car", {"choice": "v", "subchoices": ["van"]}])
    assert (await session("get_project", name="a b/c"))["version"] == 0
    assert (await session("list_projects"))["total"] == 4

    uploaded = await session("upload_file", file_base64="aGVsbG8=", file_name="a.txt", project_name="streets")
    await session("import_file", file_url=PICTURE, project_name="streets")
    files = await session("list_assets", project="streets")
    assert uploaded["attachment_url"] in {doc["attachment_url"] for doc in files["docs"]}

    await session("create_batch", project="streets", name="b1", callback="ann@example.com")
    await session("create_batch", project="a b/c", name="s/1")
    await session("create_batch", project="rapid", name="r1")

    task = await session(
        "create_image_annotation_task", batch="b1", attachment=PICTURE, tags=["a"], callback_url="ann@example.com"
    )
    await session("create_image_annotation_task", batch="s/1", attachment=PICTURE)
    await session("create_segmentation_task", attachment=PICTURE, labels=["road"])
    await session("create_video_annotation_task", attachments=[PICTURE], geometries=BOX)
    await session("create_video_playback_annotation_task", attachment="https://example.com/a.mp4", geometries=BOX)
    await session("create_lidar_annotation_task", attachments=FRAMES, labels=["car"])
    await session("create_lidar_segmentation_task", project="points", attachments=FRAMES, labels=["road"])
    await session("create_named_entity_recognition_task", text="Ann", labels=["person", {"name": "place"}])
    await session(
        "create_text_collection_task",
        attachments=[{"type": "text", "content": "x"}],
        fields=[{"type": "text", "field_id": "a", "title": "A"}],
    )
    await session("create_document_transcription_task", attachment=PICTURE, features=[{"type": "block", "label": "a"}])
    await session(
        "create_evaluation_task",
        type="imageannotation",
        project="rapid",
        attachment=PICTURE,
        expected_response={"annotations": []},
    )

    task_id = task["task_id"]
    assert task["outcome"] == "created"
    await session("add_task_tags", task_id=task_id, tags=["b"])
    assert (await session("get_task", task_id=task_id))["tags"] == ["a", "b"]
    await session("set_task_tags", task_id=task_id, tags=["c", "d"])
    await session("delete_task_tags", task_id=task_id, tags=["c"])
    await session("update_task_unique_id", task_id=task_id, unique_id="streets-1")
    found = await session("list_tasks", project="streets", unique_id="streets-1", tags=["d"])
    assert [doc["task_id"] for doc in found["docs"]] == [task_id]
    await session("delete_task_unique_id", task_id=task_id)
    await session("set_task_metadata", task_id=task_id, metadata={"q": 1})

    await session("get_batch", batch_name="s/1")
    await session("list_batches", detailed=True)
    assert (await session("finalize_batch", batch_name="s/1"))["status"] == "in_progress"
    counts = await session("get_batch_status", batch_name="s/1")
    assert counts["pending" if live else "completed"] == 1
    await session("prioritize_batch", batch_name="b1", priority=30)

    team = await session("list_teammates")
    person = next(doc["email"] for doc in team["docs"] if doc["role"] == "labeler")
    await session("invite_team_member", emails=["eve@example.com"], team_role="labeler")
    await session("set_teammate_role", emails=["eve@example.com"], team_role="member")
    assigned = await session("add_studio_assignments", emails=[person], projects=["a b/c"])
    assert assigned["assignments"] == {person: ["a b/c"]}
    await session("get_studio_assignments")
    await session("remove_studio_assignments", emails=[person], projects=["a b/c"])

    await session("get_fixless_audits", task_id=task_id)
    await session("get_training_attempts", labeler_emails=[person])

    if live:
        assert [doc["name"] for doc in (await session("get_studio_batches"))["docs"]] == ["s/1"]
        await session("set_studio_batch_priorities", batch_names=["s/1"])
        assert (await session("reset_studio_batch_priorities"))["previous_order"] == ["s/1"]
        assert (await session("cancel_task", task_id=task_id))["status"] == "canceled"
        assert set(cards()) - session.called == {"get_task_response", "resend_task_callback"}
    else:
        await session("resend_task_callback", task_id=task_id)
        masks = (await session("list_tasks", type="segmentannotation"))["docs"][0]["task_id"]
        response = str((await session("get_task", task_id=masks))["response"])
        uuid = re.search(r"response_url/([\w-]+)", response)
        assert uuid
        assert "PNG" in (await session("get_task_response", task_id=masks, uuid=uuid[1]))["picture"]
        assert set(cards()) - session.called == {
            "cancel_task",
            "get_studio_batches",
            "set_studio_batch_priorities",
            "reset_studio_batch_priorities",
        }
