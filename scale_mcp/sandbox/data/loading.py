"""Reads the data set: one JSON file of truth per item, beside the files it is about.

In the JSON a box is ``[left, top, width, height]``, a point ``[x, y]`` and every other shape a list of points, so that
a person can write and check it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from scale_mcp.sandbox import geometry, street
from scale_mcp.sandbox.facts import (
    Block,
    DocumentTruth,
    LidarFrame,
    LidarTruth,
    PictureTruth,
    Size,
    Span,
    TextTruth,
    TrueObject,
    Truth,
    VideoTruth,
)
from scale_mcp.sandbox.geometry import Shape

ROOT = Path(__file__).parent
PICTURES = ROOT / "pictures"
ORDER = ("coins", "chelsea", "rocket", "coffee", "horse", "receipt", "fogg", "review", "pan", "street")
MIME = {
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".webm": "video/webm",
    ".json": "application/json",
    ".txt": "text/plain",
}
Kind = Literal["picture", "document", "text", "video", "lidar"]


@dataclass(frozen=True)
class Picture:
    """One item of the data set. Most are pictures; ``kind`` says what it is.

    ``paths`` are its files in order: one for a picture, the frames of a lidar scene, the frames of a video followed by
    the video itself. ``tasks`` gives, by task type, parameters (without the attachment) that its truth can answer.
    """

    name: str
    title: str
    kind: Kind
    paths: tuple[Path, ...]
    mime: str
    width: int | None
    height: int | None
    tasks: Mapping[str, Mapping[str, Any]]
    licence: str

    @property
    def path(self) -> Path:
        """The first file, the only one of most items."""
        return self.paths[0]

    @property
    def truth(self) -> Truth:
        """What is known about the first file."""
        return _truths(self.name)[0]

    @property
    def truths(self) -> tuple[Truth, ...]:
        """What is known about each file, in the order of ``paths``."""
        return _truths(self.name)

    def content(self) -> bytes:
        """The bytes of the first file."""
        return self.path.read_bytes()

    def text(self) -> str:
        """The words of a text item, without the line break at the end of its file."""
        return self.path.read_text("utf-8").strip()


@dataclass(frozen=True)
class Served:
    """A file of the data set as the sandbox serves it."""

    content: bytes
    mime: str


@cache
def catalog() -> tuple[Picture, ...]:
    """Everything with truth, pictures first."""
    return tuple(_item(name) for name in ORDER)


def read(name: str) -> Served | None:
    """A file of the data set by its name, e.g. ``coins.jpg``; only files listed in the catalogue are served."""
    for item in catalog():
        for path in item.paths:
            if path.name == name:
                return Served(path.read_bytes(), MIME[path.suffix])
    return None


def known(content: bytes) -> Truth | None:
    """What is known about something with exactly these bytes. Texts are known without surrounding white space."""
    place = _index().get(hashlib.sha256(content).hexdigest())
    return None if place is None else _truths(place[0])[place[1]]


@cache
def _index() -> dict[str, tuple[str, int]]:
    """By digest: the item, and which of its files."""
    found: dict[str, tuple[str, int]] = {}
    for item in catalog():
        for number, path in enumerate(item.paths):
            content = path.read_bytes()
            for variant in {content, content.strip()} if path.suffix == ".txt" else {content}:
                found[hashlib.sha256(variant).hexdigest()] = item.name, number
    return found


@cache
def _stored(name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", json.loads((ROOT / "truth" / f"{name}.json").read_text("utf-8")))


def _item(name: str) -> Picture:
    stored = _stored(name)
    paths = tuple(PICTURES / file for file in stored["files"])
    width, height = stored.get("size") or (None, None)
    mime = MIME[paths[0].suffix]
    return Picture(
        name, stored["title"], stored["kind"], paths, mime, width, height, stored["tasks"], stored["licence"]
    )


@cache
def _truths(name: str) -> tuple[Truth, ...]:
    stored = _stored(name)
    size: Size | None = tuple(stored["size"]) if "size" in stored else None
    answers = stored.get("answers")
    if stored["kind"] == "video":
        return _video_truths(name, stored, size)
    if stored["kind"] == "lidar":
        return tuple(
            Truth("fixture", name, lidar=LidarTruth((_lidar_frame(PICTURES / file, cuboids),)))
            for file, cuboids in zip(stored["files"], stored["frames"], strict=True)
        )
    if stored["kind"] == "text":
        text = (PICTURES / stored["files"][0]).read_text("utf-8").strip()
        return (Truth("fixture", name, text=_text_truth(text, stored), answers=answers),)
    picture = None
    if "objects" in stored:
        picture = PictureTruth(_objects(stored["objects"]), size, stored.get("attributes", {}))
    document = _document(stored, size) if "blocks" in stored else None
    return (Truth("fixture", name, picture=picture, document=document, answers=answers),)


def _objects(stored: list[dict[str, Any]]) -> tuple[TrueObject, ...]:
    return tuple(_object(one) for one in stored)


def _object(stored: Mapping[str, Any]) -> TrueObject:
    shapes: dict[str, Shape] = {}
    if "box" in stored:
        shapes["box"] = dict(zip(("left", "top", "width", "height"), stored["box"], strict=True))
        shapes["box"] |= {"rotation": stored["rotation"]} if "rotation" in stored else {}
    if "point" in stored:
        shapes["point"] = dict(zip("xy", stored["point"], strict=True))
    for name in ("polygon", "line", "ellipse"):
        if name in stored:
            shapes[name] = {"vertices": geometry.vertices(stored[name])}
    if "cuboid3d" in stored:
        shapes["cuboid3d"] = stored["cuboid3d"]
    mask = (ROOT / "truth" / stored["mask"]).read_bytes() if "mask" in stored else None
    return TrueObject(
        stored["key"],
        stored["label"],
        shapes,
        stored.get("attributes", {}),
        tuple(stored.get("aliases", ())),
        mask,
        stored.get("rest", False),
    )


def _video_truths(name: str, stored: Mapping[str, Any], size: Size | None) -> tuple[Truth, ...]:
    """One truth per frame file (some frames of the video, as pictures), then that of the video with all its frames."""
    frames = [_objects(objects) for objects in stored["frames"]]
    pictures = [
        Truth("fixture", name, picture=PictureTruth(frames[number], size)) for number in stored["numbers_of_files"]
    ]
    video = VideoTruth(
        tuple(frames), tuple(range(len(frames))), stored["rate"], size, tuple(stored["events"]), sampled=False
    )
    return (*pictures, Truth("fixture", name, video=video))


def _lidar_frame(path: Path, cuboids: list[dict[str, Any]]) -> LidarFrame:
    """The frame with a label per point: the scene has every point of an object inside its cuboid, and no other."""
    frame = json.loads(path.read_bytes())
    objects = _objects(cuboids)
    places = tuple((point["x"], point["y"], point["z"]) for point in frame["points"])
    shapes = [(one.key, one.shapes["cuboid3d"]) for one in objects]
    points = tuple(next((key for key, cuboid in shapes if street.inside(place, cuboid)), None) for place in places)
    device = frame["device_position"]
    return LidarFrame(objects, points, places, (device["x"], device["y"], device["z"]))


def _text_truth(text: str, stored: Mapping[str, Any]) -> TextTruth | None:
    """Spans are stored as their words and which occurrence is meant, so that a person can check them."""
    if "spans" not in stored:
        return None
    spans = []
    for one in stored["spans"]:
        start = -1
        for _ in range(one.get("occurrence", 1)):
            start = text.index(one["text"], start + 1)
        end = start + len(one["text"])
        spans.append(Span(one["key"], one["label"], start, end, one.get("attributes", {})))
    relations = tuple((source, target, name) for source, name, target in stored.get("relations", []))
    return TextTruth(tuple(spans), relations, stored.get("attributes", {}))


def _document(stored: Mapping[str, Any], size: Size | None) -> DocumentTruth:
    blocks = tuple(
        Block(
            one["key"],
            one["label"],
            one["text"],
            {"type": "box", **dict(zip(("left", "top", "width", "height"), one["box"], strict=True))},
            refs=tuple(one.get("refs", ())),
            extras={name: one[name] for name in ("money", "date", "checked") if name in one},
        )
        for one in stored["blocks"]
    )
    return DocumentTruth(blocks, (size,))
