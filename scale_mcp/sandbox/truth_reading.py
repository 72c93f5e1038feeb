"""A truth read out of a response: of an evaluation task's expected one, or of a hypothesis.

Customers write these by hand and by script, so every reader takes what has the right shape and drops the rest. Nothing
left over means that there is no truth.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from scale_mcp.sandbox import media
from scale_mcp.sandbox.facts import (
    Block,
    DocumentTruth,
    LidarFrame,
    LidarTruth,
    PictureTruth,
    Source,
    Span,
    TextTruth,
    TrueObject,
    Truth,
    VideoTruth,
)
from scale_mcp.sandbox.geometry import Shape

LARGEST_NUMBER = 1e7  # pixels or metres; also keeps out infinities and NaN
FileBytes = Callable[[str], bytes | None]
GEOMETRY_OF_LEGACY = {
    "annotation": "box",
    "polygonannotation": "polygon",
    "lineannotation": "line",
    "pointannotation": "point",
    "cuboidannotation": "cuboid",
}


def read_response(
    kind: str, response: Mapping[str, Any], params: Mapping[str, Any], file_bytes: FileBytes, source: Source
) -> Truth | None:
    """The truth in a response of this task type, None when there is nothing usable in it."""
    annotations = response.get("annotations")
    attributes = _mapping(response.get("global_attributes"))
    if kind in ("imageannotation", "lidartopdown") or kind in GEOMETRY_OF_LEGACY:
        if not isinstance(annotations, list):
            return None
        objects = _objects(annotations, GEOMETRY_OF_LEGACY.get(kind))
        return Truth(source, picture=PictureTruth(objects, attributes=attributes))
    if kind == "segmentannotation":
        picture = _segments(response, file_bytes)
        return Truth(source, picture=picture) if picture else None
    if kind in ("videoannotation", "videoboxannotation", "videocuboidannotation", "videoplaybackannotation"):
        video = _video(response, params, file_bytes)
        return Truth(source, video=video) if video else None
    if kind == "lidarannotation":
        frames = _lidar_frames(_content(annotations, file_bytes))
        return Truth(source, lidar=LidarTruth(frames)) if frames else None
    if kind == "lidarsegmentation":
        frames = _point_frames(_content(response.get("point_segmentations"), file_bytes))
        return Truth(source, lidar=LidarTruth(frames)) if frames else None
    if kind == "namedentityrecognition":
        text = _entities(response, str(params.get("text", "")))
        return Truth(source, text=text) if text else None
    if kind == "documenttranscription":
        blocks = _blocks(annotations)
        return Truth(source, document=DocumentTruth(blocks)) if isinstance(annotations, list) else None
    if kind == "textcollection":
        answers = {str(name): _short(value) for name, value in _mapping(annotations).items()}
        return Truth(source, answers=answers) if answers else None
    return Truth(source, answers=dict(response)) if response else None


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _numbers(value: Mapping[str, Any], names: Iterable[str]) -> dict[str, float] | None:
    """These members as sensible numbers, None when one is missing or is none."""
    found: dict[str, float] = {}
    for name in names:
        number = value.get(name)
        if isinstance(number, bool) or not isinstance(number, int | float) or not abs(number) <= LARGEST_NUMBER:
            return None
        found[name] = number
    return found


def _content(value: Any, file_bytes: FileBytes) -> Any:
    """The list or object meant: given itself, or as a JSON file behind ``{"url"}``."""
    if not isinstance(value, Mapping) or not isinstance(value.get("url"), str):
        return value
    return read_json(file_bytes(value["url"]))


def read_json(content: bytes | None) -> Any:
    """The value in a JSON file, None when there is no file or no JSON in it."""
    try:
        return None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return None


# ---------------------------------------------------------------------------------------------------------- pictures


def _objects(annotations: Any, geometry: str | None = None) -> tuple[TrueObject, ...]:
    found = []
    for number, one in enumerate(_list(annotations)):
        kind = geometry or (one.get("type") if isinstance(one, Mapping) else None)
        shape = _shape(str(kind), one) if isinstance(one, Mapping) else None
        if shape is None:
            continue
        key = str(one.get("uuid") or f"object-{number + 1}")
        label = None if one.get("label") is None else str(one["label"])
        found.append(TrueObject(key, label, {str(kind): shape}, _mapping(one.get("attributes"))))
    return tuple(found)


def _shape(geometry: str, annotation: Mapping[str, Any]) -> Shape | None:
    """The fields of one geometry, None when they are not all there."""
    if geometry == "box":
        box = _numbers(annotation, ("left", "top", "width", "height"))
        if box is None or box["width"] <= 0 or box["height"] <= 0:
            return None
        return box | (_numbers(annotation, ("rotation",)) or {})
    if geometry == "point":
        return _numbers(annotation, ("x", "y"))
    least = {"polygon": 3, "line": 2, "ellipse": 4, "cuboid": 4}.get(geometry)
    corners = annotation.get("vertices")
    if least is None or not isinstance(corners, list) or len(corners) < least:
        return None
    if not all(isinstance(corner, Mapping) and _numbers(corner, ("x", "y")) for corner in corners):
        return None
    shape: Shape = {"vertices": [dict(corner) for corner in corners]}
    return (
        shape | {"edges": [dict(edge) for edge in _list(annotation.get("edges")) if isinstance(edge, Mapping)]}
        if geometry == "cuboid"
        else shape
    )


def _segments(response: Mapping[str, Any], file_bytes: FileBytes) -> PictureTruth | None:
    """Masks out of ``combined.indexedImage`` with the indexes that ``labelMapping`` explains."""
    combined = _mapping(_mapping(response.get("annotations")).get("combined"))
    address = combined.get("indexedImage") or combined.get("extendedIndexedImage")
    content = file_bytes(address) if isinstance(address, str) else None
    decoded = media.indexes_of(content) if content is not None else None
    if decoded is None:
        return None
    size, masks = decoded
    objects = []
    for label, entries in _mapping(response.get("labelMapping")).items():
        for entry in entries if isinstance(entries, list) else [entries]:
            index = _mapping(entry).get("index")
            if isinstance(index, int) and index in masks:
                objects.append(TrueObject(f"{label}-{index}", str(label), mask=masks[index]))
    return PictureTruth(tuple(objects), size, _mapping(response.get("global_attributes"))) if objects else None


def _video(response: Mapping[str, Any], params: Mapping[str, Any], file_bytes: FileBytes) -> VideoTruth | None:
    """Frames in a list, or objects with key frames, whether or not a list is wrapped around those."""
    content = _content(response.get("annotations"), file_bytes)
    events = _content(response.get("events"), file_bytes)
    events = events.get("events") if isinstance(events, Mapping) else events
    happened = tuple(one for one in events if isinstance(one, Mapping)) if isinstance(events, list) else ()
    if isinstance(content, list) and content and isinstance(_mapping(content[0]).get("annotations"), Mapping):
        content = content[0]
    if isinstance(content, Mapping):
        tracks = _mapping(content.get("annotations", content))
        frames, numbers = _tracks(tracks)
        rate = params.get("video_frame_rate") or params.get("frame_rate") or 1
        number = float(rate) if isinstance(rate, int | float) and rate > 0 else 1.0
        return VideoTruth(frames, numbers, number, events=happened) if frames else None
    if not isinstance(content, list) or not content:
        return None
    lists = tuple(_objects(_mapping(frame).get("annotations")) for frame in content)
    return VideoTruth(lists, tuple(range(len(lists))), events=happened)


def _tracks(tracks: Mapping[str, Any]) -> tuple[tuple[tuple[TrueObject, ...], ...], tuple[int, ...]]:
    by_frame: dict[int, list[TrueObject]] = {}
    for key, track in tracks.items():
        geometry, label = str(_mapping(track).get("geometry", "box")), _mapping(track).get("label")
        for frame in _list(_mapping(track).get("frames")):
            shape = _shape(geometry, frame) if isinstance(frame, Mapping) else None
            if shape is not None and isinstance(frame.get("key"), int):
                name = None if label is None else str(label)
                one = TrueObject(str(key), name, {geometry: shape}, _mapping(frame.get("attributes")))
                by_frame.setdefault(frame["key"], []).append(one)
    numbers = tuple(sorted(by_frame))
    return tuple(tuple(by_frame[number]) for number in numbers), numbers


# ------------------------------------------------------------------------------------------------------------- lidar


def _lidar_frames(content: Any) -> tuple[LidarFrame | None, ...]:
    if not isinstance(content, list):
        return ()
    return tuple(LidarFrame(tuple(_cuboids(_mapping(frame).get("cuboids")))) for frame in content)


def _cuboids(cuboids: Any) -> Iterable[TrueObject]:
    for number, one in enumerate(_list(cuboids)):
        given = _mapping(one)
        position, dimensions = (_numbers(_mapping(given.get(name)), "xyz") for name in ("position", "dimensions"))
        turned = _numbers(given, ("yaw",))
        if position is None or dimensions is None or turned is None:
            continue
        shape: Shape = {"position": position, "dimensions": dimensions, **turned}
        shape |= {name: given[name] for name in ("pitch", "roll", "stationary", "camera_used") if name in given}
        key = str(given.get("uuid") or f"cuboid-{number + 1}")
        label = None if given.get("label") is None else str(given["label"])
        yield TrueObject(key, label, {"cuboid3d": shape}, _mapping(given.get("attributes")))


def _point_frames(content: Any) -> tuple[LidarFrame | None, ...]:
    """Labels of points; both pairs of names that Scale's documents use."""
    given = _mapping(content)
    listed = given.get("objects", given.get("labels"))
    points = given.get("point_objects", given.get("point_labels"))
    if not isinstance(listed, list) or not isinstance(points, list):
        return ()
    objects = {
        one["index"]: TrueObject(f"object-{one['index']}", str(one.get("label")))
        for one in listed
        if isinstance(one, Mapping) and isinstance(one.get("index"), int)
    }
    return tuple(
        LidarFrame(
            tuple(objects.values()),
            tuple(objects[index].key if isinstance(index, int) and index in objects else None for index in frame),
        )
        for frame in points
        if isinstance(frame, list)
    )


