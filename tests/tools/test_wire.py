"""What each tool puts on the wire: method, raw path, query and body, as Scale's documents have them."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
from jsonschema import Draft202012Validator

from scale_mcp.tools.card import Call
from scale_mcp.tools.registry import cards
from scale_mcp.tools.schema import output_schema
from tests.tools.conftest import TASK_ID, UUID, FakeScale, run

PICTURE = "https://example.com/a.png"
VIDEO = "https://example.com/a.mp4"
FRAMES = ["https://example.com/0.json", "https://example.com/1.json"]
NAME = "a b/c?d#é"
ENCODED = "a%20b%2Fc%3Fd%23%C3%A9"
BOX = {"box": {"objects_to_annotate": ["forklift", {"choice": "vehicle", "subchoices": ["car", "truck"]}]}}
PATH = f"/task/{TASK_ID}"


class Case(NamedTuple):
    """A call and the request that it must end in. ``body`` None means no body at all."""

    tool: str
    arguments: dict[str, Any]
    method: str
    path: str
    body: Any = None
    query: tuple[tuple[str, str], ...] = ()


def create(tool: str, kind: str, arguments: dict[str, Any], body: dict[str, Any] | None = None) -> Case:
    given = {**arguments, "unique_id": "u1"}
    return Case(tool, given, "POST", f"/task/{kind}", given if body is None else {**body, "unique_id": "u1"})


EVERYTHING_COMMON = {
    "project": "warehouse",
    "batch": "w-01",
    "instruction": "Draw boxes.",
    "callback_url": "https://example.com/cb",
    "metadata": {"site": "north", "nothing": None},
    "priority": 30,
    "clear_unique_id_on_error": True,
    "tags": ["night", "rain"],
    "project_version": -1,
}
FULL_GEOMETRIES = {
    "box": {
        "objects_to_annotate": ["car"],
        "min_height": 10,
        "min_width": 0,
        "can_rotate": True,
        "integer_pixels": False,
    },
    "polygon": {"objects_to_annotate": ["tree"], "min_vertices": 3, "max_vertices": 30},
    "line": {"objects_to_annotate": ["lane"], "min_vertices": 2},
    "point": {
        "objects_to_annotate": ["wheel", "hub"],
        "connections": [{"pair": ["wheel", "hub"], "connection_attribute": "belongs"}],
    },
    "ellipse": {"objects_to_annotate": ["sign"]},
    "cuboid": {
        "objects_to_annotate": ["truck"],
        "min_height": 5,
        "camera_intrinsics": {"fx": 1, "fy": 1, "cx": 0.5, "cy": 0.5, "skew": 0, "scale_factor": 2},
        "camera_rotation_quaternion": {"w": 1, "x": 0, "y": 0, "z": 0},
        "camera_height": 1.6,
    },
}
ATTRIBUTES = {
    "parked": {
        "description": "Is it parked?",
        "choices": ["Yes", "No"],
        "conditions": {"label_condition": {"label": ["car", "truck"]}},
    },
    "people": {"type": "number", "min": 0, "max": 60, "conditions": [{"attribute_conditions": [{"parked": "No"}]}]},
    "weather": {"type": "category", "choices": ["wet", "dry"], "conditions": {"is_global": True}},
    "heading": {"type": "angle"},
    "belongs": {"type": "linked", "allowed_labels": ["car"], "required": True},
}

CASES = [
    create("create_image_annotation_task", "imageannotation", {"attachment": PICTURE, "geometries": BOX}),
    create(
        "create_image_annotation_task",
        "imageannotation",
        {
            **EVERYTHING_COMMON,
            "attachment": "scaledata://606e2a0a46102303a1309491/8ac09a90",
            "attachment_type": "image",
            "geometries": FULL_GEOMETRIES,
            "annotation_attributes": ATTRIBUTES,
            "links": {
                "tows": {"is_bidirectional": False, "from_allowed_labels": ["car"]},
                "is": [{"is_bidirectional": True}],
            },
            "context_attachments": [{"attachment": "s3://bucket/other picture.png"}],
            "hypothesis": {"annotations": [{"type": "box", "label": "car", "left": 1, "top": 2}]},
            "base_annotations": {"annotations": []},
            "can_add_base_annotations": True,
            "can_edit_base_annotations": False,
            "can_edit_base_annotation_labels": True,
            "can_delete_base_annotations": False,
            "padding": 5,
            "paddingX": 10,
            "paddingY": 0,
        },
    ),
    create(
        "create_image_annotation_task",
        "imageannotation",
        {"attachment": PICTURE, "project": "warehouse", "extra_params": {"force": True, "layers": {"a": None}}},
        {"attachment": PICTURE, "project": "warehouse", "force": True, "layers": {"a": None}},
    ),
    create(
        "create_segmentation_task",
        "segmentannotation",
        {
            "attachment": PICTURE,
            "attachment_type": "image",
            "labels": ["road", {"choice": "pedestrian", "instance_label": True}],
            "allow_unlabeled": False,
        },
    ),
    create(
        "create_video_annotation_task",
        "videoannotation",
        {
            "attachment_type": "image",
            "attachments": [PICTURE, PICTURE],
            "geometries": BOX,
            "frame_rate": 1,
            "events_to_annotate": ["stop"],
            "start_time": 0,
            "duration_time": 2.5,
        },
    ),
    create(
        "create_video_annotation_task",
        "videoannotation",
        {"attachment_type": "video", "attachment": VIDEO, "geometries": BOX},
    ),
    create(
        "create_video_playback_annotation_task",
        "videoplaybackannotation",
        {
            "attachment": VIDEO,
            "attachments": [VIDEO],
            "attachment_type": "video",
            "geometries": BOX,
            "frame_rate": 2,
            "annotation_frame_rate": 2,
            "video_frame_rate": 30,
            "events_to_annotate": ["stop"],
        },
    ),
    create(
        "create_lidar_annotation_task",
        "lidarannotation",
        {
            "attachment_type": "json",
            "attachments": FRAMES,
            "labels": ["car", "truck"],
            "meters_per_unit": 1,
            "max_distance_meters": 80,
            "pitch_and_roll_enabled": True,
            "dependents": {"defs": [{"type": "lidarsegmentation", "instruction": "x"}], "require_audit": False},
        },
    ),
    create(
        "create_lidar_segmentation_task",
        "lidarsegmentation",
        {"project": "yard", "attachments": FRAMES, "labels": ["road"]},
        {"project": "yard", "attachments": FRAMES, "labels": ["road"], "attachment_type": "json"},
    ),
    create(
        "create_lidar_segmentation_task",
        "lidarsegmentation",
        {"batch": "yard-1", "lidar_task": TASK_ID, "lidar_task_frames": [0, 5], "labels": ["road"]},
    ),
    create(
        "create_named_entity_recognition_task",
        "namedentityrecognition",
        {
            "text": "Ann Lee spoke at Transform.",
            "labels": [
                {"name": "person", "description": "a human", "children": [{"name": "speaker"}]},
                {"name": "event", "color": "red"},
            ],
            "relationships": [
                {
                    "name": "speaks_at",
                    "display_name": "speaks at",
                    "is_directed": True,
                    "source_label": "speaker",
                    "target_label": "event",
                }
            ],
            "global_attributes": {"tone": {"type": "category", "choices": ["good", "bad"]}},
        },
    ),
    create(
        "create_named_entity_recognition_task",
        "namedentityrecognition",
        {"text": "Ann", "labels": ["person", {"name": "place", "children": ["city"]}]},
        {"text": "Ann", "labels": [{"name": "person"}, {"name": "place", "children": [{"name": "city"}]}]},
    ),
    create(
        "create_text_collection_task",
        "textcollection",
        {
            "attachments": [
                {"type": "website", "content": "https://example.com/"},
                {"type": "text", "content": "Plain words"},
            ],
            "fields": [
                {
                    "type": "category",
                    "field_id": "lang",
                    "title": "Language",
                    "choices": [{"label": "English", "value": "en"}, {"label": "None", "value": False}],
                },
                {
                    "type": "field_set",
                    "field_id": "people",
                    "title": "People",
                    "max_responses_required": 100,
                    "fields": [
                        {"type": "text", "field_id": "who", "title": "Who"},
                        {"type": "number", "field_id": "age", "title": "Age"},
                    ],
                },
            ],
            "title": "Sites",
            "description": "Look at the site.",
            "responses_required": 3,
        },
    ),
    create(
        "create_document_transcription_task",
        "documenttranscription",
        {
            "attachment": "https://example.com/r.jpg",
            "features": [
                {"type": "block", "label": "total", "flags": ["money"], "lang": "en-US", "geometry": "polygon"},
                {"type": "group", "title": "table", "anything": 1},
            ],
        },
    ),
    create(
        "create_document_transcription_task",
        "documenttranscription",
        {"attachments": ["https://example.com/1.jpg"], "fields": [{"type": "text", "label": "name"}]},
    ),
    Case("get_task", {"task_id": TASK_ID}, "GET", PATH),
    Case("list_tasks", {}, "GET", "/tasks", query=(("limit", "20"),)),
    Case("list_tasks", {"next_token": ""}, "GET", "/tasks", query=(("limit", "20"),)),
    Case(
        "list_tasks",
        {
            "project": "a b",
            "batch": "b1",
            "type": "imageannotation",
            "status": "error",
            "customer_review_status": ["accepted", "fixed"],
            "unique_id": ["u1", "u2"],
            "tags": ["a", "b"],
            "start_time": "2026-03-01",
            "end_time": "2026-03-02T03:14:15-07:00",
            "completed_after": "2026-03-01",
            "completed_before": "2026-03-02",
            "updated_after": "2026-03-01 10:00:00.5",
            "updated_before": "2026-03-02T00:00:00Z",
            "include_attachment_url": True,
            "limited_response": False,
            "limit": 100,
            "next_token": "abc=",
        },
        "GET",
        "/tasks",
        query=(
            ("project", "a b"),
            ("batch", "b1"),
            ("type", "imageannotation"),
            ("status", "error"),
            ("customer_review_status", "accepted,fixed"),
            ("unique_id", "u1"),
            ("unique_id", "u2"),
            ("tags", "a"),
            ("tags", "b"),
            ("start_time", "2026-03-01"),
            ("end_time", "2026-03-02T03:14:15-07:00"),
            ("completed_after", "2026-03-01"),
            ("completed_before", "2026-03-02"),
            ("updated_after", "2026-03-01 10:00:00.5"),
            ("updated_before", "2026-03-02T00:00:00Z"),
            ("include_attachment_url", "true"),
            ("limited_response", "false"),
            ("limit", "100"),
            ("next_token", "abc="),
        ),
    ),
    Case(
        "list_tasks",
        {"unique_id": "u1", "tags": "a", "customer_review_status": "accepted,rejected", "limit": 1},
        "GET",
        "/tasks",
        query=(
            ("customer_review_status", "accepted,rejected"),
            ("unique_id", "u1"),
            ("tags", "a"),
            ("limit", "1"),
        ),
    ),
    Case("add_task_tags", {"task_id": TASK_ID, "tags": ["b", "a"]}, "PUT", f"{PATH}/tags", ["b", "a"]),
    Case("add_task_tags", {"task_id": TASK_ID, "tags": ["b", "a", "b"]}, "PUT", f"{PATH}/tags", ["b", "a"]),
    Case("set_task_tags", {"task_id": TASK_ID, "tags": ["b"]}, "POST", f"{PATH}/tags", ["b"]),
    Case("set_task_tags", {"task_id": TASK_ID, "tags": []}, "POST", f"{PATH}/tags", []),
    Case("delete_task_tags", {"task_id": TASK_ID, "tags": ["b"]}, "DELETE", f"{PATH}/tags", ["b"]),
    Case(
        "update_task_unique_id",
        {"task_id": TASK_ID, "unique_id": "new id"},
        "POST",
        f"{PATH}/unique_id",
        {"unique_id": "new id"},
    ),
    Case("delete_task_unique_id", {"task_id": TASK_ID}, "DELETE", f"{PATH}/unique_id"),
    Case(
        "set_task_metadata",
        {"task_id": TASK_ID, "metadata": {"site": "south", "old": None}},
        "POST",
        f"{PATH}/setMetadata",
        {"site": "south", "old": None},
    ),
    Case("set_task_metadata", {"task_id": TASK_ID, "metadata": {}}, "POST", f"{PATH}/setMetadata", {}),
    Case("get_task_response", {"task_id": TASK_ID, "uuid": UUID}, "GET", f"{PATH}/response_url/{UUID}"),
    Case("resend_task_callback", {"task_id": TASK_ID}, "POST", f"{PATH}/send_callback"),
    Case("cancel_task", {"task_id": TASK_ID}, "POST", f"{PATH}/cancel"),
    Case(
        "cancel_task",
        {"task_id": TASK_ID, "clear_unique_id": True},
        "POST",
        f"{PATH}/cancel",
        query=(("clear_unique_id", "true"),),
    ),
    Case(
        "create_batch",
        {
            "project": "warehouse",
            "name": NAME,
            "callback": "me@example.com",
            "calibration_batch": False,
            "self_label_batch": True,
            "metadata": {"wk": 12},
        },
        "POST",
        "/batches",
        {
            "project": "warehouse",
            "name": NAME,
            "callback": "me@example.com",
            "calibration_batch": False,
            "self_label_batch": True,
            "metadata": {"wk": 12},
        },
    ),
    Case("finalize_batch", {"batch_name": NAME}, "POST", f"/batches/{ENCODED}/finalize"),
    Case("get_batch", {"batch_name": NAME}, "GET", f"/batches/{ENCODED}"),
    Case("get_batch_status", {"batch_name": NAME}, "GET", f"/batches/{ENCODED}/status"),
    Case("list_batches", {}, "GET", "/batches", query=(("limit", "20"), ("offset", "0"))),
    Case(
        "list_batches",
        {
            "project": "p",
            "status": "staging",
            "start_time": "2026-01-01",
            "end_time": "2026-02-01",
            "completed_after": "2026-01-01",
            "completed_before": "2026-02-01",
            "audited_after": "2026-01-01",
            "audited_before": "2026-02-01",
            "exclude_archived": True,
            "detailed": True,
            "limit": 5,
            "offset": 10,
        },
        "GET",
        "/batches",
        query=(
            ("project", "p"),
            ("status", "staging"),
            ("start_time", "2026-01-01"),
            ("end_time", "2026-02-01"),
            ("completed_after", "2026-01-01"),
            ("completed_before", "2026-02-01"),
            ("audited_after", "2026-01-01"),
            ("audited_before", "2026-02-01"),
            ("exclude_archived", "true"),
            ("detailed", "true"),
            ("limit", "5"),
            ("offset", "10"),
        ),
    ),
    Case(
        "prioritize_batch",
        {"batch_name": NAME, "priority": 10},
        "POST",
        f"/batches/{ENCODED}/prioritize",
        {"priority": 10},
    ),
    Case(
        "create_project",
        {
            "name": NAME,
            "type": "imageannotation",
            "params": {"instruction": "x", "geometries": BOX, "own_key": [1]},
            "rapid": False,
            "studio": True,
            "pipeline": "consensus_task",
            "consensus_attempts": 3,
            "datasetId": "ds_1",
        },
        "POST",
        "/projects",
        {
            "name": NAME,
            "type": "imageannotation",
            "params": {"instruction": "x", "geometries": BOX, "own_key": [1]},
            "rapid": False,
            "studio": True,
            "pipeline": "consensus_task",
            "consensus_attempts": 3,
            "datasetId": "ds_1",
        },
    ),
    Case("get_project", {"name": NAME}, "GET", f"/projects/{ENCODED}"),
    Case("list_projects", {}, "GET", "/projects"),
    Case("list_projects", {"archived": False}, "GET", "/projects", query=(("archived", "false"),)),
    Case(
        "set_project_params",
        {"name": NAME, "patch": True, "instruction": "Label forklifts only."},
        "POST",
        f"/projects/{ENCODED}/setParams",
        {"patch": True, "instruction": "Label forklifts only."},
    ),
    Case(
        "set_project_params",
        {"name": "p", "patch": False, "params": {"geometries": BOX}, "labels": ["a"], "paddingX": 3},
        "POST",
        "/projects/p/setParams",
        {"patch": False, "geometries": BOX, "labels": ["a"], "paddingX": 3},
    ),
    Case(
        "set_project_ontology",
        {
            "name": NAME,
            "ontology": [
                "pallet",
                {"choice": "vehicle", "display": "Vehicle", "subchoices": ["forklift", {"choice": "truck"}]},
            ],
            "version_name": "v2",
        },
        "POST",
        f"/projects/{ENCODED}/setOntology",
        {
            "name": "v2",
            "ontology": [
                "pallet",
                {"choice": "vehicle", "display": "Vehicle", "subchoices": ["forklift", {"choice": "truck"}]},
            ],
        },
    ),
    Case(
        "import_file",
        {"file_url": PICTURE, "project_name": "p", "reference_id": "r", "metadata": {"a": 1}},
        "POST",
        "/files/import",
        {"file_url": PICTURE, "project_name": "p", "reference_id": "r", "metadata": {"a": 1}},
    ),
    Case(
        "list_assets",
        {"project": NAME, "metadata": '{"cam": "3"}', "cursor": "c1"},
        "GET",
        "/files",
        query=(("project", NAME), ("metadata", '{"cam": "3"}'), ("cursor", "c1")),
    ),
    Case("list_teammates", {}, "GET", "/teams"),
    Case(
        "invite_team_member",
        {"emails": ["eve@example.com"], "team_role": "labeler"},
        "POST",
        "/teams/invite",
        {"emails": ["eve@example.com"], "team_role": "labeler"},
    ),
    Case(
        "set_teammate_role",
        {"emails": ["eve@example.com"], "team_role": "manager"},
        "POST",
        "/teams/set_role",
        {"emails": ["eve@example.com"], "team_role": "manager"},
    ),
    Case("get_studio_assignments", {}, "GET", "/studio/assignments"),
    Case(
        "add_studio_assignments",
        {"emails": ["ann@example.com"], "projects": ["warehouse", NAME]},
        "POST",
        "/studio/assignments/add",
        {"emails": ["ann@example.com"], "projects": ["warehouse", NAME]},
    ),
    Case(
        "remove_studio_assignments",
        {"emails": ["ann@example.com"], "projects": ["yard"]},
        "POST",
        "/studio/assignments/remove",
        {"emails": ["ann@example.com"], "projects": ["yard"]},
    ),
    Case("get_studio_batches", {}, "GET", "/studio/batches"),
    Case(
        "set_studio_batch_priorities",
        {"batch_names": ["yard-03", "yard-01"]},
        "POST",
        "/studio/batches/set_priorities",
        {"batches": [{"name": "yard-03"}, {"name": "yard-01"}]},
    ),
    Case("reset_studio_batch_priorities", {}, "POST", "/studio/batches/reset_priorities"),
    Case(
        "get_fixless_audits",
        {"task_id": TASK_ID, "id": "a1"},
        "GET",
        "/audits",
        query=(("task_id", TASK_ID), ("id", "a1")),
    ),
    Case(
        "get_training_attempts",
        {
            "quality_task_ids": ["q1", "q2"],
            "labeler_emails": ["ann@example.com"],
            "limit": 3,
            "next_token": "t",
        },
        "GET",
        "/quality/labelers",
        query=(
            ("quality_task_ids", "q1"),
            ("quality_task_ids", "q2"),
            ("labeler_emails", "ann@example.com"),
            ("limit", "3"),
            ("next_token", "t"),
        ),
    ),
    Case(
        "create_evaluation_task",
        {
            "type": "imageannotation",
            "project": "rapid one",
            "expected_response": {"annotations": []},
            "initial_response": {"annotations": []},
            "attachment": PICTURE,
            "geometries": BOX,
        },
        "POST",
        "/evaluation_tasks/imageannotation",
        {
            "project": "rapid one",
            "expected_response": {"annotations": []},
            "initial_response": {"annotations": []},
            "attachment": PICTURE,
            "geometries": BOX,
        },
    ),
]


@pytest.mark.anyio
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.tool)
async def test_the_request_on_the_wire_is_what_scale_documents(case: Case, call: Call, scale: FakeScale):
    output = await run(call, case.tool, case.arguments)

    last = scale.sent[-1]
    assert (last.method, last.path) == (case.method, case.path)
    assert sorted(last.query) == sorted(case.query)
    assert last.body == case.body
    assert case.body is not None or last.content == b""
    structure = output.model_dump(mode="json", by_alias=True, exclude_none=True)
    Draft202012Validator(output_schema(cards()[case.tool])).validate(structure)
    assert 0 < len(output.text()) < 3_000


def test_every_tool_has_its_request_checked():
    assert {case.tool for case in CASES} | {"upload_file"} == set(cards())


@pytest.mark.anyio
@pytest.mark.parametrize("metadata", [{"cam": "3"}, '{"cam": "3"}'], ids=["object", "text"])
async def test_an_upload_sends_its_text_parts_before_the_file(metadata: Any, call: Call, scale: FakeScale):
    await run(
        call,
        "upload_file",
        {
            "file_base64": "aGVsbG8=",
            "file_name": "000017.png",
            "mime_type": "image/png",
            "display_name": "Frame 17",
            "project_name": "warehouse",
            "reference_id": "cam3/17",
            "metadata": metadata,
        },
    )

    (sent,) = scale.sent
    assert (sent.method, sent.path) == ("POST", "/files/upload")
    parts = sent.content.decode().split("\r\nContent-Disposition: form-data; ")[1:]
    assert [part.split("\r\n--")[0] for part in parts] == [
        'name="display_name"\r\n\r\nFrame 17',
        'name="project_name"\r\n\r\nwarehouse',
        'name="reference_id"\r\n\r\ncam3/17',
        'name="metadata"\r\n\r\n{"cam": "3"}',
        'name="file"; filename="000017.png"\r\nContent-Type: image/png\r\n\r\nhello',
    ]


@pytest.mark.anyio
async def test_a_lidar_task_says_that_its_frames_are_json_when_the_caller_does_not(call: Call, scale: FakeScale):
    await run(call, "create_lidar_annotation_task", {"attachments": FRAMES, "labels": ["car"], "unique_id": "u"})

    assert scale.sent[-1].body["attachment_type"] == "json"


@pytest.mark.anyio
async def test_a_create_without_a_unique_id_gets_one_and_says_so(call: Call, scale: FakeScale):
    output = await run(call, "create_image_annotation_task", {"attachment": PICTURE, "geometries": BOX})

    assigned = scale.sent[-1].body["unique_id"]
    assert output.model_dump()["unique_id_assigned"] is True
    assert output.text().startswith("created: ")
    assert f'unique_id: "{assigned}" (assigned here)' in output.text()
