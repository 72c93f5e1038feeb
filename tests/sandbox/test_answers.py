"""What test mode makes up, what nobody makes up, and that nothing sent can break it."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_mcp.sandbox import answers
from scale_mcp.sandbox.workforce import make_pool
from tests.sandbox.world import (
    annotated,
    behind,
    fabricated,
    json_behind,
    labelled,
    picture,
    response,
    task_about,
    url,
)

NESTED = [{"choice": "vehicle", "subchoices": ["car", {"choice": "van"}]}, "person"]
TWO_BOXES = {"box": {"objects_to_annotate": NESTED}}
MODERN = (
    *("imageannotation", "segmentannotation", "videoannotation", "videoplaybackannotation", "lidarannotation"),
    *("lidarsegmentation", "namedentityrecognition", "textcollection", "documenttranscription"),
)


def test_test_mode_makes_up_one_annotation_per_leaf_label_and_geometry() -> None:
    answer = fabricated(
        "imageannotation", geometries={**TWO_BOXES, "point": {"objects_to_annotate": ["corner"]}}, attachment="x"
    )

    made = [(one["type"], one["label"]) for one in annotated(answer)]
    assert made == [("box", "car"), ("box", "van"), ("box", "person"), ("point", "corner")]
    assert {(one["left"], one["top"], one["width"], one["height"]) for one in annotated(answer)[:3]} == {
        (0, 0, 100, 100)
    }
    assert (response(answer)["global_attributes"], response(answer)["links"]) == ({}, [])
    assert answer.simulation == {"truth": "none", "fabricated": True}


@pytest.mark.parametrize(
    ("geometry_name", "fields"),
    [
        ("box", {"left", "top", "width", "height"}),
        ("polygon", {"vertices"}),
        ("line", {"vertices"}),
        ("point", {"x", "y"}),
        ("ellipse", {"vertices"}),
        ("cuboid", {"vertices", "edges"}),
    ],
)
def test_each_geometry_has_its_own_fields(geometry_name: str, fields: set[str]) -> None:
    (made,) = annotated(fabricated("imageannotation", geometries={geometry_name: {"objects_to_annotate": ["a"]}}))

    assert set(made) == {"uuid", "type", "label"} | fields


def test_a_box_that_may_turn_has_its_rotation_and_corners() -> None:
    (made,) = annotated(
        fabricated("imageannotation", geometries={"box": {"objects_to_annotate": ["a"], "can_rotate": True}})
    )

    assert made["rotation"] == 0
    assert len(made["vertices"]) == 4


def test_made_up_attributes_follow_their_definitions_and_conditions() -> None:
    definitions = {
        "seen": {"choices": ["whole", "partly"]},
        "parts": {"type": "category", "choices": ["door", "wheel"], "allow_multiple": True},
        "seats": {"type": "number", "min": 4, "conditions": {"label_condition": {"label": ["car"]}}},
        "heading": {"type": "angle"},
        "plate": {"type": "text"},
        "driver": {"type": "linked", "allowed_labels": ["person"]},
        "weather": {"type": "category", "choices": ["sun", "rain"], "conditions": {"is_global": True}},
        "side": {"choices": ["left"], "conditions": [{"attribute_conditions": [{"seen": "partly"}]}]},
    }
    answer = fabricated("imageannotation", geometries=TWO_BOXES, annotation_attributes=definitions)

    car, van, person = annotated(answer)
    assert car["attributes"] == {
        "seen": "whole",
        "parts": ["door"],
        "seats": 4,
        "heading": 45,
        "plate": "test response",
        "driver": person["uuid"],
    }
    assert "seats" not in van["attributes"]
    assert "driver" not in person["attributes"]
    assert response(answer)["global_attributes"] == {"weather": "sun"}


def test_made_up_masks_are_real_pictures_with_the_indexes_of_the_mapping() -> None:
    labels = ["sky", {"choice": "car", "instance_label": True}]
    answer = fabricated("segmentannotation", labels=labels, size=(40, 30))

    combined = response(answer)["annotations"]["combined"]
    indexed = picture(behind(answer, combined["indexedImage"]))
    assert (indexed.mode, indexed.size, set(indexed.tobytes())) == ("L", (40, 30), {1, 2})
    assert picture(behind(answer, combined["image"])).mode == "RGBA"
    mapping = response(answer)["labelMapping"]
    assert (mapping["sky"]["index"], [one["index"] for one in mapping["car"]]) == (1, [2])
    assert mapping["sky"]["numPixels"] == 600
    assert set(picture(behind(answer, response(answer)["annotations"]["labeled"]["car"][0])).tobytes()) == {0, 255}


def test_a_made_up_video_has_a_list_of_frames_in_the_order_of_the_attachments() -> None:
    answer = fabricated("videoannotation", geometries=TWO_BOXES, attachments=["a", "b", "c"])

    frames = json_behind(answer, response(answer)["annotations"]["url"])
    assert len(frames) == 3
    assert frames[0] == frames[2]
    assert [one["label"] for one in frames[0]["annotations"]] == ["car", "van", "person"]


def test_a_made_up_playback_has_objects_with_key_frames_and_events() -> None:
    answer = fabricated(
        "videoplaybackannotation", geometries=TWO_BOXES, attachment="a.mp4", events_to_annotate=["turn"], frame_rate=2
    )

    (content,) = json_behind(answer, response(answer)["annotations"]["url"])
    track = next(iter(content["annotations"].values()))
    assert set(track) == {"label", "geometry", "frames"}
    assert [frame["timestamp"] for frame in track["frames"]] == [0, 0.5]
    (event,) = json_behind(answer, response(answer)["events"]["url"])
    assert set(event) == {"label", "type", "start", "startTime", "end", "endTime", "attributes"}


def test_made_up_lidar_answers_have_the_documented_files() -> None:
    cuboids = fabricated("lidarannotation", labels=NESTED, attachments=["1", "2"], pitch_and_roll_enabled=True)
    points = fabricated("lidarsegmentation", labels=NESTED, attachments=["1", "2"])

    frames = json_behind(cuboids, response(cuboids)["annotations"]["url"])
    assert [len(frame["cuboids"]) for frame in frames] == [3, 3]
    assert {"position", "dimensions", "yaw", "pitch", "roll", "camera_used", "uuid"} <= set(frames[0]["cuboids"][0])
    content = json_behind(points, response(points)["point_segmentations"]["url"])
    assert [one["label"] for one in content["objects"]] == ["car", "van", "person"]
    assert content["point_objects"] == [[1, 2, 3], [1, 2, 3]]


def test_made_up_names_are_words_of_the_text() -> None:
    definition = {"name": "knows", "source_label": "human", "target_label": "place"}
    labels = [{"name": "human", "children": [{"name": "man"}, {"name": "woman"}]}, {"name": "place"}]
    answer = fabricated("namedentityrecognition", text=" Ann lives here", labels=labels, relationships=[definition])

    assert [(one["label"], one["start"], one["end"], one["text"]) for one in annotated(answer)] == [
        ("man", 1, 4, "Ann"),
        ("woman", 1, 4, "Ann"),
        ("place", 1, 4, "Ann"),
    ]
    (relation,) = response(answer)["relationships"]
    assert (relation["name"], relation["source_ref"]) == ("knows", annotated(answer)[0]["id"])


def test_made_up_forms_answer_every_kind_of_field() -> None:
    fields = [
        {"field_id": "t", "type": "text"},
        {"field_id": "n", "type": "number"},
        {"field_id": "c", "type": "category", "choices": [{"label": "One", "value": 1}, {"label": "Two", "value": 2}]},
        {"field_id": "b", "type": "boolean"},
        {"field_id": "d", "type": "date"},
        {"field_id": "r", "type": "ranking_order", "num_options": 3},
        {
            "field_id": "s",
            "type": "field_set",
            "fields": [{"field_id": "i", "type": "text", "max_responses_required": 2}],
        },
    ]
    answer = fabricated("textcollection", fields=fields)

    assert annotated(answer) == {
        "t": "test response",
        "n": "1",
        "c": [1],
        "b": True,
        "d": "2020-01-01",
        "r": [0, 1, 2],
        "s": {"i": ["test response"]},
    }


def test_several_respondents_give_a_list_of_answers_per_field() -> None:
    answer = fabricated("textcollection", fields=[{"field_id": "t", "type": "text"}], responses_required=3)

    assert annotated(answer) == {"t": ["test response"] * 3}


def test_a_made_up_transcription_knows_pages_and_the_extras_of_its_flags() -> None:
    features = [{"type": "block", "label": "total", "content_flags": ["money"]}, {"type": "block", "label": "name"}]
    answer = fabricated("documenttranscription", features=features, attachments=["a.png", "b.png"])

    total, name = annotated(answer)
    assert (total["page"], total["location"]["type"], total["refs"]) == (0, "box", [])
    assert "money" in total
    assert "money" not in name
    assert [page["url"] for page in answer.document_pages or []] == ["a.png", "b.png"]


LEGACY: list[tuple[str, dict[str, Any], Any]] = [
    ("categorization", {"categories": ["red", "blue"]}, {"category": "red"}),
    ("categorization", {"categories": ["red", "blue"], "allow_multiple": True}, {"category": ["red"]}),
    ("comparison", {"choices": ["yes", "no"]}, {"choice": "yes"}),
    ("transcription", {"fields": {"a": "A"}}, {"fields": {"a": "test response"}, "repeatable_fields": [None, None]}),
    ("datacollection", {"fields": {"a": "A"}}, {"fields": {"a": "test response"}, "time_spent_in_seconds": 15}),
    (
        "annotation",
        {"objects_to_annotate": ["cat", "dog"]},
        {"annotations": [{"left": 0, "top": 0, "width": 100, "height": 100, "label": "dog"}]},
    ),
    (
        "polygonannotation",
        {"objects_to_annotate": ["cat"]},
        {
            "annotations": [
                {"vertices": [{"x": 10, "y": 10}, {"x": 110, "y": 110}, {"x": 10, "y": 110}], "label": "cat"}
            ]
        },
    ),
    ("pointannotation", {"objects_to_annotate": ["cat"]}, None),
]


@pytest.mark.parametrize(("kind", "params", "expected"), LEGACY)
def test_legacy_types_answer_as_they_were_recorded(kind: str, params: dict[str, Any], expected: Any) -> None:
    assert fabricated(kind, **params).response == expected


def test_a_legacy_cuboid_has_its_six_described_corners() -> None:
    (made,) = annotated(fabricated("cuboidannotation", objects_to_annotate=["van"]))

    assert set(made) == {"label", "vertices"}
    assert [corner["description"] for corner in made["vertices"]][::5] == ["face-topleft", "side-bottomcorner"]


def test_a_type_nobody_knows_gets_an_empty_answer_that_says_so() -> None:
    answer = fabricated("chat")

    assert answer.response == {}
    assert "'chat'" in answer.simulation["note"]


@pytest.mark.parametrize("kind", MODERN)
def test_without_a_truth_nothing_is_invented(kind: str) -> None:
    params = {
        "geometries": TWO_BOXES,
        "labels": ["car", "van"],
        "text": "Ann lives here",
        "fields": [{"field_id": "t", "type": "text", "required": True}],
        "features": [{"type": "block", "label": "total"}],
        "attachment": "https://example.com/mine.jpg",
        "events_to_annotate": ["turn"],
    }
    answer = labelled({"type": kind, "params": params})

    made = json.dumps(answer.response)
    assert answer.simulation["truth"] == "none"
    assert not any(word in made for word in ('"car"', '"van"', "Ann", '"t"', "total", "uuid"))
    for file in answer.files:
        if file.content_type == "image/png":
            assert set(picture(file.content).convert("L").tobytes()) <= {0, 255}
        else:
            assert not any(word in file.content for word in (b"car", b"van", b"turn"))


def test_an_unlabeled_mask_has_the_pictures_size_when_that_is_known() -> None:
    task = {"type": "segmentannotation", "params": {"labels": ["car"]}, "metadata": {"width": 30, "height": 20}}

    answer = labelled(task)

    assert response(answer)["labelMapping"] == {}
    indexed = picture(behind(answer, response(answer)["annotations"]["combined"]["indexedImage"]))
    assert (indexed.size, set(indexed.tobytes())) == ((30, 20), {0})


def test_a_known_picture_with_other_labels_says_which_ones_it_cannot_answer() -> None:
    answer = labelled(task_about("coins", "imageannotation", geometries={"box": {"objects_to_annotate": ["elephant"]}}))

    assert annotated(answer) == []
    assert answer.simulation["labels_without_truth"] == ["elephant"]


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4)
    | st.sampled_from(["coin", "box"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                (
                    *("choice", "choices", "subchoices", "objects_to_annotate", "type", "conditions", "allowed_labels"),
                    *(
                        "label_condition",
                        "attribute_conditions",
                        "is_global",
                        "min",
                        "max",
                        "min_vertices",
                        "max_vertices",
                    ),
                    *("can_rotate", "integer_pixels", "min_width", "field_id", "fields", "name", "label", "value"),
                    *("box", "polygon", "point", "coin", "max_responses_required", "children", "attributes"),
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=15,
)
NAMES = (
    *(
        "geometries",
        "labels",
        "annotation_attributes",
        "fields",
        "features",
        "categories",
        "choices",
        "global_attributes",
    ),
    *("events_to_annotate", "frame_rate", "duration_time", "relationships", "objects_to_annotate", "hypothesis"),
    *("responses_required", "max_distance_meters", "instance_labels", "attachments", "lidar_task_frames", "text"),
)
KINDS = (*MODERN, "categorization", "comparison", "transcription", "datacollection", "annotation", "cuboidannotation")


@settings(deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    params=st.dictionaries(st.sampled_from(NAMES), values, max_size=5),
    name=st.sampled_from(["coins.jpg", "pan.webm", "street-0.json", "receipt.png", "nothing"]),
)
def test_parameters_of_any_shape_get_an_answer_that_is_json(kind: str, params: dict[str, Any], name: str) -> None:
    task = {"type": kind, "params": {"attachment": f"scaledata://owner/{name}", **params}}

    for answer in (answers.test_answer(task, url, random.Random(1)), labelled(task, make_pool(3)[1])):
        json.dumps([answer.response, answer.simulation, answer.document_pages], allow_nan=False)
