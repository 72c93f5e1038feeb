"""Where truth comes from, and in which order."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scale_mcp.sandbox import media
from scale_mcp.sandbox.facts import folded
from scale_mcp.sandbox.truth import attachment_size, find_truth
from tests.sandbox.world import UPLOADS, item, task_about, upload

BOX = {"uuid": "b1", "type": "box", "label": "coin", "left": 1, "top": 2, "width": 30, "height": 40}
CLAIM = {"annotations": [BOX]}


def nothing(url: str) -> bytes | None:
    return None


def sources(*names: str) -> dict[str, Any]:
    """An image task with truth from these sources."""
    task: dict[str, Any] = {"type": "imageannotation", "params": {"geometries": {}}}
    if "attachment" in names:
        task["params"]["attachment"] = upload("coins")
    if "hypothesis" in names:
        task["params"]["hypothesis"] = CLAIM
    if "base_annotations" in names:
        task["params"]["base_annotations"] = CLAIM
    if "expected" in names:
        task["expected_response"] = CLAIM
    if "metadata" in names:
        task["metadata"] = {"expected_response": CLAIM}
    return task


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (("attachment", "hypothesis", "expected"), "expected_response"),
        (("attachment", "metadata"), "expected_response"),
        (("attachment", "hypothesis"), "fixture"),
        (("hypothesis",), "hypothesis"),
        (("base_annotations",), "hypothesis"),
    ],
)
def test_an_expected_response_comes_before_the_data_set_and_that_before_a_prelabel(
    names: tuple[str, ...], source: str
) -> None:
    truth = find_truth(sources(*names), UPLOADS.get)

    assert truth is not None
    assert truth.source == source


def test_an_unknown_picture_without_prelabel_has_no_truth() -> None:
    task = {"type": "imageannotation", "params": {"attachment": "https://example.com/mine.jpg", "geometries": {}}}

    assert find_truth(task, nothing) is None
    assert find_truth(task, lambda url: b"some other picture") is None
    assert find_truth({"type": "imageannotation"}, nothing) is None


def test_a_picture_of_the_data_set_is_known_under_the_sandboxes_own_address() -> None:
    task = {"type": "imageannotation", "params": {"attachment": "http://127.0.0.1:8787/_sandbox/data/coins.jpg"}}

    truth = find_truth(task, nothing)

    assert truth is not None
    assert truth.name == "coins"


def test_a_text_is_known_with_white_space_around_it_and_its_spans_move_along() -> None:
    task = task_about("fogg", "namedentityrecognition")
    task["params"]["text"] = "\n\n " + task["params"]["text"] + "\n"

    truth = find_truth(task, nothing)

    assert truth is not None
    assert truth.text is not None
    assert task["params"]["text"][truth.text.spans[0].start : truth.text.spans[0].end] == "Phileas Fogg"


def test_a_text_that_was_changed_is_not_known() -> None:
    task = task_about("fogg", "namedentityrecognition")
    task["params"]["text"] = task["params"]["text"].replace("Fogg", "Frog")

    assert find_truth(task, nothing) is None


def test_frames_of_several_known_pictures_make_a_video_with_gaps_where_one_is_unknown() -> None:
    addresses = [upload("pan", 0), "https://example.com/unknown.jpg", upload("pan", 1)]
    truth = find_truth({"type": "videoannotation", "params": {"attachments": addresses}}, UPLOADS.get)

    assert truth is not None
    assert truth.video is not None
    assert [frame is None for frame in truth.video.frames] == [False, True, False]


def test_pages_are_numbered_in_the_order_of_the_attachments() -> None:
    addresses = [upload("coins"), upload("receipt"), upload("receipt")]
    truth = find_truth({"type": "documenttranscription", "params": {"attachments": addresses}}, UPLOADS.get)

    assert truth is not None
    assert truth.document is not None
    assert truth.document.pages == ((384, 303), (420, 560), (420, 560))
    assert {block.page for block in truth.document.blocks} == {1, 2}


def test_answers_of_a_collection_come_from_all_its_attachments() -> None:
    attachments = [{"type": "text", "content": item("review").text()}, {"type": "image", "content": upload("receipt")}]
    truth = find_truth({"type": "textcollection", "params": {"attachments": attachments}}, UPLOADS.get)

    assert truth is not None
    assert truth.answers is not None
    assert (truth.answers["sentiment"], truth.answers["total"]) == ("positive", "12.32")


def test_a_prelabel_is_completed_by_the_size_of_its_picture() -> None:
    task = {**sources("attachment"), "expected_response": CLAIM}

    truth = find_truth(task, UPLOADS.get)

    assert truth is not None
    assert truth.picture is not None
    assert truth.picture.size == (384, 303)
    assert attachment_size(task, UPLOADS.get) == (384, 303)


def test_an_answer_in_the_long_form_is_read_like_one_in_the_short_form() -> None:
    long = {
        "mood": {"type": "category", "field_id": "mood", "response": [["good"]]},
        "name": {"type": "text", "field_id": "name", "response": [["Ann"]]},
        "plain": "as it is",
    }
    task = {"type": "textcollection", "params": {}, "expected_response": {"annotations": long}}

    truth = find_truth(task, nothing)

    assert truth is not None
    assert truth.answers == {"mood": ["good"], "name": "Ann", "plain": "as it is"}


def test_an_inclusive_end_is_noticed_by_the_text_given_with_it() -> None:
    spans = [{"id": "1", "start": 0, "end": 2, "text": "Ann", "label": "person"}]
    task = {"type": "namedentityrecognition", "params": {"text": "Ann met Bob", "hypothesis": {"annotations": spans}}}

    truth = find_truth(task, nothing)

    assert truth is not None
    assert truth.text is not None
    assert (truth.text.spans[0].start, truth.text.spans[0].end) == (0, 3)


PLAYBACK = {
    "o": {"label": "car", "geometry": "box", "frames": [{"key": 4, "left": 1, "top": 2, "width": 3, "height": 4}]}
}


@pytest.mark.parametrize("content", [[{"annotations": PLAYBACK}], {"annotations": PLAYBACK}, [{"annotations": [BOX]}]])
def test_every_form_of_a_video_file_is_read(content: Any) -> None:
    claim = {"annotations": {"url": "https://example.com/frames.json"}}
    task = {"type": "videoplaybackannotation", "params": {"hypothesis": claim}}

    truth = find_truth(task, lambda url: json.dumps(content).encode() if url.endswith("frames.json") else None)

    assert truth is not None
    assert truth.video is not None
    assert len(truth.video.frames) == 1
    assert [one.label for one in truth.video.frames[0] or ()] in (["car"], ["coin"])


def test_masks_of_an_expected_segmentation_are_taken_apart() -> None:
    sheet = media.IndexMap((6, 4))
    sheet.lay(media.filled([(0, 0), (2, 0), (2, 4), (0, 4)], (6, 4)), 3)
    claim = {
        "labelMapping": {"car": [{"index": 3}], "sky": {"index": 9}},
        "annotations": {"combined": {"indexedImage": "https://example.com/mask.png"}},
    }
    task = {"type": "segmentannotation", "params": {}, "expected_response": claim}

    truth = find_truth(task, lambda url: media.as_png(sheet.indexed()))

    assert truth is not None
    assert truth.picture is not None
    assert truth.picture.size == (6, 4)
    assert [one.label for one in truth.picture.objects] == ["car"]


@pytest.mark.parametrize("names", [("objects", "point_objects"), ("labels", "point_labels")])
def test_both_pairs_of_names_of_a_point_file_are_read(names: tuple[str, str]) -> None:
    content = {names[0]: [{"label": "car", "index": 1}], names[1]: [[0, 1, 7]]}
    task = {"type": "lidarsegmentation", "params": {"hypothesis": {"point_segmentations": {"url": "https://e.com/p"}}}}

    truth = find_truth(task, lambda url: json.dumps(content).encode())

    assert truth is not None
    assert truth.lidar is not None
    frame = truth.lidar.frames[0]
    assert frame is not None
    assert frame.points == (None, "object-1", None)


def test_a_segmentation_builds_on_the_frames_and_cuboids_of_the_lidar_task_it_names() -> None:
    frames = [upload("street", number) for number in range(4)]
    answered = [{"cuboids": [{"uuid": str(number)}]} for number in range(4)]
    earlier = {"params": {"attachments": frames}, "response": {"annotations": {"url": "https://r.example.com/file"}}}
    files = {**UPLOADS, "https://r.example.com/file": json.dumps(answered).encode()}
    task = {"type": "lidarsegmentation", "params": {"lidar_task": "a" * 24, "lidar_task_frames": [3, 1, 99]}}

    truth = find_truth(task, files.get, task_of={"a" * 24: earlier}.get)

    assert truth is not None
    assert truth.lidar is not None
    assert truth.lidar.kept == (answered[3], answered[1])
    assert [frame is not None and bool(frame.points) for frame in truth.lidar.frames] == [True, True]


@pytest.mark.parametrize(("one", "other"), [("Traffic Light", "traffic_light"), ("pre-label", "PreLabel")])
def test_labels_are_compared_without_regard_to_case_and_separators(one: str, other: str) -> None:
    assert folded(one) == folded(other)


FIELDS = (
    *("annotations", "type", "label", "left", "top", "width", "height", "vertices", "x", "y", "frames", "key", "url"),
    *("location", "page", "refs", "start", "end", "labelMapping", "index", "cuboids", "position", "geometry"),
)
TYPES = (
    *("imageannotation", "segmentannotation", "videoannotation", "videoplaybackannotation", "lidarannotation"),
    *("lidarsegmentation", "namedentityrecognition", "textcollection", "documenttranscription", "categorization"),
)
MEMBERS = ("annotations", "relationships", "labelMapping", "events", "point_segmentations", "objects")

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["box", "polygon"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=20,
)


@settings(deadline=None)
@given(claim=st.dictionaries(st.sampled_from(MEMBERS), anything), kind=st.sampled_from(TYPES))
def test_a_nonsensical_prelabel_is_no_reason_to_fail(claim: dict[str, Any], kind: str) -> None:
    task = {"type": kind, "params": {"hypothesis": claim, "text": "some text"}}

    find_truth(task, lambda url: json.dumps(claim).encode())
