"""Scenes of points: cuboids (``lidarannotation``) and a label per point (``lidarsegmentation``)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from scale_mcp.sandbox import decisions, street
from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers import attributes
from scale_mcp.sandbox.answers.ontology import Label, attribute_definitions, leaves, number_of, truthy
from scale_mcp.sandbox.answers.paper import Answer, Paper
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import LidarFrame, LidarTruth, TrueObject, Truth
from scale_mcp.sandbox.workforce import Worker

NO_CAMERA = -1
BORDER = 0.15  # metres outside a cuboid in which points are mistaken for its own

# ------------------------------------------------------------------------------------------------------------ made up


def _frame_count(params: Mapping[str, Any]) -> int:
    for name in ("attachments", "lidar_task_frames"):
        if isinstance(params.get(name), list) and params[name]:
            return len(params[name])
    return 1


def fabricate(paper: Paper) -> Answer:
    """One fixed cuboid per label, the same in every frame."""
    definitions = attribute_definitions(paper.params)
    cuboids = []
    for number, label in enumerate(leaves(paper.params.get("labels"))):
        cuboid: dict[str, Any] = {
            "uuid": paper.new_id(),
            "label": label.name,
            "position": {"x": 10 + 5 * number, "y": 10, "z": 1},
            "dimensions": {"x": 2, "y": 4, "z": 2},
            "yaw": 0,
        }
        if truthy(paper.params.get("pitch_and_roll_enabled")):
            cuboid |= {"pitch": 0, "roll": 0}
        cuboid |= {"stationary": False, "camera_used": NO_CAMERA, "numberOfPoints": 0}
        cuboid["distance_to_device"] = round(math.hypot(*cuboid["position"].values()), 2)
        cuboid["attributes"] = attributes.fabricated(definitions, label.name)
        cuboids.append(cuboid)
    attributes.fabricate_links(cuboids, definitions, "uuid")
    frames = [{"cuboids": cuboids} for _ in range(_frame_count(paper.params))]
    return Answer({"annotations": {"url": paper.publish_json(frames)}})


def fabricate_points(paper: Paper) -> Answer:
    """As many points per frame as there are labels, each with the next one: test mode does not read the frames."""
    labels = leaves(paper.params.get("labels"))
    objects = [_object(label, index) for index, label in enumerate(labels, start=1)]
    points = [list(range(1, len(labels) + 1)) for _ in range(_frame_count(paper.params))]
    return Answer({"point_segmentations": {"url": paper.publish_json(_point_file(objects, points))}})


def _point_file(objects: list[dict[str, Any]], points: list[list[int]]) -> dict[str, Any]:
    return dict(zip(decisions.POINT_FILE_NAMES.value, (objects, points), strict=True))


def _object(label: Label, index: int) -> dict[str, Any]:
    made: dict[str, Any] = {"label": label.name, "index": index}
    return made | {"instance": True} if label.instance else made


# -------------------------------------------------------------------------------------------------------- from truth


def label(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.lidar if truth else None
    if known is not None and any(frame and frame.objects for frame in known.frames):
        report.use_truth()
    else:
        known = None
    frames = _cuboid_frames(paper, known, worker, report)
    return Answer({"annotations": {"url": paper.publish_json(frames)}})


def _asked(labels: list[Label], one: TrueObject) -> Label | None:
    return next((label for label in labels if one.called(label.name)), None)


def _cuboid_frames(paper: Paper, known: LidarTruth | None, worker: Worker, report: Report) -> list[dict[str, Any]]:
    if known is None:
        return [{"cuboids": []} for _ in range(_frame_count(paper.params))]
    labels = leaves(paper.params.get("labels"))
    _note_unknown(labels, known, report)
    ids: dict[str, str] = {}
    said: dict[str, str] = {}
    return [
        {"cuboids": _cuboids(paper, frame, labels, ids, said, worker, report) if frame else []}
        for frame in known.frames
    ]


def _note_unknown(labels: list[Label], known: LidarTruth, report: Report) -> None:
    objects = [one for frame in known.frames if frame for one in frame.objects]
    unknown = [label.name for label in labels if not any(one.called(label.name) for one in objects)]
    if unknown:
        report.note("labels_without_truth", unknown)
    blank = [number for number, frame in enumerate(known.frames) if frame is None]
    if blank:
        report.note("frames_without_truth", blank)


def _cuboids(
    paper: Paper,
    frame: LidarFrame,
    labels: list[Label],
    ids: dict[str, str],
    said: dict[str, str],
    worker: Worker,
    report: Report,
) -> list[dict[str, Any]]:
    """The cuboids of one frame. ``ids`` and ``said`` carry each object's uuid and label from frame to frame."""
    definitions = attribute_definitions(paper.params)
    furthest = number_of(paper.params.get("max_distance_meters"), 0)
    found: list[dict[str, Any]] = []
    truths: dict[str, Mapping[str, Any]] = {}
    for one in frame.objects:
        asked, true_shape = _asked(labels, one), one.shapes.get("cuboid3d")
        if asked is None or true_shape is None:
            continue
        distance = math.dist(frame.device, [true_shape["position"][axis] for axis in "xyz"])
        if furthest and distance > furthest:
            continue
        if one.key not in ids:
            ids[one.key] = _new_track(paper, one, asked, labels, said, worker, report)
        if not ids[one.key]:
            continue
        if paper.rng.random() < worker.noise.frame_dropped:
            report.mistake("frame_dropped", annotation=ids[one.key], truth=one.key)
            continue
        found.append(_cuboid(paper, one, true_shape, frame, ids[one.key], said[one.key], worker, report))
        truths[ids[one.key]] = one.attributes
        found[-1]["attributes"] = attributes.answered(
            definitions, said[one.key], one.attributes, worker.noise, paper.rng, report, ids[one.key]
        )
    attributes.link(found, truths, {key: uuid for key, uuid in ids.items() if uuid in truths}, definitions)
    return found


