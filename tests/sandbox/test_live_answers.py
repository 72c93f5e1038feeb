"""What labellers hand in about pictures: what was asked and no more, every mistake on the record."""

from __future__ import annotations

import math
from typing import Any

import pytest

from scale_mcp.sandbox import geometry
from scale_mcp.sandbox.data import catalog
from scale_mcp.sandbox.workforce import make_pool
from tests.sandbox.world import (
    annotated,
    behind,
    item,
    labelled,
    picture,
    response,
    task_about,
    worker,
)

NESTED = [{"choice": "vehicle", "subchoices": ["car", {"choice": "van"}]}, "person"]
TWO_BOXES = {"box": {"objects_to_annotate": NESTED}}
PAIRS = [(one.name, kind) for one in catalog() for kind in one.tasks]


def test_a_faultless_worker_hands_in_the_truth_of_every_coin() -> None:
    answer = labelled(task_about("coins", "imageannotation"))

    truth = item("coins").truth.picture
    assert truth is not None
    drawn = [{side: one[side] for side in ("left", "top", "width", "height")} for one in annotated(answer)]
    assert drawn == [one.shapes["box"] for one in truth.objects if "box" in one.shapes]
    assert {one["label"] for one in annotated(answer)} == {"coin"}
    assert (answer.simulation["truth"], answer.simulation["fixture"]) == ("fixture", "coins")
    assert (answer.simulation["mean_iou"], answer.simulation["mistakes"]) == (1.0, {})


@pytest.mark.parametrize("asked", ["COIN", "coins", "money"])
def test_labels_match_in_other_spellings_and_by_other_names_and_come_back_as_asked(asked: str) -> None:
    answer = labelled(task_about("coins", "imageannotation", geometries={"box": {"objects_to_annotate": [asked]}}))

    assert {one["label"] for one in annotated(answer)} == {asked}


@pytest.mark.parametrize("geometry_name", ["box", "polygon", "ellipse", "point"])
def test_coarser_shapes_are_derived_from_finer_ones(geometry_name: str) -> None:
    asked = {geometry_name: {"objects_to_annotate": ["coin"]}}

    answer = labelled(task_about("coins", "imageannotation", geometries=asked))

    assert len(annotated(answer)) == 24
    assert {one["type"] for one in annotated(answer)} == {geometry_name}


def test_shapes_finer_than_the_truth_are_not_made_up() -> None:
    answer = labelled(task_about("chelsea", "imageannotation", geometries={"cuboid": {"objects_to_annotate": ["cat"]}}))

    assert annotated(answer) == []
    assert answer.simulation["geometry_without_truth"] == ["cuboid of cat"]


def test_nested_labels_answer_with_their_leaves_and_linked_attributes_lead_to_uuids() -> None:
    answer = labelled(task_about("chelsea", "imageannotation"))

    by_label: dict[str, list[dict[str, Any]]] = {}
    for one in annotated(answer):
        by_label.setdefault(one["label"], []).append(one)
    assert {label: len(found) for label, found in by_label.items()} == {
        "cat": 1,
        "nose": 1,
        "pupil": 2,
        "eye": 2,
        "whisker": 2,
    }
    cat = by_label["cat"][0]["uuid"]
    assert [one["attributes"] for one in by_label["eye"]] == [
        {"side": "left", "belongs_to": cat},
        {"side": "right", "belongs_to": cat},
    ]
    assert by_label["nose"][0]["attributes"] == {}


def test_attributes_of_the_scene_are_global() -> None:
    answer = labelled(task_about("rocket", "imageannotation"))

    assert response(answer)["global_attributes"] == {"time_of_day": "dusk"}
    assert all("time_of_day" not in one["attributes"] for one in annotated(answer))


