"""The official client, unchanged, does all it can do against the sandbox over real HTTP.

It builds its assertions after the client's own test suite, which runs against the real service, and goes through every
method the client has.
"""

from __future__ import annotations

import io
import threading
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
import uvicorn
from scaleapi import ScaleClient
from scaleapi.batches import Batch, BatchStatus
from scaleapi.exceptions import (
    ScaleDuplicateResource,
    ScaleInvalidRequest,
    ScaleResourceNotFound,
    ScaleUnauthorized,
)
from scaleapi.tasks import Task, TaskReviewStatus, TaskStatus, TaskType
from scaleapi.teams import TeammateRole

from scale_mcp.sandbox import Sandbox, SandboxOptions

PROJECT = "scaleapi-python-sdk"
CALLBACK = "http://www.example.com/callback"
PICTURE = "http://i.imgur.com/v4cBreD.jpg"
BOXES = {"box": {"objects_to_annotate": ["Baby Cow", "Big Cow"], "min_height": 10, "min_width": 10}}


class AnnouncingServer(uvicorn.Server):
    """Says when it listens, so that nobody has to ask again and again."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = threading.Event()

    async def startup(self, sockets: Any = None) -> None:
        await super().startup(sockets)
        self.listening.set()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A sandbox at a port of its own, whose clock only moves by hand."""
    sandbox = Sandbox(SandboxOptions(clock="manual"))
    server = AnnouncingServer(uvicorn.Config(sandbox.app, port=0, log_level="critical", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    assert server.listening.wait(20)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(20)
    sandbox.store.close()


@pytest.fixture(scope="module")
def client(address: str) -> ScaleClient:
    client = ScaleClient("test_official", "pytest", api_instance_url=f"{address}/v1")
    with pytest.raises(ScaleResourceNotFound):
        client.get_project(PROJECT)
    client.create_project(project_name=PROJECT, task_type=TaskType.ImageAnnotation)
    return client


@pytest.fixture(scope="module")
def live(address: str) -> ScaleClient:
    return ScaleClient("live_official", api_instance_url=f"{address}/v1")


def advance(address: str, hours: float) -> None:
    answer = httpx2.post(f"{address}/_sandbox/clock/advance", json={"seconds": hours * 3600})
    assert answer.status_code == 200, answer.text


def unique() -> str:
    return str(uuid.uuid4())


def make_a_task(client: ScaleClient, unique_id: str | None = None, batch: str | None = None, **more: Any) -> Task:
    params: dict[str, Any] = {
        "callback_url": CALLBACK,
        "instruction": "Draw a box around each baby cow and big cow.",
        "attachment_type": "image",
        "attachment": PICTURE,
        "geometries": BOXES,
        **more,
    }
    if unique_id:
        params["unique_id"] = unique_id
    if batch:
        params["batch"] = batch
    return client.create_task(TaskType.ImageAnnotation, **params)


def create_a_batch(client: ScaleClient, project: str = PROJECT) -> Batch:
    return client.create_batch(
        callback=CALLBACK, batch_name=unique(), project=project, metadata={"some_key": "some_value"}
    )


def test_an_invalid_key_is_refused(address: str) -> None:
    stranger = ScaleClient("dummy_api_key", "pytest", api_instance_url=f"{address}/v1")
    with pytest.raises(ScaleUnauthorized):
        stranger.batches(limit=1)


def test_a_unique_id_serves_one_task_only(client: ScaleClient) -> None:
    unique_id = unique()
    first = make_a_task(client, unique_id)
    with pytest.raises(ScaleDuplicateResource, match=first.id):
        make_a_task(client, unique_id)


def test_a_unique_id_is_changed_and_cleared(client: ScaleClient) -> None:
    task, other = make_a_task(client, unique()), make_a_task(client, "taken")
    new = unique()
    assert client.update_task_unique_id(task.id, new).as_dict()["unique_id"] == new
    with pytest.raises(ScaleDuplicateResource):
        client.update_task_unique_id(task.id, "taken")
    assert "unique_id" not in client.clear_task_unique_id(task.id).as_dict()
    other.clear_unique_id()
    other.refresh()
    assert not hasattr(other, "unique_id")
    task.update_unique_id("taken")
    task.refresh()
    assert task.unique_id == "taken"


def test_metadata_is_replaced(client: ScaleClient) -> None:
    task = make_a_task(client, unique())
    assert task.metadata == {}
    assert client.set_task_metadata(task.id, {"myKey": "myValue"}).metadata == {"myKey": "myValue"}
    task.set_metadata({"fromTaskKey": "fromTaskValue"})
    task.refresh()
    assert task.metadata == {"fromTaskKey": "fromTaskValue"}


def test_tags_are_set_added_and_deleted(client: ScaleClient) -> None:
    task = make_a_task(client, unique())
    assert not hasattr(task, "tags")
    task.set_tags(["tag1", "tag2", "tag3"])
    task.refresh()
    assert task.tags == ["tag1", "tag2", "tag3"]
    fresh = make_a_task(client, unique())
    fresh.add_tags(["tag1", "tag2"])
    fresh.add_tags(["tag2", "tag3"])
    fresh.refresh()
    assert fresh.tags == ["tag1", "tag2", "tag3"]
    fresh.delete_tags(["tag1", "tag2", "absent"])
    fresh.refresh()
    assert fresh.tags == ["tag3"]
    assert client.set_task_tags(task.id, []).tags == []


COMPLETE: list[tuple[TaskType, dict[str, Any]]] = [
    (
        TaskType.Categorization,
        {
            "instruction": "Is this company public or private?",
            "attachment_type": "website",
            "force": True,
            "attachment": "http://www.google.com/",
            "categories": ["public", "private"],
        },
    ),
    (
        TaskType.Transcription,
        {
            "instruction": "Transcribe the given fields.",
            "attachment_type": "website",
            "attachment": "http://www.google.com/",
            "fields": {"title": "Title of Webpage", "top_result": "Title of the top result"},
            "repeatable_fields": {"username": "Username of submitter", "comment_count": "Number of comments"},
        },
    ),
    (TaskType.ImageAnnotation, {"attachment": PICTURE, "geometries": BOXES}),
    (TaskType.SegmentAnnotation, {"attachment": PICTURE, "labels": ["cow", "grass"]}),
    (
        TaskType.DocumentTranscription,
        {
            "instruction": "Please transcribe this receipt.",
            "attachment": "http://document.scale.com/receipt-20200519.jpg",
            "features": [{"type": "block", "label": "barcode"}],
        },
    ),
    (
        TaskType.Annotation,
        {
            "attachment_type": "image",
            "attachment": PICTURE,
            "min_width": "30",
            "min_height": "30",
            "objects_to_annotate": ["baby cow", "big cow"],
            "with_labels": True,
        },
    ),
    (TaskType.PolygonAnnotation, {"attachment": PICTURE, "objects_to_annotate": ["big cow"], "with_labels": True}),
    (TaskType.LineAnnotation, {"attachment": PICTURE, "objects_to_annotate": ["big cow"], "with_labels": True}),
    (TaskType.PointAnnotation, {"attachment": PICTURE, "objects_to_annotate": ["big cow"]}),
    (TaskType.CuboidAnnotation, {"attachment": PICTURE, "objects_to_annotate": ["big cow"]}),
    (
        TaskType.DataCollection,
        {
            "instruction": "Find the URL for the hiring page.",
            "attachment_type": "website",
            "attachment": "http://www.google.com/",
            "fields": {"hiring_page": "Hiring Page URL"},
        },
    ),
    (
        TaskType.NamedEntityRecognition,
        {
            "instruction": "Do the objects in these images have the same pattern?",
            "text": "Example text to label with NER tool",
            "labels": [{"name": "Label_A", "description": "the first label"}],
        },
    ),
    (
        TaskType.TextCollection,
        {
            "attachments": [{"type": "website", "content": "https://example.com/"}],
            "fields": [{"type": "text", "field_id": "owner", "title": "Owner"}],
        },
    ),
    (TaskType.VideoAnnotation, {"attachments": [PICTURE, PICTURE], "geometries": BOXES}),
    (TaskType.VideoPlaybackAnnotation, {"attachment": "https://example.com/v.mp4", "geometries": BOXES}),
    (TaskType.LidarAnnotation, {"attachments": ["https://example.com/0.json"], "labels": ["car"]}),
    (TaskType.LidarSegmentation, {"attachments": ["https://example.com/0.json"], "labels": ["car"]}),
]


@pytest.mark.parametrize(("task_type", "params"), COMPLETE, ids=[kind.value for kind, _ in COMPLETE])
def test_a_test_task_of_every_type_is_completed_at_once(
    client: ScaleClient, task_type: TaskType, params: dict[str, Any]
) -> None:
    task = client.create_task(task_type, callback_url=CALLBACK, **params)
    assert (task.type, task.status, task.is_test) == (task_type.value, "completed", True)
    sent = {name: value for name, value in params.items() if name != "instruction"}
    assert {name: task.params[name] for name in sent} == sent


INCOMPLETE: list[tuple[TaskType, dict[str, Any]]] = [
    (TaskType.Categorization, {"categories": ["public", "private"]}),
    (TaskType.Transcription, {"instruction": "Transcribe.", "attachment_type": "website"}),
    (TaskType.ImageAnnotation, {"instruction": "Draw a box.", "attachment_type": "image"}),
    (TaskType.DocumentTranscription, {"instruction": "Please transcribe this receipt."}),
    (TaskType.Annotation, {"instruction": "Draw a box.", "attachment_type": "image"}),
    (TaskType.PolygonAnnotation, {"instruction": "Draw a tight shape.", "attachment_type": "image"}),
    (TaskType.LineAnnotation, {"instruction": "Draw a tight shape.", "attachment_type": "image"}),
    (TaskType.DataCollection, {"attachment_type": "website"}),
    (TaskType.TextCollection, {"fields": []}),
]


@pytest.mark.parametrize(("task_type", "params"), INCOMPLETE, ids=[kind.value for kind, _ in INCOMPLETE])
def test_a_task_without_its_required_params_is_refused(
    client: ScaleClient, task_type: TaskType, params: dict[str, Any]
) -> None:
    with pytest.raises(ScaleInvalidRequest):
        client.create_task(task_type, callback_url=CALLBACK, **params)


def test_a_completed_task_cannot_be_canceled(client: ScaleClient) -> None:
    with pytest.raises(ScaleInvalidRequest):
        make_a_task(client).cancel()


def test_a_task_is_retrieved_as_it_was_created(client: ScaleClient) -> None:
    task = make_a_task(client)
    again = client.get_task(task.id)
    assert again.status == "completed"
    assert again.id == task.id
    for name in ("callback_url", "instruction", "params", "metadata", "type", "created_at", "response"):
        assert getattr(again, name) == getattr(task, name)


def test_an_unknown_task_is_not_found(client: ScaleClient) -> None:
    with pytest.raises(ScaleResourceNotFound, match=r"Task with that ID not found\."):
        client.get_task("fake_id_qwertyuiop")


def test_a_time_without_tasks_is_empty(client: ScaleClient) -> None:
    created = datetime.fromisoformat(make_a_task(client).created_at)
    later = (created + timedelta(seconds=0.5)).replace(tzinfo=None)
    assert client.tasks(start_time=later.isoformat(), end_time=(later + timedelta(seconds=1)).isoformat()).docs == []
    around = client.tasks(start_time=created - timedelta(seconds=1), end_time=created.astimezone(UTC))
    assert around.total >= 1


def test_the_newest_tasks_come_first(client: ScaleClient) -> None:
    made = [make_a_task(client).id for _ in range(3)]
    assert [task.id for task in client.tasks(limit=3)] == made[::-1]


def test_an_unknown_filter_is_refused_by_the_client(client: ScaleClient) -> None:
    with pytest.raises(ScaleInvalidRequest):
        client.tasks(bogus=0)


@pytest.mark.parametrize("project", [PROJECT, None])
def test_all_tasks_of_a_batch_are_walked_page_by_page(client: ScaleClient, project: str | None) -> None:
    batch = create_a_batch(client)
    made = [make_a_task(client, batch=batch.name).id for _ in range(3)]
    found = list(client.get_tasks(project_name=project, batch_name=batch.name, limit=1))
    assert [task.id for task in found] == made[::-1]
    assert client.get_tasks_count(project_name=project, batch_name=batch.name) == 3
    assert client.tasks(batch=batch.name).total == 3
    assert client.tasks(project=PROJECT).total == client.get_tasks_count(project_name=PROJECT)


def test_walking_tasks_with_every_filter_the_client_has(client: ScaleClient) -> None:
    batch = create_a_batch(client)
    task, _ = make_a_task(client, unique(), batch.name, tags=["night"]), make_a_task(client, unique(), batch.name)
    client.audit_task(task.id, accepted=False, comments="too loose")
    long_ago, soon = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=400)
    found = client.get_tasks(
        project_name=PROJECT,
        batch_name=batch.name,
        task_type=TaskType.ImageAnnotation,
        status=TaskStatus.Completed,
        review_status=[TaskReviewStatus.Accepted, TaskReviewStatus.Rejected],
        unique_id=[task.as_dict()["unique_id"], "another"],
        completed_after=long_ago,
        completed_before=soon,
        updated_after=long_ago,
        updated_before=soon,
        created_after=long_ago,
        created_before=soon,
        tags=["night", "day"],
        include_attachment_url=False,
    )
    assert [each.id for each in found] == [task.id]
    (short,) = client.get_tasks(batch_name=batch.name, tags="night", limited_response=True)
    assert short.as_dict() == {"task_id": task.id, "status": "completed", "metadata": {}, "project": PROJECT}


def test_tasks_cannot_be_walked_without_a_project_or_batch(client: ScaleClient) -> None:
    with pytest.raises(ValueError):
        list(client.get_tasks())


def test_an_audit_shows_on_the_task(client: ScaleClient) -> None:
    task = make_a_task(client)
    client.audit_task(task.id, accepted=True)
    task.refresh()
    assert task.customer_review_status == "accepted"
    assert [audit["audit_result"] for audit in task.audits] == ["accepted"]


def test_an_enterprise_batch_is_in_progress_and_may_be_finalized_any_number_of_times(client: ScaleClient) -> None:
    batch = create_a_batch(client)
    assert client.finalize_batch(batch.name).status == "in_progress"
    batch.finalize()
    assert batch.status == BatchStatus.InProgress.value
    client.batch_status(batch.name)
    again = client.get_batch(batch.name)
    again.get_status()
    assert again.status == BatchStatus.InProgress.value
    assert (again.tasks_pending, again.tasks_completed, again.tasks_error, again.tasks_canceled) == (0, 0, 0, 0)


def test_a_batch_is_retrieved_as_it_was_created(client: ScaleClient) -> None:
    batch = create_a_batch(client)
    again = client.get_batch(batch.name)
    assert (again.name, again.status, again.metadata["some_key"]) == (batch.name, "in_progress", "some_value")
    assert client.set_batch_metadata(batch.name, {"new_key": "new_value"}).metadata == {"new_key": "new_value"}
    with pytest.raises(ScaleDuplicateResource):
        client.create_batch(PROJECT, batch.name)


def test_batches_are_listed_newest_first_and_walked(client: ScaleClient) -> None:
    made = [create_a_batch(client).name for _ in range(3)]
    assert [batch.name for batch in client.batches(limit=3)] == made[::-1]
    total = client.batches(project=PROJECT, limit=1).total
    assert total == len(list(client.get_batches(project_name=PROJECT)))
    assert len(list(client.get_batches(PROJECT, BatchStatus.Completed, exclude_archived=True))) < total


def test_a_project_is_created_updated_and_listed(client: ScaleClient) -> None:
    name = f"a/b ü? {unique()}"
    params = {"instruction": "Label forklifts", "geometries": {"box": {"objects_to_annotate": ["forklift"]}}}
    project = client.create_project(name, TaskType.ImageAnnotation, params)
    assert (project.version, project.instruction) == (0, "Label forklifts")
    client.update_project(name, patch=True, instruction="Label pallets")
    again = client.get_project(name)
    assert (again.version, again.instruction) == (1, "Label pallets")
    assert again.params["geometries"] == params["geometries"]
    assert name in {each.name for each in client.projects()}
    with pytest.raises(ScaleDuplicateResource):
        client.create_project(name, TaskType.ImageAnnotation)
    with pytest.raises(ScaleInvalidRequest):
        client.get_project_template(name)


def test_a_text_collection_project_has_a_template(client: ScaleClient) -> None:
    fields = [{"type": "text", "field_id": "owner", "title": "Owner"}]
    project = client.create_project(unique(), TaskType.TextCollection, {"fields": fields})
    template = client.get_project_template(project.name)
    assert template.template_variables["fields"] == fields


def test_a_file_is_uploaded_and_used(client: ScaleClient) -> None:
    content = io.BytesIO(b"\x89PNG\r\n\x1a\n not much of a picture")
    file = client.upload_file(file=content, project_name=PROJECT, metadata='{"cam": "3"}')
    task = make_a_task(client, attachment=file.attachment_url)
    assert (task.status, task.params["attachment"]) == ("completed", file.attachment_url)
    url = "https://static.scale.com/uploads/selfserve-sample-image.png"
    assert client.import_file(file_url=url, project_name=PROJECT).attachment_url.startswith("scaledata://")


def test_an_attachment_that_cannot_be_had_is_an_error_of_the_task(client: ScaleClient) -> None:
    url = f"scaledata://{'0' * 24}/{unique()}"
    task = make_a_task(client, unique(), attachment=url, clear_unique_id_on_error=True)
    assert task.status == "error"
    assert task.response["attachments"] == [{"statusCode": 404, "url": url}]
    assert not hasattr(task, "unique_id")


def test_teammates_are_listed_invited_and_promoted(client: ScaleClient) -> None:
    before = client.list_teammates()
    assert before
    email = f"{unique()}@example.com"
    assert len(client.invite_teammates([email], TeammateRole.Member)) == len(before) + 1
    members = client.update_teammates_role([before[1].email], TeammateRole.Member)
    assert {mate.email: mate.role for mate in members}[before[1].email] == "member"


def test_evaluation_and_training_tasks_are_created(client: ScaleClient) -> None:
    client.create_project(project := unique(), TaskType.ImageAnnotation, rapid=True)
    expected = {"annotations": [{"type": "box", "label": "Big Cow", "left": 1, "top": 2, "width": 30, "height": 40}]}
    params = {"project": project, "attachment": PICTURE, "geometries": BOXES, "expected_response": expected}
    assert client.create_evaluation_task(TaskType.ImageAnnotation, **params).expected_response == expected
    assert client.create_training_task(TaskType.ImageAnnotation, **params).expected_response == expected


def test_a_live_task_waits_is_worked_on_and_completed(live: ScaleClient, address: str) -> None:
    live.create_project(project := unique(), TaskType.ImageAnnotation)
    batch = live.create_batch(project, unique())
    task, unwanted = make_a_task(live, unique(), batch.name), make_a_task(live, unique(), batch.name)
    assert (task.status, task.work_started, task.is_test) == ("pending", False, False)
    assert client_counts(batch) == (2, 0, 0)
    unwanted.cancel(clear_unique_id=True)
    unwanted.cancel()
    unwanted.refresh()
    assert unwanted.status == "canceled"
    assert not hasattr(unwanted, "unique_id")
    advance(address, 24)
    task.refresh()
    assert (task.status, task.work_started) == ("completed", True)
    assert client_counts(batch) == (0, 1, 1)
    assert batch.status == "completed"


def client_counts(batch: Batch) -> tuple[int, int, int]:
    batch.get_status()
    return batch.tasks_pending, batch.tasks_completed, batch.tasks_canceled


def test_studio_is_arranged(live: ScaleClient) -> None:
    project = live.create_project(unique(), TaskType.ImageAnnotation, studio=True).name
    batches = [live.create_batch(project, unique()) for _ in range(2)]
    for batch in batches:
        make_a_task(live, batch=batch.name)
        assert (batch.status, live.finalize_batch(batch.name).status) == ("staging", "in_progress")
        with pytest.raises(ScaleInvalidRequest):
            batch.finalize()
        with pytest.raises(ScaleInvalidRequest):
            make_a_task(live, batch=batch.name)
    email = next(mate.email for mate in live.list_teammates() if mate.role == "labeler")
    assert project in live.add_studio_assignments([email], [project])[email].assigned_projects
    assert project in live.list_studio_assignments()[email].assigned_projects
    group = live.create_project_group(project, [email], "night shift")
    assert (group.name, group.numWorkers) == ("night shift", 1)
    assert live.update_project_group(project, "night shift", [], []).name == "night shift"
    assert "night shift" in {each.name for each in live.list_project_groups(project)}
    assert live.assign_studio_batches(batches[0].name, ["night shift"]).groups == ["night shift"]
    pending = [batch.name for batch in live.list_studio_batches()]
    assert [batch.name for batch in live.set_studio_batches_priorities(pending[::-1])] == pending[::-1]
    assert [batch.name for batch in live.reset_studio_batches_priorities()] == pending
    assert project not in live.remove_studio_assignments([email], [project])[email].assigned_projects


def test_live_and_test_worlds_are_separate(client: ScaleClient, live: ScaleClient) -> None:
    task = make_a_task(client)
    with pytest.raises(ScaleResourceNotFound):
        live.get_task(task.id)
    with pytest.raises(ScaleResourceNotFound):
        live.get_project(PROJECT)
