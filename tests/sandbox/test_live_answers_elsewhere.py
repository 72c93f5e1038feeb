"""What labellers hand in about videos, scenes, texts, documents, and for legacy types."""

from __future__ import annotations

import math
import random

import pytest

from scale_mcp.sandbox import answers
from scale_mcp.sandbox.truth import find_truth
from tests.sandbox.world import (
    UPLOADS,
    annotated,
    item,
    json_behind,
    labelled,
    response,
    task_about,
    upload,
    url,
    worker,
)

COIN_BOXES = {"box": {"objects_to_annotate": ["coin"]}}


def test_one_coin_has_one_uuid_and_label_in_all_frames_it_is_seen_in() -> None:
    answer = labelled(task_about("pan", "videoannotation"), worker(edge=0.02))

    frames = json_behind(answer, response(answer)["annotations"]["url"])
    assert len(frames) == 4
    truth_of = {one["annotation"]: one["truth"] for one in answer.simulation["matches"]}
    first, second = ({one["uuid"] for one in frame["annotations"]} for frame in frames[:2])
    assert first & second
    assert len(set(truth_of.values())) == len(truth_of)


def test_a_lost_track_goes_on_under_a_new_uuid_and_is_reported() -> None:
    answer = labelled(task_about("pan", "videoannotation"), worker(track_broken=0.5))

    frames = json_behind(answer, response(answer)["annotations"]["url"])
    broken = answer.simulation["injected"]["track_broken"]
    last_seen = {one["uuid"] for frame in frames for one in frame["annotations"]}
    assert broken
    assert {one["answer"] for one in broken} <= last_seen


@pytest.mark.parametrize(("rate", "numbers"), [(1, [0, 4, 8]), (2, [0, 2, 4, 6, 8, 10]), (4, list(range(12)))])
def test_a_video_is_annotated_at_the_rate_asked_for(rate: float, numbers: list[int]) -> None:
    asked = {"geometries": COIN_BOXES, "frame_rate": rate}

    answer = labelled(task_about("pan", "videoplaybackannotation", **asked))

    (content,) = json_behind(answer, response(answer)["annotations"]["url"])
    frames = [frame for track in content["annotations"].values() for frame in track["frames"]]
    assert sorted({frame["key"] for frame in frames}) == numbers
    assert all(frame["timestamp"] == frame["key"] / 4 for frame in frames)


def test_a_part_of_a_video_is_annotated_from_its_start_for_its_duration() -> None:
    asked = {
        "geometries": {"box": {"objects_to_annotate": ["coin"]}},
        "frame_rate": 4,
        "start_time": 1,
        "duration_time": 1,
    }

    answer = labelled(task_about("pan", "videoplaybackannotation", **asked))

    (content,) = json_behind(answer, response(answer)["annotations"]["url"])
    keys = {frame["key"] for track in content["annotations"].values() for frame in track["frames"]}
    assert keys == {4, 5, 6, 7}


def test_events_are_in_frames_and_seconds() -> None:
    answer = labelled(task_about("pan", "videoplaybackannotation"))

    events = json_behind(answer, response(answer)["events"]["url"])
    assert [(one["label"], one["start"], one["startTime"], one["end"], one["endTime"]) for one in events] == [
        ("pan right", 0, 0, 6, 1.5),
        ("pan down", 6, 1.5, 11, 2.75),
    ]


def test_a_faultless_worker_hands_in_the_street_as_it_is() -> None:
    answer = labelled(task_about("street", "lidarannotation"))

    frames = json_behind(answer, response(answer)["annotations"]["url"])
    truth = item("street").truth.lidar
    assert truth is not None
    assert truth.frames[0] is not None
    true_cuboids = [one.shapes["cuboid3d"] for one in truth.frames[0].objects]
    assert [one["position"] for one in frames[0]["cuboids"]] == [one["position"] for one in true_cuboids]
    points = truth.frames[0].points
    assert frames[0]["cuboids"][0]["numberOfPoints"] == points.count("car-1")
    uuids = [[one["uuid"] for one in frame["cuboids"]] for frame in frames]
    assert uuids == [uuids[0]] * 4
    assert [one["stationary"] for one in frames[0]["cuboids"]] == [True, False, True, True, False]