def test_options_of_a_box_are_kept() -> None:
    options = {"objects_to_annotate": ["coin"], "min_width": "45", "integer_pixels": True}
    who = worker(edge=0.1, floor=2)

    answer = labelled(task_about("coins", "imageannotation", geometries={"box": options}), who)

    assert 5 < len(annotated(answer)) < 24
    for one in annotated(answer):
        assert one["width"] >= 45
        assert all(isinstance(one[side], int) for side in ("left", "top", "width", "height"))


def test_a_turned_box_keeps_its_unrotated_sides_and_gives_its_corners() -> None:
    claim = {
        "uuid": "1",
        "type": "box",
        "label": "a",
        "left": 0,
        "top": 0,
        "width": 40,
        "height": 20,
        "rotation": math.pi / 2,
    }
    params = {"hypothesis": {"annotations": [claim]}}
    turned = labelled({"type": "imageannotation", "params": {**params, "geometries": {"box": {"can_rotate": True}}}})
    upright = labelled({"type": "imageannotation", "params": {**params, "geometries": {"box": {}}}})

    (made,) = annotated(turned)
    assert (made["left"], made["width"], made["rotation"]) == (0, 40, pytest.approx(math.pi / 2, abs=1e-3))
    assert geometry.region_of(geometry.points_of({"vertices": made["vertices"]})) == pytest.approx(
        (10, -10, 30, 30), abs=0.1
    )
    (made,) = annotated(upright)
    assert (made["left"], made["top"], made["width"], made["height"]) == pytest.approx((10, -10, 20, 40), abs=0.1)


def test_polygons_keep_to_the_number_of_corners_allowed() -> None:
    options = {"objects_to_annotate": ["cat"], "min_vertices": 6, "max_vertices": 8}

    answer = labelled(
        task_about("chelsea", "imageannotation", geometries={"polygon": options}), worker(vertex_dropped=0.9)
    )

    assert 6 <= len(annotated(answer)[0]["vertices"]) <= 8


def test_a_prelabel_is_answered_with_the_workers_noise_and_named_as_the_source() -> None:
    claim = {"type": "box", "label": "car", "left": 10, "top": 10, "width": 50, "height": 40}
    params = {
        "geometries": TWO_BOXES,
        "hypothesis": {"annotations": [claim]},
        "attachment": "https://example.com/a.jpg",
    }

    answer = labelled({"type": "imageannotation", "params": params}, worker(edge=0.02))

    (made,) = annotated(answer)
    assert answer.simulation["truth"] == "hypothesis"
    assert made["left"] != 10
    assert geometry.iou(made, claim) > 0.8


def test_every_missed_and_confused_object_is_reported() -> None:
    asked = {"box": {"objects_to_annotate": ["coin", "button", "stone"]}}
    who = worker(missed=0.3, wrong_class=0.3, edge=0.02)

    answer = labelled(task_about("coins", "imageannotation", geometries=asked), who)

    injected = answer.simulation["injected"]
    assert len(annotated(answer)) == 24 - len(injected["missed"])
    wrong = {one["uuid"]: one["label"] for one in annotated(answer) if one["label"] != "coin"}
    assert wrong == {one["annotation"]: one["answer"] for one in injected["wrong_class"]}
    assert wrong
    assert answer.simulation["mistakes"] == {kind: len(found) for kind, found in injected.items()}
    matched = {one["truth"] for one in answer.simulation["matches"]}
    assert matched.isdisjoint(one["truth"] for one in injected["missed"])
    assert answer.simulation["noise"] == {"edge": 0.02, "missed": 0.3, "wrong_class": 0.3}


def test_wrong_and_skipped_attributes_are_reported() -> None:
    answer = labelled(task_about("coins", "imageannotation"), worker(attribute_wrong=0.4, attribute_skipped=0.2))

    truth = item("coins").truth.picture
    assert truth is not None
    true_sizes = {one.key: one.attributes["size"] for one in truth.objects if one.attributes}
    by_uuid = {one["annotation"]: one["truth"] for one in answer.simulation["matches"]}
    wrong = [one for one in annotated(answer) if one["attributes"].get("size", "") != true_sizes[by_uuid[one["uuid"]]]]
    injected = answer.simulation["injected"]
    assert len(wrong) == len(injected["attribute_wrong"]) + len(injected["attribute_skipped"]) > 0


