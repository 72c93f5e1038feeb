"""The shipped data set: small, licensed, and true about its own files."""

from __future__ import annotations

import io
import json

import pytest
from PIL import Image

from scale_mcp.sandbox import data, geometry, street
from scale_mcp.sandbox.data import Picture, catalog
from scale_mcp.sandbox.facts import TrueObject
from tests.sandbox.world import item

FILES = [path for one in catalog() for path in one.paths]
PICTURES = [one for one in catalog() if one.kind == "picture"]


def names(one: object) -> str:
    return getattr(one, "name", str(one))


def all_objects(one: Picture) -> list[TrueObject]:
    found: list[TrueObject] = []
    for truth in one.truths:
        found += truth.picture.objects if truth.picture else ()
        found += [thing for frame in truth.video.frames for thing in frame or ()] if truth.video else []
    return found


def test_the_data_set_stays_small_enough_to_ship() -> None:
    size = sum(path.stat().st_size for path in data.PICTURES.parent.rglob("*") if path.suffix != ".pyc")

    assert size < 700_000


def test_every_file_has_its_origin_and_terms_written_down() -> None:
    text = (data.PICTURES.parent / "LICENSES.md").read_text("utf-8")
    patterns = {f"street-{number}.json": "street-0.json" for number in range(4)}

    missing = [path.name for path in FILES if f"`{patterns.get(path.name, path.name)}`" not in text]

    assert missing == []


def test_every_file_in_the_folder_belongs_to_an_item() -> None:
    assert {path.name for path in data.PICTURES.iterdir()} == {path.name for path in FILES}


@pytest.mark.parametrize("one", catalog(), ids=names)
def test_an_item_is_known_by_the_bytes_of_each_of_its_files(one: Picture) -> None:
    assert [data.known(path.read_bytes()) for path in one.paths] == list(one.truths)
    assert data.known(one.content() + b" changed") is None


@pytest.mark.parametrize("one", PICTURES, ids=names)
def test_a_pictures_stated_size_is_its_own(one: Picture) -> None:
    with Image.open(io.BytesIO(one.content())) as image:
        assert image.size == (one.width, one.height)


@pytest.mark.parametrize("one", catalog(), ids=names)
def test_true_shapes_lie_inside_their_picture(one: Picture) -> None:
    for thing in all_objects(one):
        for name, shape in thing.shapes.items():
            region = (
                geometry.ellipse_region(shape) if name == "ellipse" else geometry.region_of(geometry.points_of(shape))
            )
            left, top, right, bottom = region
            assert left >= 0, thing.key
            assert top >= 0, thing.key
            assert right <= (one.width or 0) + 0.01, thing.key
            assert bottom <= (one.height or 0) + 0.01, thing.key


@pytest.mark.parametrize("one", PICTURES, ids=names)
def test_keys_of_objects_are_unique_and_links_lead_to_them(one: Picture) -> None:
    keys = [thing.key for thing in all_objects(one)]
    linked = {
        str(thing.attributes[name])
        for thing in all_objects(one)
        for name in ("belongs_to", "stands_on")
        if name in thing.attributes
    }

    assert len(keys) == len(set(keys))
    assert linked <= set(keys)


def test_there_are_24_coins_and_their_three_shapes_agree() -> None:
    coins = [thing for thing in all_objects(item("coins")) if thing.label == "coin"]

    assert len(coins) == 24
    for coin in coins:
        round_box = geometry.box_of(geometry.ellipse_region(coin.shapes["ellipse"]))
        assert geometry.iou(coin.shapes["box"], round_box) > 0.9, coin.key
        drawn = geometry.area(geometry.points_of(coin.shapes["polygon"]))
        assert drawn == pytest.approx(geometry.area(geometry.ellipse_ring(coin.shapes["ellipse"])), rel=0.05), coin.key


def test_the_horse_is_its_own_mask() -> None:
    horse = next(thing for thing in all_objects(item("horse")) if thing.label == "horse")
    assert horse.mask is not None

    with Image.open(io.BytesIO(horse.mask)) as mask, Image.open(io.BytesIO(item("horse").content())) as picture:
        differing = sum(
            (dark == 0) != (inside == 255)
            for dark, inside in zip(picture.convert("L").tobytes(), mask.convert("L").tobytes(), strict=True)
        )

    assert differing == 0


def test_spans_of_the_text_read_as_they_should() -> None:
    text, truth = item("fogg").text(), item("fogg").truth.text
    assert truth is not None

    read = {span.key: text[span.start : span.end] for span in truth.spans}

    assert read["fogg"] == "Phileas Fogg"
    assert text[truth.spans[-1].start - 9 : truth.spans[-1].end] == "tranquil Byron"
    assert {source for source, _, _ in truth.relations} <= read.keys()


def test_the_stills_of_the_pan_show_what_the_video_shows_in_those_frames() -> None:
    truths = item("pan").truths
    video = truths[-1].video
    assert video is not None

    stills = [truth.picture.objects for truth in truths[:-1] if truth.picture]

    assert stills == [video.frames[number] for number in (0, 3, 6, 9)]


def test_the_shipped_street_is_the_computed_one() -> None:
    scene = street.street_scene()

    shipped = [json.loads(path.read_bytes()) for path in item("street").paths]

    assert shipped == [frame for frame, _ in scene]
    assert [truth.lidar.frames[0] for truth in item("street").truths if truth.lidar] == [truth for _, truth in scene]


def test_every_point_of_the_street_has_the_label_of_the_only_cuboid_it_lies_in() -> None:
    for _, frame in street.street_scene():
        for place, key in zip(frame.places, frame.points, strict=True):
            holding = [one.key for one in frame.objects if street.inside(place, one.shapes["cuboid3d"])]
            assert holding == ([key] if key else [])


@pytest.mark.parametrize("name", ["../truth/coins.json", "coins.json", "/etc/passwd", ""])
def test_only_files_of_the_catalogue_are_served(name: str) -> None:
    assert data.read(name) is None
    served = data.read("coins.jpg")
    assert served is not None
    assert (served.mime, served.content) == ("image/jpeg", item("coins").content())
