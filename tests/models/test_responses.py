"""Workers' answers per task type, as Scale documents and records them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from scale_mcp.models.responses import (
    DocumentResponse,
    EntityResponse,
    ErrorResponse,
    ImageResponse,
    LinkedResponse,
    SegmentationResponse,
    TextCollectionResponse,
    file_urls,
    typed_response,
)
from scale_mcp.models.result_files import events, lidar_frames, playback_objects, point_segmentation, video_frames
from scale_mcp.models.tasks import Task


def read(task_type: str, response: Any, status: str = "completed") -> Any:
    return typed_response(Task(task_id="1", type=task_type, status=status, response=response))


def test_shapes_in_a_picture():
    response = read(
        "imageannotation",
        {
            "annotations": [
                {"uuid": "1", "type": "box", "label": "car", "left": 24.5, "top": 18, "width": 120, "height": 88.25},
                {"uuid": "2", "type": "polygon", "label": "lane", "vertices": [{"x": 1, "y": 2}, {"x": 9, "y": 2}]},
                {"uuid": "3", "type": "point", "label": "corner", "x": 12, "y": 19, "attributes": {"sure": "Yes"}},
            ],
            "global_attributes": {"weather": "rain"},
            "links": [],
        },
    )

    assert isinstance(response, ImageResponse)
    assert [annotation.type for annotation in response.annotations] == ["box", "polygon", "point"]
    assert response.annotations[0].left == 24.5
    assert response.annotations[2].attributes == {"sure": "Yes"}
    assert response.global_attributes == {"weather": "rain"}


def test_an_older_type_with_bare_boxes():
    response = read("annotation", {"annotations": [{"left": 0, "top": 0, "width": 100, "height": 100, "label": "a"}]})

    assert isinstance(response, ImageResponse)
    assert response.annotations[0].width == 100


def test_masks_of_labels_and_of_instances():
    response = read(
        "segmentannotation",
        {
            "annotations": {
                "unlabeled": "https://x.y/0",
                "labeled": {"road": "https://x.y/1", "person": ["https://x.y/2", "https://x.y/3"]},
                "combined": {"image": "https://x.y/4", "indexedImage": "https://x.y/5"},
            },
            "labelMapping": {"road": {"index": 1, "color": "#ff0000"}, "person": [{"index": 2}, {"index": 3}]},
        },
    )

    assert isinstance(response, SegmentationResponse)
    assert response.annotations.labeled["person"] == ["https://x.y/2", "https://x.y/3"]
    assert response.annotations.combined is not None
    assert response.annotations.combined.indexed_image == "https://x.y/5"
    assert response.label_mapping["road"]["index"] == 1


@pytest.mark.parametrize(
    "task_type", ["videoannotation", "videoplaybackannotation", "lidarannotation", "lidarsegmentation"]
)
def test_results_in_files(task_type: str):
    response = read(task_type, {"annotations": {"url": "https://x.y/a"}, "events": {"url": "https://x.y/e"}})

    assert isinstance(response, LinkedResponse)
    assert response.annotations is not None
    assert response.annotations.url == "https://x.y/a"
    assert response.point_segmentations is None


def test_entities_and_their_relationships():
    response = read(
        "namedentityrecognition",
        {
            "annotations": [{"id": "a", "start": 0, "end": 7, "text": "Ann Lee", "label": "person"}],
            "relationships": [{"id": "r", "source_ref": "a", "target_ref": "b", "name": "speaks_at"}],
        },
    )

    assert isinstance(response, EntityResponse)
    assert response.annotations[0].text == "Ann Lee"
    assert response.relationships[0].target_ref == "b"


def test_pieces_of_a_document():
    piece = {"uuid": "1", "page": 0, "label": "total", "text": "$ 12.40", "refs": [], "money": {"amount": 12.4}}
    response = read("documenttranscription", {"annotations": [piece]})

    assert isinstance(response, DocumentResponse)
    assert response.annotations[0].page == 0
    assert response.to_wire() == {"annotations": [piece]}


def test_answers_to_questions_in_the_short_and_the_long_form():
    short = {"lang": ["en"], "owner": "Example Inc.", "people": [{"name": "Ann"}, {"name": "Bob"}]}
    long = {
        "lang": {"type": "category", "field_id": "lang", "response": [["en"]]},
        "owner": {"type": "text", "field_id": "owner", "response": [["Example Inc."]]},
        "tags": {"type": "category", "field_id": "tags", "response": [["a", "b"], ["c"]]},
    }

    first, second = read("textcollection", {"annotations": short}), read("textcollection", {"annotations": long})

    assert isinstance(first, TextCollectionResponse)
    assert first.values() == short
    assert second.values() == {"lang": ["en"], "owner": "Example Inc.", "tags": [["a", "b"], ["c"]]}


def test_a_task_whose_attachments_could_not_be_read():
    by_url = {"error": "Not downloaded.", "attachments": [{"statusCode": 403, "url": "http://x.y/z.png"}]}
    by_frame = {
        "error": "Not read.",
        "frames": [{"frame": 10, "message": "Invalid JSON", "attachment": {"statusCode": 200}}],
    }

    first, second = read("imageannotation", by_url, "error"), read("lidarannotation", by_frame, "error")

    assert isinstance(first, ErrorResponse)
    assert first.attachments[0].status_code == 403
    assert second.frames[0].frame == 10


@pytest.mark.parametrize(
    ("task_type", "response"),
    [("imageannotation", None), ("imageannotation", "text"), ("unheardof", {"a": 1}), ("segmentannotation", {"a": 1})],
)
def test_a_response_of_no_known_shape_has_no_model(task_type: str, response: Any):
    assert read(task_type, response) is None


def test_all_addresses_of_a_response_with_the_way_to_them():
    response = {"annotations": {"labeled": {"road": "https://x/1", "person": ["https://x/2", "text"]}}, "n": 1}

    assert list(file_urls(response)) == [
        ("annotations.labeled.road", "https://x/1"),
        ("annotations.labeled.person[0]", "https://x/2"),
    ]


def test_addresses_are_found_however_deep():
    deep: Any = "https://x/1"
    for _ in range(5000):
        deep = [deep]

    assert [url for _, url in file_urls(deep)] == ["https://x/1"]


def test_files_of_videos():
    frames = video_frames(
        json.dumps([{"annotations": [{"uuid": "1", "label": "car", "left": 1}]}, {"annotations": []}]).encode()
    )
    tracked = playback_objects(
        json.dumps(
            [
                {
                    "annotations": {
                        "4d": {"label": "car", "geometry": "box", "frames": [{"key": 30, "timestamp": 1.0, "left": 5}]}
                    }
                }
            ]
        ).encode()
    )
    happened = events(b'[{"label": "stop", "type": "range", "start": 12, "startTime": 1.2, "end": 30, "endTime": 3.0}]')

    assert [len(frame.annotations) for frame in frames] == [1, 0]
    assert tracked["4d"].frames[0].to_wire() == {"key": 30, "timestamp": 1.0, "left": 5}
    assert (happened[0].start_time, happened[0].end_time) == (1.2, 3.0)


def test_files_of_lidar():
    cuboid = {
        "uuid": "1",
        "label": "Car",
        "position": {"x": 12.5, "y": -3.1, "z": 0.9},
        "dimensions": {"x": 1.9, "y": 4.6, "z": 1.6},
        "yaw": 1.63,
        "numberOfPoints": 64,
    }
    frames = lidar_frames(json.dumps([{"cuboids": [cuboid]}]).encode())

    assert frames[0].cuboids[0].dimensions.y == 4.6
    assert frames[0].to_wire() == {"cuboids": [cuboid]}


@pytest.mark.parametrize(("objects", "points"), [("objects", "point_objects"), ("labels", "point_labels")])
def test_files_of_segmented_points_in_either_spelling(objects: str, points: str):
    file = point_segmentation(json.dumps({objects: [{"label": "Car", "index": 1}], points: [[0, 1], [1, 0]]}).encode())

    assert file.objects[0]["label"] == "Car"
    assert file.point_objects == [[0, 1], [1, 0]]


def test_a_file_that_is_none_is_an_error():
    with pytest.raises(ValidationError):
        video_frames(b"<html>")