def _new_track(
    paper: Paper,
    one: TrueObject,
    asked: Label,
    labels: list[Label],
    said: dict[str, str],
    worker: Worker,
    report: Report,
) -> str:
    """The uuid of an object seen for the first time, empty when the worker overlooks it; its label goes to ``said``."""
    said[one.key] = asked.name
    if noises.is_missed(noises.TYPICAL_SIDE, worker.noise, paper.rng):
        report.mistake("missed", truth=one.key, label=asked.name)
        return ""
    uuid = paper.new_id()
    others = [label.name for label in labels if label.name != asked.name]
    if others and paper.rng.random() < worker.noise.wrong_class:
        said[one.key] = noises.confused_label(asked.name, others, worker.email, paper.rng)
        report.mistake("wrong_class", annotation=uuid, truth=one.key, label=asked.name, answer=said[one.key])
    return uuid


def _cuboid(
    paper: Paper,
    one: TrueObject,
    true_shape: Mapping[str, Any],
    frame: LidarFrame,
    uuid: str,
    name: str,
    worker: Worker,
    report: Report,
) -> dict[str, Any]:
    drawn, flipped = noises.cuboid(dict(true_shape), worker.noise, paper.rng)
    if flipped:
        report.mistake("cuboid_flipped", annotation=uuid, truth=one.key)
    off = math.dist(
        [drawn["position"][axis] for axis in "xyz"], [float(true_shape["position"][axis]) for axis in "xyz"]
    )
    report.match(uuid, one.key, metres_off=round(off, 3))
    if truthy(paper.params.get("pitch_and_roll_enabled")):
        drawn |= {"pitch": true_shape.get("pitch", 0), "roll": true_shape.get("roll", 0)}
    made: dict[str, Any] = {"uuid": uuid, "label": name, **drawn}
    made["stationary"] = bool(true_shape.get("stationary", False))
    made["camera_used"] = true_shape.get("camera_used", NO_CAMERA)
    if frame.places:
        made["numberOfPoints"] = sum(street.inside(place, drawn) for place in frame.places)
    made["distance_to_device"] = round(math.dist(frame.device, [drawn["position"][axis] for axis in "xyz"]), 2)
    return made


def label_points(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    """A label per point; built on a finished lidar task, its cuboids as well (decisions.CUBOIDS_KEPT)."""
    known = truth.lidar if truth else None
    if known is not None and any(frame and frame.points for frame in known.frames):
        report.use_truth()
        content = _segmented(paper, known, worker, report)
    else:
        counts = [len(frame.places) if frame else 0 for frame in known.frames] if known else []
        frames = counts or [0] * _frame_count(paper.params)
        content = _point_file([], [[0] * count for count in frames])
    response = {"point_segmentations": {"url": paper.publish_json(content)}}
    if known is not None and known.kept is not None:
        response["annotations"] = {"url": paper.publish_json(known.kept)}
    return Answer(response)


def _segmented(paper: Paper, known: LidarTruth, worker: Worker, report: Report) -> dict[str, Any]:
    labels = leaves(paper.params.get("labels"))
    _note_unknown(labels, known, report)
    index_of: dict[str, int] = {}
    objects: list[dict[str, Any]] = []
    shared: dict[str, int] = {}
    for frame in known.frames:
        for one in frame.objects if frame else ():
            asked = _asked(labels, one)
            if asked is None or one.key in index_of:
                continue
            if noises.is_missed(noises.TYPICAL_SIDE, worker.noise, paper.rng):
                index_of[one.key] = 0
                report.mistake("missed", truth=one.key, label=asked.name)
                continue
            if asked.instance or asked.name not in shared:
                objects.append(_object(asked, len(objects) + 1))
                shared[asked.name] = len(objects)
            index_of[one.key] = len(objects) if asked.instance else shared[asked.name]
            report.match(str(index_of[one.key]), one.key)
    points = [_point_indexes(paper, frame, index_of, worker, report) for frame in known.frames]
    return _point_file(objects, points)


def _point_indexes(
    paper: Paper, frame: LidarFrame | None, index_of: Mapping[str, int], worker: Worker, report: Report
) -> list[int]:
    """An index per point, with some points beside a cuboid taken for its own and some of its own left out."""
    if frame is None:
        return []
    indexes = [index_of.get(key, 0) if key else 0 for key in frame.points]
    for number, place in enumerate(frame.places):
        if paper.rng.random() >= worker.noise.point_wrong:
            continue
        near = next((one for one in frame.objects if _beside(place, one)), None)
        if near is not None:
            said = 0 if indexes[number] else index_of.get(near.key, 0)
            if said != indexes[number]:
                report.mistake("point_wrong", point=number, truth=indexes[number], answer=said)
                indexes[number] = said
    return indexes


def _beside(place: tuple[float, float, float], one: TrueObject) -> bool:
    """Within the border of a cuboid, on either side of it."""
    shape = one.shapes.get("cuboid3d")
    return shape is not None and street.inside(place, shape, BORDER) and not street.inside(place, shape, -BORDER)