def test_cuboids_beyond_the_distance_are_left_out() -> None:
    asked = {"labels": ["car", "truck"], "max_distance_meters": 15}

    answer = labelled(task_about("street", "lidarannotation", **asked))

    frames = json_behind(answer, response(answer)["annotations"]["url"])
    assert [len(frame["cuboids"]) for frame in frames] != [3, 3, 3, 3]
    assert all(one["distance_to_device"] <= 15 for frame in frames for one in frame["cuboids"])


def test_a_cuboid_that_was_turned_round_is_reported() -> None:
    answer = labelled(task_about("street", "lidarannotation"), worker(cuboid_flipped=1.0))

    frames = json_behind(answer, response(answer)["annotations"]["url"])
    assert abs(frames[0]["cuboids"][0]["yaw"]) == pytest.approx(math.pi, abs=1e-3)
    assert answer.simulation["mistakes"]["cuboid_flipped"] == 20


def test_points_are_labelled_one_by_one_with_instances_where_asked() -> None:
    answer = labelled(task_about("street", "lidarsegmentation"))

    content = json_behind(answer, response(answer)["point_segmentations"]["url"])
    truth = item("street").truths
    assert [one["label"] for one in content["objects"]] == ["car", "car", "truck", "pedestrian", "cyclist"]
    assert [one.get("instance", False) for one in content["objects"]] == [True, True, False, False, False]
    for said, known in zip(content["point_objects"], truth, strict=True):
        assert known.lidar is not None
        frame = known.lidar.frames[0]
        assert frame is not None
        assert len(said) == len(frame.points)
        assert [index == 0 for index in said] == [key is None for key in frame.points]
    assert "annotations" not in response(answer)


def test_a_segmentation_built_on_a_lidar_task_keeps_its_cuboids() -> None:
    earlier = task_about("street", "lidarannotation")
    done = labelled(earlier)
    files = {**UPLOADS, **{url(file.uuid): file.content for file in done.files}}
    task = {
        "type": "lidarsegmentation",
        "params": {"lidar_task": "a" * 24, "lidar_task_frames": [1], "labels": ["car"]},
    }

    truth = find_truth(task, files.get, task_of=lambda _: {**earlier, "response": done.response})
    answer = answers.live_answer(task, truth, worker(), url, random.Random(1))

    kept = json_behind(answer, response(answer)["annotations"]["url"])
    assert kept == json_behind(done, response(done)["annotations"]["url"])[1:2]
    assert len(json_behind(answer, response(answer)["point_segmentations"]["url"])["point_objects"]) == 1


def test_names_in_the_text_are_found_with_exclusive_ends_and_their_relationships() -> None:
    task = task_about("fogg", "namedentityrecognition")
    answer = labelled(task)

    text = task["params"]["text"]
    assert all(one["text"] == text[one["start"] : one["end"]] for one in annotated(answer))
    by_id = {one["id"]: one["text"] for one in annotated(answer)}
    relations = [
        (by_id[one["source_ref"]], one["name"], by_id[one["target_ref"]]) for one in response(answer)["relationships"]
    ]
    assert relations == [
        ("Phileas Fogg", "lived_at", "Saville Row"),
        ("Phileas Fogg", "member_of", "Reform Club"),
        ("Sheridan", "died_in", "1814"),
    ]
    assert annotated(answer)[0]["attributes"] == {"fictional": "yes"}