# -------------------------------------------------------------------------------------------------- text and documents


def _entities(response: Mapping[str, Any], text: str) -> TextTruth | None:
    """Spans that lie in the text. An end that includes its last character is noticed by the text given with it."""
    if not isinstance(response.get("annotations"), list):
        return None
    spans = []
    for number, given in enumerate(response["annotations"]):
        one = _mapping(given)
        ends = _numbers(one, ("start", "end"))
        if ends is None or one.get("label") is None:
            continue
        start, end = int(ends["start"]), int(ends["end"])
        said = one.get("text")
        if isinstance(said, str) and text[start:end] != said and text[start : end + 1] == said:
            end += 1
        if 0 <= start < end <= len(text):
            key = str(one.get("id") or one.get("uuid") or f"span-{number + 1}")
            spans.append(Span(key, str(one["label"]), start, end, _mapping(one.get("attributes"))))
    relations = tuple(
        (str(one["source_ref"]), str(one["target_ref"]), None if one.get("name") is None else str(one["name"]))
        for one in _list(response.get("relationships"))
        if isinstance(one, Mapping) and one.get("source_ref") and one.get("target_ref")
    )
    return TextTruth(tuple(spans), relations, _mapping(response.get("global_attributes")))


def _blocks(annotations: Any) -> tuple[Block, ...]:
    blocks = []
    for number, given in enumerate(_list(annotations)):
        one, place = _mapping(given), _mapping(_mapping(given).get("location"))
        geometry = str(place.get("type") or ("polygon" if "vertices" in place else "box"))
        location = _shape(geometry, place) if geometry in ("box", "polygon") else None
        page = one.get("page", 0)
        if location is None or one.get("label") is None or not isinstance(page, int) or page < 0:
            continue
        extras: dict[str, Any] = {name: one[name] for name in ("money", "date", "checked") if name in one}
        refs = tuple(str(ref) for ref in _list(one.get("refs")))
        key = str(one.get("uuid") or f"block-{number + 1}")
        blocks.append(Block(key, str(one["label"]), str(one.get("text", "")), location, page, refs, extras))
    return tuple(blocks)


def _short(value: Any) -> Any:
    """A text collection's answer in the short form, also from ``{"type", "field_id", "response": [["…"]]}``."""
    if not isinstance(value, Mapping) or not isinstance(value.get("response"), list):
        return value
    repeated = value["response"]
    if value.get("type") == "category":
        return repeated[0] if len(repeated) == 1 else repeated
    single = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in repeated]
    return single[0] if len(single) == 1 else single