def test_bogus_objects_come_only_when_they_are_asked_for_and_are_reported() -> None:
    none = labelled(task_about("coins", "imageannotation"), worker())
    some = labelled(task_about("coins", "imageannotation"), worker(bogus=0.5))

    bogus = {one["annotation"] for one in some.simulation["injected"]["bogus"]}
    assert len(annotated(none)) == 24
    assert len(annotated(some)) == 24 + len(bogus)
    assert bogus <= {one["uuid"] for one in annotated(some)}


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_the_same_seed_gives_the_same_answer_byte_for_byte(name: str, kind: str) -> None:
    who = make_pool(12)[4]
    one, two, other = (labelled(task_about(name, kind), who, seed) for seed in (7, 7, 8))

    assert one == two
    assert one.simulation["truth"] == "fixture"
    if one.files:
        assert one.files != other.files


@pytest.mark.parametrize(("name", "kind"), PAIRS)
def test_every_suggested_task_can_be_answered_in_full_by_a_faultless_worker(name: str, kind: str) -> None:
    answer = labelled(task_about(name, kind))

    assert answer.simulation["mistakes"] == {}
    silent = ("geometry", "attributes", "fields", "events", "frames")
    assert [name for name in answer.simulation if name in {f"{what}_without_truth" for what in silent}] == []


def test_a_segmentation_of_the_coins_covers_every_pixel_with_instances_over_the_background() -> None:
    answer = labelled(task_about("coins", "segmentannotation"), worker(mask_shift=0.4, mask_swollen=0.5))

    said = response(answer)
    indexed = picture(behind(answer, said["annotations"]["combined"]["indexedImage"]))
    mapping = said["labelMapping"]
    indexes = [mapping["background"]["index"], *(one["index"] for one in mapping["coin"])]
    assert indexed.size == (384, 303)
    assert len(said["annotations"]["labeled"]["coin"]) == len(mapping["coin"]) == 24
    assert len(set(indexes)) == 25
    assert set(indexed.tobytes()) == set(indexes)
    assert "unlabeled" not in said["annotations"]
    counts = indexed.histogram()
    assert all(counts[one["index"]] == one["numPixels"] for one in mapping["coin"])
    first = picture(behind(answer, said["annotations"]["labeled"]["coin"][0]))
    assert first.histogram()[255] == mapping["coin"][0]["numPixels"]


def test_colours_in_the_picture_are_those_of_the_mapping() -> None:
    answer = labelled(task_about("horse", "segmentannotation"))

    said = response(answer)
    coloured = picture(behind(answer, said["annotations"]["combined"]["image"]))
    middle = coloured.getpixel((200, 150))
    assert isinstance(middle, tuple)
    assert "#{:02x}{:02x}{:02x}".format(*middle[:3]) == said["labelMapping"]["horse"]["color"]
    assert coloured.mode == "RGBA"


def test_pixels_of_objects_nobody_asked_for_are_unlabeled_rather_than_background() -> None:
    answer = labelled(task_about("coins", "segmentannotation", labels=["background"]))

    said = response(answer)
    indexed = picture(behind(answer, said["annotations"]["combined"]["indexedImage"]))
    assert indexed.getpixel((45, 55)) == 0  # the middle of the first coin
    assert picture(behind(answer, said["annotations"]["unlabeled"])).getpixel((45, 55)) == 255


def test_a_faultless_mask_of_the_horse_is_the_horse() -> None:
    answer = labelled(task_about("horse", "segmentannotation"))

    mask = picture(behind(answer, response(answer)["annotations"]["labeled"]["horse"]))
    silhouette = picture(item("horse").content()).convert("L")
    assert mask.tobytes() == bytes(255 - value for value in silhouette.tobytes())