@pytest.mark.parametrize("seed", range(12))
def test_spans_with_wrong_ends_are_still_spans_of_the_text(seed: int) -> None:
    task = task_about("fogg", "namedentityrecognition")
    who = worker(span_boundary=0.5, span_split=0.3, span_merged=0.5, wrong_class=0.2, missed=0.1)

    answer = labelled(task, who, seed)

    text = task["params"]["text"]
    ids = [one["id"] for one in annotated(answer)]
    assert len(set(ids)) == len(ids)
    for one in annotated(answer):
        assert 0 <= one["start"] < one["end"] <= len(text)
        assert one["text"] == text[one["start"] : one["end"]]
    for relation in response(answer)["relationships"]:
        assert {relation["source_ref"], relation["target_ref"]} <= set(ids)


def test_a_form_is_answered_in_the_short_form_as_far_as_the_truth_knows() -> None:
    fields = [*item("review").tasks["textcollection"]["fields"], {"field_id": "mood", "type": "text"}]

    answer = labelled(task_about("review", "textcollection", fields=fields))

    assert response(answer) == {
        "annotations": {
            "sentiment": ["positive"],
            "product": "blue desk lamp",
            "complaints": ["late", "short cable"],
            "price": "34",
            "would_buy_again": True,
        }
    }
    assert answer.simulation["fields_without_truth"] == ["mood"]


def test_several_respondents_answer_as_several_people() -> None:
    task = task_about(
        "review", "textcollection", fields=item("review").tasks["textcollection"]["fields"], responses_required=40
    )

    answer = labelled(task, worker(wrong_class=0.0))

    said = annotated(answer)["sentiment"]
    assert len(said) == 40
    assert said.count(["positive"]) > 20
    assert any(one != ["positive"] for one in said)
    assert len(set(answer.simulation["respondents"])) == 40


def test_a_set_of_fields_is_answered_with_an_object_per_repetition() -> None:
    answer = labelled(task_about("receipt", "textcollection"))

    assert annotated(answer)["bought"] == [
        {"name": "Espresso", "price": "5.00"},
        {"name": "Croissant", "price": "2.80"},
        {"name": "Orange juice", "price": "3.40"},
    ]


def test_a_document_is_transcribed_block_by_block_with_pages_refs_and_extras() -> None:
    answer = labelled(task_about("receipt", "documenttranscription"))

    found = annotated(answer)
    total = next(one for one in found if one["label"] == "total")
    assert (total["text"], total["money"], total["location"]["type"]) == (
        "EUR 12.32",
        {"amount": 12.32, "currency": "EUR"},
        "box",
    )
    price = next(one for one in found if one["label"] == "price")
    assert [one["text"] for one in found if one["uuid"] in price["refs"]] == ["2 x Espresso"]
    assert answer.document_pages == [{"width": 420, "height": 560, "url": upload("receipt")}]
    assert "checked" not in next(one for one in found if one["label"] == "payment")  # nobody flagged it as a checkbox


def test_slips_of_the_pen_are_reported() -> None:
    answer = labelled(task_about("receipt", "documenttranscription"), worker(typo=0.1))

    slips = answer.simulation["injected"]["text_wrong"]
    said = {one["uuid"]: one["text"] for one in annotated(answer)}
    assert slips
    assert all(said[one["annotation"]] == one["answer"] != one["truth"] for one in slips)


@pytest.mark.parametrize(("name", "category"), [("chelsea", "cat"), ("horse", "horse")])
def test_a_picture_is_put_into_the_category_that_names_what_is_in_it(name: str, category: str) -> None:
    assert labelled(task_about(name, "categorization")).response == {"category": category}


def test_a_legacy_box_task_is_answered_without_types() -> None:
    answer = labelled(task_about("coins", "annotation", objects_to_annotate=["coin"], min_width=10))

    assert len(annotated(answer)) == 24
    assert set(annotated(answer)[0]) == {"uuid", "label", "left", "top", "width", "height"}


def test_expected_answers_of_legacy_types_are_given() -> None:
    task = {"type": "comparison", "params": {"choices": ["same", "other"]}, "expected_response": {"choice": "other"}}

    assert labelled(task).response == {"choice": "other"}
