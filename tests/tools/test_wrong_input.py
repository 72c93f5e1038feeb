"""Wrong arguments to every tool: the answer names each parameter with its cure, and Scale sees no request."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pytest
from hypothesis import given, settings
from hypothesis.strategies import (
    DataObject,
    booleans,
    data,
    dictionaries,
    floats,
    integers,
    lists,
    none,
    recursive,
    sampled_from,
    text,
)

from scale_mcp.tools.arguments import check
from scale_mcp.tools.card import Call, Card, ToolFailure
from scale_mcp.tools.registry import cards, hosted_cards
from scale_mcp.tools.schema import input_schema
from tests.tool_arguments import ARGUMENTS as OF_ALL_SERVERS
from tests.tool_arguments import HOSTED_ARGUMENTS
from tests.tools.conftest import TASK_ID, FakeScale, run

PICTURE = "https://example.com/a.png"
BOX = {"box": {"objects_to_annotate": ["car"]}}
WRONG_TYPES: dict[str, tuple[Any, ...]] = {
    "string": (5, True, ["x"], {"x": 1}),
    "integer": ("5", True, 1.5, [1]),
    "number": ("1.5", True, [1.5]),
    "boolean": ("true", 1, "yes"),
    "array": (5, {"a": 1}, True),
    "object": ("{}", 5, ["a"]),
}
ARGUMENTS = OF_ALL_SERVERS | HOSTED_ARGUMENTS
# What the schema shows is the plainest form; these take others too.
TAKES_ANY_JSON = ("expected_response", "initial_response")
TAKES_TEXT_OR_OBJECT = ("metadata",)
MAY_BE_EMPTY = {"list_tasks": ("next_token",)}  # Scale begins anew


class Wrong(NamedTuple):
    tool: str
    arguments: dict[str, Any]
    says: tuple[str, ...]  # each must stand in the answer


def complaint(card: Card, arguments: Any) -> str:
    with pytest.raises(ToolFailure) as caught:
        check(card, arguments)
    return str(caught.value)


every_card = pytest.mark.parametrize("card", list(hosted_cards().values()), ids=lambda card: card.name)
PARAMETERS = [
    (card, name, schema)
    for card in hosted_cards().values()
    for name, schema in input_schema(card)["properties"].items()
]
every_parameter = pytest.mark.parametrize(
    ("card", "name", "schema"), PARAMETERS, ids=[f"{card.name}-{name}" for card, name, _ in PARAMETERS]
)


@every_card
def test_an_unknown_argument_is_refused(card: Card):
    text = complaint(card, {**ARGUMENTS[card.name], "zzz_unheard_of": 1})

    assert "`zzz_unheard_of` is unknown here" in text
    assert "nothing was sent" in text


@every_parameter
def test_a_misspelt_argument_is_refused_with_the_right_spelling(card: Card, name: str, schema: dict[str, Any]):
    camel = name.split("_")[0] + "".join(part.title() for part in name.split("_")[1:])
    misspelt = camel if camel != name else name + name[-1]
    value = ARGUMENTS[card.name].get(name, "x")
    given = {key: item for key, item in ARGUMENTS[card.name].items() if key != name}

    text = complaint(card, {**given, misspelt: value})

    assert f"`{misspelt}` is unknown here; did you mean `{name}`?" in text


@every_card
def test_each_required_argument_is_asked_for(card: Card):
    for name in input_schema(card).get("required", []):
        given = {key: value for key, value in ARGUMENTS[card.name].items() if key != name}

        assert f"`{name}` is missing" in complaint(card, given)


@every_parameter
def test_null_is_not_a_way_to_leave_something_out(card: Card, name: str, schema: dict[str, Any]):
    text = complaint(card, {**ARGUMENTS[card.name], name: None})
    cure = "give a value" if name in input_schema(card).get("required", []) else "leave it out instead"

    assert f"`{name}` must not be null; {cure}" in text


@every_parameter
def test_nothing_is_coerced(card: Card, name: str, schema: dict[str, Any]):
    for value in () if name in TAKES_ANY_JSON else WRONG_TYPES[schema["type"]]:
        if isinstance(value, str | dict) and name in TAKES_TEXT_OR_OBJECT and card.toolset == "files":
            continue  # Scale's forms and filters take metadata as a JSON text, so both are read

        text = complaint(card, {**ARGUMENTS[card.name], name: value})

        assert f"`{name}" in text, value


@every_parameter
def test_limits_are_checked(card: Card, name: str, schema: dict[str, Any]):
    beyond: list[Any] = []
    if "maximum" in schema:
        beyond += [schema["maximum"] + 1, schema["minimum"] - 1, 10**30]
    if "enum" in schema:
        beyond += ["", "no_such_value", schema["enum"][0].upper()]
    if "maxItems" in schema:
        beyond += [[f"t{i}" for i in range(schema["maxItems"] + 1)]]
    if schema["type"] == "string":
        beyond += ["", "   "] if name not in MAY_BE_EMPTY.get(card.name, ()) else []
    for value in beyond:
        text = complaint(card, {**ARGUMENTS[card.name], name: value})

        assert f"`{name}" in text, value


@every_card
@pytest.mark.parametrize("arguments", [None, [], "x", 5])
def test_arguments_must_be_an_object(card: Card, arguments: Any):
    assert "the arguments must be a JSON object" in complaint(card, arguments)


IMAGE = {"attachment": PICTURE, "geometries": BOX}
SEGMENT = {"attachment": PICTURE, "labels": ["road"]}
NER = {"text": "Ann", "labels": ["person"]}
TEXTS = {
    "attachments": [{"type": "text", "content": "x"}],
    "fields": [{"type": "text", "field_id": "a", "title": "A"}],
}
DOCUMENT = {"attachment": PICTURE, "features": [{"type": "block", "label": "total"}]}


def geometry(**shapes: Any) -> dict[str, Any]:
    return {"attachment": PICTURE, "geometries": shapes}


def attributes(**definitions: Any) -> dict[str, Any]:
    return {**IMAGE, "annotation_attributes": definitions}


def field(**parts: Any) -> dict[str, Any]:
    return {**TEXTS, "fields": [{"type": "text", "field_id": "a", "title": "A", **parts}]}


def tables() -> Iterator[Wrong]:
    image = "create_image_annotation_task"
    yield Wrong(image, {}, ("2 problems", "`attachment` is missing", "`geometries` is missing"))
    yield Wrong(image, {"attachment": PICTURE}, ("`geometries` is missing", "`project` or `batch` that supplies it"))
    yield Wrong(image, {**IMAGE, "attachment": "ftp://x/y"}, ("`attachment` must be a URL that begins with http://",))
    yield Wrong(image, {**IMAGE, "attachment": "https:///y"}, ("`attachment` is not a valid URL",))
    yield Wrong(image, {**IMAGE, "attachment": "https://x/a b"}, ("no spaces (write %20)",))
    yield Wrong(image, {**IMAGE, "attachment": "/etc/passwd"}, ("must be a URL",))
    yield Wrong(image, {**IMAGE, "attachment": "scaledata://606e"}, ("whole attachment_url",))
    yield Wrong(image, {**IMAGE, "callback_url": "example.com/cb"}, ("`callback_url` must be a URL", "or an e-mail"))
    yield Wrong(image, {**IMAGE, "callback_url": "ann@"}, ("`callback_url` is not a valid e-mail",))
    yield Wrong(image, {**IMAGE, "metadata": {"a": "x" * 11_000}}, ("at most 10 kB", "store less"))
    yield Wrong(image, {**IMAGE, "tags": list("abcdef")}, ("`tags` must have at most 5 items, not 6",))
    yield Wrong(image, {**IMAGE, "attachment": "s3://bucket/a\nb"}, ("must not hold control characters",))
    yield Wrong(image, {**IMAGE, "attachment": " https://x/a"}, ("begin or end with a space",))
    yield Wrong(image, {**IMAGE, "tags": ["a", ""]}, ("`tags[1]` must not be empty",))
    yield Wrong(image, {**IMAGE, "tags": "a"}, ('`tags` must be a list, not the string "a"; write ["a"]',))
    yield Wrong(
        image, {**IMAGE, "priority": "20"}, ('must be an integer, not the string "20"; write it without quotes',)
    )
    yield Wrong(image, {**IMAGE, "priority": 5}, ("`priority` must be at least 10, not the number 5",))
    yield Wrong(image, {**IMAGE, "project_version": -2}, ("`project_version` must be at least -1",))
    yield Wrong(image, {**IMAGE, "project": ".."}, ("`project` must not be, or hold as a path part, `.` or `..`",))
    yield Wrong(image, {**IMAGE, "project": "a/../b"}, ("`project` must not be",))
    yield Wrong(image, {**IMAGE, "batch": "a\nb"}, ("`batch` must not hold control characters",))
    yield Wrong(image, {**IMAGE, "extra_params": {"project": "p"}}, ("`extra_params.project` cannot be set here",))
    yield Wrong(image, {**IMAGE, "extra_params": {"unique_id": "u"}}, ("give it as the argument `unique_id`",))
    yield Wrong(image, {**IMAGE, "foo": 1}, ("put it into `extra_params`",))
    yield Wrong(image, {**IMAGE, "instruction": "\ud800"}, ("`instruction` holds half of a surrogate pair",))
    yield Wrong(image, {**IMAGE, "metadata": {"a": float("nan")}}, ("`metadata.a` must be a finite number",))
    yield Wrong(image, {**IMAGE, "padding": -1}, ("`padding` must be at least 0",))
    yield Wrong(image, {**IMAGE, "base_annotations": {}}, ("`base_annotations.annotations` is missing",))
    yield Wrong(
        image, {**IMAGE, "context_attachments": [{"attachment": PICTURE}]}, ("must differ from the task's own",)
    )
    yield Wrong(image, {**IMAGE, "context_attachments": [PICTURE]}, ("`context_attachments[0]` must be an object",))
    yield Wrong(
        image, {**IMAGE, "hypothesis": {"annotations": [{"type": "line"}]}}, ('is "line", but `geometries` asks only',)
    )
    yield Wrong(image, geometry(), ("`geometries` must hold at least one of box, polygon, line",))
    yield Wrong(image, geometry(boxes={}), ("`geometries.boxes` is unknown here; did you mean `box`?",))
    yield Wrong(image, geometry(box={"min_widht": 1}), ("`geometries.box.min_widht`", "did you mean `min_width`?"))
    yield Wrong(image, geometry(box={"min_vertices": 1}), ("`geometries.box.min_vertices` is unknown here; known: ",))
    yield Wrong(
        image,
        geometry(box={"integer_pixels": True, "can_rotate": True}),
        ("`geometries.box.integer_pixels` does not go with `can_rotate`",),
    )
    yield Wrong(image, geometry(line={"min_vertices": 5, "max_vertices": 2}), ("must be at least `min_vertices` (5)",))
    yield Wrong(image, geometry(polygon={"max_vertives": 2}), ("did you mean `max_vertices`?",))
    yield Wrong(image, geometry(point={}), ("`geometries.point.objects_to_annotate` is missing",))
    yield Wrong(image, geometry(box={"objects_to_annotate": ["a", "a"]}), ('names "a" more than once',))
    yield Wrong(
        image,
        geometry(box={"objects_to_annotate": [{"choice": "v", "subchoices": ["a", {"choice": "v"}]}]}),
        ('names "v" more than once; labels must be unique, nested ones too',),
    )
    yield Wrong(
        image,
        geometry(box={"objects_to_annotate": [{"label": "a"}]}),
        ("objects_to_annotate[0].label` is unknown here",),
    )
    yield Wrong(image, geometry(box={"objects_to_annotate": [5]}), ('must be a text or an object with "choice"',))
    yield Wrong(
        image,
        geometry(cuboid={"camera_intrinsics": {"scalefactor": 1, "scale_factor": 1}}),
        ("is another spelling of `scalefactor`",),
    )
    yield Wrong(image, geometry(cuboid={"camera_rotation_quaternion": {"w": 1}}), ("camera_rotation_quaternion.x`",))
    yield Wrong(image, attributes(a={"type": "numbr"}), ("`annotation_attributes.a` must be an object whose `type`",))
    yield Wrong(image, attributes(a={"type": "category"}), ("`annotation_attributes.a.choices` is missing",))
    yield Wrong(image, attributes(a={}), ("`annotation_attributes.a.choices` is missing",))
    yield Wrong(image, attributes(a={"type": "number", "min": 5, "max": 1}), ("must be at least `min` (5)",))
    yield Wrong(image, attributes(a={"type": "linked"}), ("`annotation_attributes.a.allowed_labels` is missing",))
    yield Wrong(
        image,
        attributes(a={"choices": ["x"], "conditions": [{"attribute_conditions": [{"b": "y"}]}]}),
        ("depends on the attribute `b`, which is not defined",),
    )
    yield Wrong(
        image, attributes(a={"choices": ["x"], "conditions": "none"}), ("must be an object or a list of objects",)
    )
    yield Wrong(
        image, attributes(a={"choices": ["x"], "conditions": {"label": "x"}}), ("conditions.label` is unknown",)
    )
    yield Wrong(image, {**IMAGE, "links": {"x": 5}}, ("`links.x` must be an object or a list of objects",))
    yield Wrong(image, {**IMAGE, "links": {"x": [{"from": ["a"]}]}}, ("`links.x[0].from` is unknown here",))
    yield Wrong(
        image,
        {"attachement": PICTURE, "priority": "high", "tags": list("abcdefg"), "geometries": {"bx": {}}, "metadata": []},
        (
            "6 problems",
            "`attachement`",
            "`attachment`",
            "`priority`",
            "`tags`",
            "`geometries.bx`",
            "`metadata`",
        ),
    )

    segment = "create_segmentation_task"
    yield Wrong(segment, {"attachment": PICTURE}, ("`labels` is missing", "`project` or `batch`"))
    yield Wrong(segment, {**SEGMENT, "labels": []}, ("`labels` must have at least 1 item",))
    yield Wrong(segment, {**SEGMENT, "labels": ["a", {"choice": "a"}]}, ('`labels` names "a" more than once',))
    yield Wrong(
        segment, {**SEGMENT, "labels": [{"choice": "a", "instance_label": "yes"}]}, ("instance_label` must be true",)
    )
    yield Wrong(segment, {**SEGMENT, "attachments": [PICTURE]}, ("did you mean `attachment`?",))

    video = "create_video_annotation_task"
    yield Wrong(video, {"geometries": BOX}, ("`attachments` is missing", 'the default is "image"'))
    yield Wrong(video, {"geometries": BOX, "attachment": PICTURE}, ('needs "video"',))
    yield Wrong(video, {"geometries": BOX, "attachment_type": "video"}, ("`attachment` is missing",))
    yield Wrong(
        video,
        {"geometries": BOX, "attachment_type": "video", "attachment": PICTURE, "attachments": [PICTURE]},
        ('`attachments` does not go with attachment_type "video"',),
    )
    yield Wrong(
        video,
        {"geometries": BOX, "attachment_type": "image", "attachment": PICTURE},
        ("`attachments` is missing",),
    )
    yield Wrong(
        video,
        {"geometries": BOX, "attachments": [PICTURE], "attachment": PICTURE},
        ("`attachment_type` is missing",),
    )
    yield Wrong(video, {"attachments": [PICTURE]}, ("`geometries` is missing",))
    yield Wrong(video, {"geometries": BOX, "attachments": [PICTURE], "frame_rate": 0}, ("must be more than 0",))

    playback = "create_video_playback_annotation_task"
    yield Wrong(playback, {"geometries": BOX}, ("`attachment` is missing",))
    yield Wrong(playback, {"attachment": PICTURE}, ("`geometries` is missing",))
    yield Wrong(playback, {"attachment": PICTURE, "geometries": BOX, "attachment_type": "image"}, ("must be video",))

    lidar = "create_lidar_annotation_task"
    yield Wrong(lidar, {"labels": ["car"]}, ("`attachments` is missing",))
    yield Wrong(lidar, {"attachments": [PICTURE]}, ("`labels` is missing",))
    yield Wrong(lidar, {"attachments": PICTURE, "labels": ["car"]}, ("`attachments` must be a list",))
    yield Wrong(
        lidar, {"attachments": [PICTURE], "labels": ["car"], "max_distance_meters": -1}, ("must be more than 0",)
    )
    yield Wrong(lidar, {"attachments": [PICTURE], "labels": ["car"], "dependents": {"defs": []}}, ("dependents.defs`",))

    points = "create_lidar_segmentation_task"
    yield Wrong(points, {"attachments": [PICTURE], "labels": ["a"]}, ("`project` is missing", "`batch`"))
    yield Wrong(
        points, {"project": "p", "labels": ["a"]}, ("`attachments` is missing; give `attachments` or `lidar_task`",)
    )
    yield Wrong(
        points,
        {"project": "p", "attachments": [PICTURE], "lidar_task": TASK_ID},
        ("`lidar_task` does not go with `attachments`",),
    )
    yield Wrong(
        points, {"project": "p", "attachments": [PICTURE], "lidar_task_frames": [0]}, ("goes only with `lidar_task`",)
    )
    yield Wrong(
        points,
        {"project": "p", "lidar_task": TASK_ID, "attachment_type": "json"},
        ("`attachment_type` does not go with `lidar_task`",),
    )
    yield Wrong(points, {"project": "p", "lidar_task": "../x"}, ("`lidar_task` must be the bare id",))

    entities = "create_named_entity_recognition_task"
    yield Wrong(entities, {"text": "x"}, ("`labels` is missing",))
    yield Wrong(entities, {**NER, "labels": [{"nam": "x"}]}, ("labels[0].name` is missing", "did you mean `name`?"))
    yield Wrong(entities, {**NER, "labels": ["a", {"name": "b", "children": ["a"]}]}, ("label names must be unique",))
    yield Wrong(entities, {**NER, "attachment": PICTURE}, ("`attachment` is unknown here",))
    yield Wrong(
        entities,
        {
            **NER,
            "relationships": [
                {"source_label": "person", "target_label": "person", "name": "a", "display_name": "A"},
                {"source_label": "person", "target_label": "place"},
            ],
        },
        ("all named or all unnamed", '`relationships[1].target_label` names "place"'),
    )
    yield Wrong(
        entities,
        {**NER, "relationships": [{"source_label": "person", "target_label": "person", "name": "a"}]},
        ("`relationships[0].display_name` is missing",),
    )
    yield Wrong(entities, {**NER, "relationships": [{"target_label": "person"}]}, ("source_label` is missing",))
    yield Wrong(entities, {**NER, "global_attributes": {"a": {"type": "angle"}}}, ("global attributes are category",))

    texts = "create_text_collection_task"
    yield Wrong(texts, {}, ("`fields` is missing", "`attachments` is missing"))
    yield Wrong(texts, {"fields": TEXTS["fields"]}, ("`attachments` is missing",))
    yield Wrong(texts, {**TEXTS, "responses_required": 0}, ("`responses_required` must be at least 1",))
    yield Wrong(texts, {**TEXTS, "responses_required": 101}, ("`responses_required` must be at most 100",))
    yield Wrong(texts, {**TEXTS, "response_required": 1}, ("did you mean `responses_required`?",))
    yield Wrong(texts, {**TEXTS, "attachments": [{"type": "imag", "content": PICTURE}]}, ("did you mean image?",))
    yield Wrong(texts, {**TEXTS, "attachments": [{"type": "image", "content": "x"}]}, ("must be a URL",))
    yield Wrong(texts, {**TEXTS, "attachments": [{"type": "text"}]}, ("attachments[0].content` is missing",))
    yield Wrong(texts, field(type="category"), ("fields[0].choices` is missing",))
    yield Wrong(texts, field(type="category", choices=["yes"]), ("fields[0].choices[0]` must be an object",))
    yield Wrong(texts, field(titel="x"), ("did you mean `title`?",))
    yield Wrong(texts, field(type="field_set", fields=[]), ("must hold at least two fields",))
    yield Wrong(texts, field(min_choices=3, max_choices=1), ("must be at least `min_choices` (3)",))
    yield Wrong(
        texts, {**TEXTS, "fields": TEXTS["fields"] * 2}, ('names "a" more than once; each field_id must be unique',)
    )

    document = "create_document_transcription_task"
    yield Wrong(document, {}, ("`attachment` is missing; give `attachment` or `attachments`", "`features` is missing"))
    yield Wrong(document, {**DOCUMENT, "attachments": [PICTURE]}, ("`attachments` does not go with `attachment`",))
    yield Wrong(document, {**DOCUMENT, "fields": DOCUMENT["features"]}, ("another spelling of `features`",))
    yield Wrong(document, {**DOCUMENT, "features": [{"type": "blok", "label": "x"}]}, ("did you mean block?",))
    yield Wrong(document, {**DOCUMENT, "features": [{"type": "block"}]}, ("features[0].label` is missing",))
    yield Wrong(document, {**DOCUMENT, "features": [{"type": "group"}]}, ("features[0].title` is missing",))
    yield Wrong(
        document,
        {**DOCUMENT, "features": [{"type": "block", "label": "x", "flags": ["mony"]}]},
        ("did you mean money?",),
    )

    for tool in ("get_task", "cancel_task", "delete_task_unique_id", "resend_task_callback"):
        yield Wrong(tool, {"task_id": "../projects"}, ("`task_id` must be the bare id",))
        yield Wrong(tool, {"task_id": f"https://api.scale.com/v1/task/{TASK_ID}"}, (f'not a URL; give "{TASK_ID}"',))
        yield Wrong(tool, {"taskId": TASK_ID}, ("did you mean `task_id`?",))
        yield Wrong(tool, {"id": TASK_ID}, ("did you mean `task_id`?",))
    yield Wrong("get_task", {"task_id": TASK_ID, "offset": -1}, ("`offset` must be at least 0",))
    yield Wrong("get_task_response", {"task_id": TASK_ID, "uuid": "a/b"}, ("`uuid` must be the bare id",))

    yield Wrong("list_tasks", {"created_after": "2026-01-01"}, ("did you mean `start_time`?",))
    yield Wrong("list_tasks", {"created_before": "2026-01-01"}, ("did you mean `end_time`?",))
    yield Wrong("list_tasks", {"start_time": "yesterday"}, ("`start_time`", "ISO 8601"))
    yield Wrong("list_tasks", {"start_time": 1700000000}, ("`start_time` must be a string",))
    yield Wrong("list_tasks", {"start_time": "2026-02-01", "end_time": "2026-01-01"}, ("lies before `start_time`",))
    yield Wrong("list_tasks", {"status": "done"}, ("must be one of pending, completed, canceled, error",))
    yield Wrong("list_tasks", {"status": "complete"}, ("did you mean completed?",))
    yield Wrong("list_tasks", {"status": "cancelled"}, ("did you mean canceled?",))
    yield Wrong(
        "list_tasks", {"customer_review_status": "accepted,okay"}, ("`customer_review_status[1]` must be one of",)
    )
    yield Wrong("list_tasks", {"limit": 0}, ("`limit` must be at least 1",))
    yield Wrong("list_tasks", {"limit": 101}, ("`limit` must be at most 100",))
    yield Wrong("list_tasks", {"offset": 5}, ("`offset` is unknown here",))
    yield Wrong("list_tasks", {"tags": []}, ("`tags` must have at least 1 item",))

    yield Wrong("add_task_tags", {"task_id": TASK_ID, "tags": []}, ("`tags` must have at least 1 item",))
    yield Wrong("add_task_tags", {"task_id": TASK_ID, "tags": list("abcdef")}, ("`tags` must have at most 5 items",))
    yield Wrong("delete_task_tags", {"task_id": TASK_ID, "tags": [" "]}, ("`tags[0]` must not be empty",))
    yield Wrong("set_task_metadata", {"task_id": TASK_ID, "metadata": {"a": "é" * 6_000}}, ("at most 10 kB",))

    yield Wrong("create_batch", {"project": "p", "name": "."}, ("`name` must not be",))
    yield Wrong("create_batch", {"project": "p", "name": "x" * 501}, ("at most 500 characters",))
    yield Wrong("create_batch", {"project": "p", "name": "b", "callback": "x"}, ("`callback` must be a URL",))
    yield Wrong("create_batch", {"project": "p", "name": "b", "callback_url": "x"}, ("did you mean `callback`?",))
    yield Wrong("finalize_batch", {"batch": "b"}, ("did you mean `batch_name`?", "`batch_name` is missing"))
    yield Wrong("get_batch", {"name": "b"}, ("did you mean `batch_name`?",))
    yield Wrong("list_batches", {"status": "finished"}, ("must be one of staging, in_progress, completed",))
    yield Wrong("list_batches", {"next_token": "x"}, ("`next_token` is unknown here",))
    yield Wrong("list_batches", {"offset": -1}, ("`offset` must be at least 0",))
    yield Wrong("prioritize_batch", {"batch_name": "b", "priority": 31}, ("`priority` must be at most 30",))
    yield Wrong("prioritize_batch", {"batch_name": "b", "priority": 9}, ("`priority` must be at least 10",))

    project = {"name": "p", "type": "imageannotation"}
    yield Wrong("create_project", {"name": "p", "type": "image annotation"}, ("`type` must be a task type",))
    yield Wrong("create_project", {"name": "p", "type": "a/b"}, ("`type` must be a task type",))
    yield Wrong("create_project", {"name": "p", "type": "imageanotation"}, ("did you mean imageannotation?",))
    yield Wrong("create_project", {**project, "rapid": True, "studio": True}, ("`studio` does not go with `rapid`",))
    yield Wrong("create_project", {**project, "pipeline": "standard_task"}, ("is for Studio projects",))
    yield Wrong("create_project", {**project, "consensus_attempts": 3}, ("goes only with pipeline",))
    yield Wrong("create_project", {**project, "params": {"geometries": {"bx": {}}}}, ("did you mean `box`?",))
    yield Wrong("create_project", {**project, "params": {"geometires": {}}}, ("did you mean `geometries`?",))
    yield Wrong("create_project", {**project, "params": {"unique_id": "u"}}, ("belongs to a single task",))
    yield Wrong("create_project", {"projectName": "p", "taskType": "x"}, ("`projectName`", "did you mean `type`?"))

    yield Wrong("set_project_params", {"name": "p"}, ("`params` is missing; name at least one parameter",))
    yield Wrong("set_project_params", {"name": "p", "patch": True}, ("name at least one parameter",))
    yield Wrong("set_project_params", {"name": "p", "patch": False, "params": {}}, ("name at least one parameter",))
    yield Wrong(
        "set_project_params", {"name": "p", "patch": "true", "instruction": "x"}, ("`patch` must be true or false",)
    )
    yield Wrong(
        "set_project_params", {"name": "p", "instruction": "x", "params": {"patch": True}}, ("argument `patch`",)
    )
    yield Wrong(
        "set_project_params", {"name": "p", "instruction": "x", "params": {"instruction": "y"}}, ("is given twice",)
    )
    yield Wrong(
        "set_project_params", {"name": "p", "geometries": {"box": {"x": 1}}}, ("`geometries.box.x` is unknown",)
    )
    yield Wrong("set_project_params", {"name": "p", "params": {"type": "textcollection"}}, ("when it is created",))
    yield Wrong("set_project_params", {"name": "p", "labels": [5]}, ("`labels[0]` must be",))
    yield Wrong("set_project_params", {"name": "p", "own_key": 5}, ("put it into `params`",))
    yield Wrong("set_project_ontology", {"name": "p", "ontology": []}, ("`ontology` must have at least 1 item",))
    yield Wrong(
        "set_project_ontology",
        {"name": "p", "ontology": ["a", {"choice": "b", "subchoices": ["a"]}]},
        ("more than once",),
    )
    yield Wrong("set_project_ontology", {"name": "p", "ontology": {"choice": "a"}}, ("`ontology` must be a list",))
    yield Wrong("get_project", {"project": "p"}, ("did you mean `name`?",))

    content = {"file_base64": "aGk=", "file_name": "a.txt"}
    yield Wrong("upload_file", {}, ("`path` is missing; give `path` or `file_base64`",))
    yield Wrong("upload_file", {**content, "path": "a.txt"}, ("`file_base64` does not go with `path`",))
    yield Wrong("upload_file", {"file_base64": "aGk="}, ("`file_name` is missing",))
    yield Wrong("upload_file", {**content, "file_base64": "a b !"}, ("`file_base64` is not valid base64",))
    yield Wrong("upload_file", {**content, "file_base64": "data:image/png;base64,aGk="}, ("the base64 alone",))
    yield Wrong("upload_file", {**content, "file_name": "a/b.png"}, ("`file_name` must be a plain file name",))
    yield Wrong("upload_file", {**content, "mime_type": "png\r\nX: y"}, ("`mime_type` must be a MIME type",))
    yield Wrong("upload_file", {**content, "metadata": {"a": "x" * 9_000}}, ("at most 8 kB",))
    yield Wrong("upload_file", {**content, "metadata": "not json"}, ("this text is not JSON",))
    yield Wrong("upload_file", {**content, "metadata": "[1]"}, ("`metadata` must be an object",))
    yield Wrong("upload_file", {"file": "a.txt"}, ("did you mean `path`?",))
    yield Wrong("import_file", {"file_url": "file:///etc/passwd"}, ("`file_url` must be a URL",))
    yield Wrong("import_file", {"file_url": "scaledata://a/b"}, ("`file_url` must be a URL",))
    yield Wrong("import_file", {"url": PICTURE}, ("did you mean `file_url`?",))
    yield Wrong("list_assets", {}, ("`project` is missing",))
    yield Wrong("list_assets", {"project": "p", "metadata": "camera 3"}, ("this text is not JSON",))
    yield Wrong("list_assets", {"project": "p", "metadata": "[1]"}, ("`metadata` must be an object",))
    yield Wrong("list_assets", {"project": "p", "next_token": "x"}, ("`next_token` is unknown here",))

    person = {"emails": ["ann@example.com"]}
    for tool in ("invite_team_member", "set_teammate_role"):
        yield Wrong(tool, {**person, "role": "member"}, ("did you mean `team_role`?", "`team_role` is missing"))
        yield Wrong(tool, {**person, "team_role": "admin"}, ("must be one of labeler, member, manager",))
        yield Wrong(tool, {"emails": [], "team_role": "member"}, ("`emails` must have at least 1 item",))
        yield Wrong(tool, {"emails": ["ann"], "team_role": "member"}, ("`emails[0]` is not a valid e-mail",))
        yield Wrong(tool, {"emails": "ann@example.com", "team_role": "member"}, ("`emails` must be a list",))
    for tool in ("add_studio_assignments", "remove_studio_assignments"):
        yield Wrong(tool, person, ("`projects` is missing",))
        yield Wrong(tool, {**person, "projects": []}, ("`projects` must have at least 1 item",))
        yield Wrong(tool, {**person, "projects": ["p", "p"]}, ('names "p" more than once',))
        yield Wrong(tool, {**person, "projects": [".."]}, ("`projects[0]` must not be",))
    yield Wrong("set_studio_batch_priorities", {"batch_names": []}, ("`batch_names` must have at least 1 item",))
    yield Wrong("set_studio_batch_priorities", {"batch_names": ["a", "a"]}, ('`batch_names` names "a" more than once',))
    yield Wrong("set_studio_batch_priorities", {"batches": [{"name": "b"}]}, ("did you mean `batch_names`?",))
    yield Wrong("get_fixless_audits", {}, ("`task_id` is missing; give `task_id`, `id` or both",))
    yield Wrong("get_training_attempts", {}, ("`quality_task_ids` is missing; give", "`labeler_emails`"))
    yield Wrong("get_training_attempts", {"labeler_emails": []}, ("`labeler_emails` must have at least 1 item",))

    known = {"type": "imageannotation", "project": "p", "expected_response": {"annotations": []}, **IMAGE}
    yield Wrong("create_evaluation_task", {**known, "type": "videoannotation"}, ("`type` must be one of",))
    yield Wrong("create_evaluation_task", {**known, "text": "x"}, ("is not a parameter of imageannotation tasks",))
    yield Wrong("create_evaluation_task", {**known, "geometries": {"bx": {}}}, ("did you mean `box`?",))
    yield Wrong("create_evaluation_task", {**known, "taskType": "x"}, ("did you mean `type`?",))


WRONG = list(tables())


@pytest.mark.anyio
@pytest.mark.parametrize("wrong", WRONG, ids=[f"{i}-{wrong.tool}" for i, wrong in enumerate(WRONG)])
async def test_the_answer_names_the_parameter_and_the_cure_and_scale_sees_nothing(
    wrong: Wrong, call: Call, scale: FakeScale
):
    with pytest.raises(ToolFailure) as caught:
        await run(call, wrong.tool, wrong.arguments)

    text = str(caught.value)
    assert [part for part in wrong.says if part not in text] == [], text
    assert scale.sent == []


def test_arguments_that_are_nested_too_deeply_are_refused_and_not_walked():
    label: Any = "leaf"
    for index in range(400):
        label = {"choice": f"c{index}", "subchoices": [label]}

    text = complaint(cards()["create_segmentation_task"], {**SEGMENT, "labels": [label]})

    assert "`labels` is nested more than 64 levels deep" in text


def test_a_flood_of_problems_is_cut():
    labels = [5] * 500

    text = complaint(cards()["create_segmentation_task"], {**SEGMENT, "labels": labels})

    assert "500 problems" in text
    assert text.endswith("- and 480 more")
    assert len(text) < 3_000


def test_what_the_caller_typed_comes_back_clean_and_short():
    text = complaint(cards()["get_task"], {"task_id": TASK_ID, "x\u202e\u200b" + "y" * 300: 1})

    assert "\u202e" not in text
    assert len(text) < 300


@given(text())
@settings(max_examples=200, deadline=None)
def test_whatever_is_accepted_as_a_name_stays_one_segment_of_the_path(name: str):
    card = cards()["get_batch"]
    try:
        checked = check(card, {"batch_name": name})
    except ToolFailure:
        return

    assert checked.model_dump()["batch_name"] == name
    assert unquote(quote(name, safe="")) == name
    assert not {".", ".."} & set(re.split(r"[/\\]", name))
    assert name.strip()


@given(text())
@settings(max_examples=200, deadline=None)
def test_whatever_is_accepted_as_an_id_needs_no_encoding(task_id: str):
    try:
        check(cards()["get_task"], {"task_id": task_id})
    except ToolFailure:
        return

    assert quote(task_id, safe="") == task_id


JSON = recursive(
    none() | booleans() | floats() | integers() | text(max_size=20),
    lambda children: lists(children, max_size=3) | dictionaries(text(max_size=10), children, max_size=3),
    max_leaves=10,
)


@given(sampled_from(list(ARGUMENTS)), JSON, data())
@settings(max_examples=500, deadline=None)
def test_no_argument_whatever_it_is_makes_a_check_crash(tool: str, value: Any, choose: DataObject):
    name = choose.draw(sampled_from([*input_schema(hosted_cards()[tool])["properties"], "zzz"]))

    with suppress(ToolFailure):
        check(hosted_cards()[tool], {**ARGUMENTS[tool], name: value}).to_wire()
