"""Pictures with shapes drawn on them: ``imageannotation`` and its like."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scale_mcp.sandbox import decisions, geometry
from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers import attributes, tracing
from scale_mcp.sandbox.answers.ontology import Wanted, attribute_definitions, wanted_geometries
from scale_mcp.sandbox.answers.paper import Answer, Paper
from scale_mcp.sandbox.answers.report import Report
from scale_mcp.sandbox.facts import Size, TrueObject, Truth
from scale_mcp.sandbox.geometry import Shape
from scale_mcp.sandbox.workforce import Worker

# ------------------------------------------------------------------------------------------------------------ made up

SIDE = decisions.TEST_ANSWERS.value
FIXED_SHAPES: dict[str, Shape] = {
    "box": {"left": 0, "top": 0, "width": SIDE, "height": SIDE},
    "polygon": {"vertices": [{"x": 10, "y": 10}, {"x": 110, "y": 110}, {"x": 10, "y": 110}]},
    "line": {"vertices": [{"x": 10, "y": 10}, {"x": 110, "y": 110}]},
    "point": {"x": 10, "y": 10},
    "ellipse": {"vertices": [{"x": 60, "y": 10}, {"x": 110, "y": 40}, {"x": 60, "y": 70}, {"x": 10, "y": 40}]},
    "cuboid": {
        "vertices": [
            {"description": description, "x": x, "y": y, "type": "vertex"}
            for description, x, y in (
                ("face-topleft", 10, 10),
                ("face-bottomleft", 10, 110),
                ("face-topright", 110, 10),
                ("face-bottomright", 110, 110),
                ("side-topcorner", 150, 20),
                ("side-bottomcorner", 150, 100),
            )
        ],
        "edges": [
            {"description": description, "x1": x1, "y1": y1, "x2": x2, "y2": y2, "type": "edge"}
            for description, x1, y1, x2, y2 in (
                ("face-top", 10, 10, 110, 10),
                ("face-right", 110, 10, 110, 110),
                ("face-bottom", 110, 110, 10, 110),
                ("face-left", 10, 110, 10, 10),
                ("side-top", 110, 10, 150, 20),
                ("side-bottom", 110, 110, 150, 100),
            )
        ],
    },
}


MOST_FIXED_VERTICES = 100


def fixed_shape(wanted: Wanted) -> Shape:
    """The fixed coordinates of a geometry, grown to the smallest size the task allows."""
    shape = dict(FIXED_SHAPES[wanted.geometry])
    if wanted.geometry == "box":
        shape["width"] = max(shape["width"], int(wanted.number("min_width")))
        shape["height"] = max(shape["height"], int(wanted.number("min_height")))
        if wanted.flag("can_rotate"):
            shape |= {"rotation": 0, "vertices": geometry.vertices(geometry.points_of(shape))}
    if wanted.geometry in ("polygon", "line"):
        missing = min(int(wanted.number("min_vertices")), MOST_FIXED_VERTICES) - len(shape["vertices"])
        shape["vertices"] = [*shape["vertices"], *({"x": 10, "y": 100 - step} for step in range(missing))]
    return shape


def named(wanted: Wanted) -> list[str | None]:
    """The labels to draw, or one nameless drawing where the task has none."""
    names: list[str | None] = [label.name for label in wanted.labels]
    return names or [None]


def fabricated_annotations(paper: Paper) -> list[dict[str, Any]]:
    """One annotation per geometry and label."""
    definitions = attribute_definitions(paper.params)
    made: list[dict[str, Any]] = []
    for wanted in wanted_geometries(paper.params):
        for name in named(wanted):
            annotation: dict[str, Any] = {"uuid": paper.new_id(), "type": wanted.geometry}
            annotation |= ({} if name is None else {"label": name}) | fixed_shape(wanted)
            if definitions:
                annotation["attributes"] = attributes.fabricated(definitions, name)
            made.append(annotation)
    attributes.fabricate_links(made, definitions, "uuid")
    return made


def fabricate(paper: Paper) -> Answer:
    annotations = fabricated_annotations(paper)
    scene = attributes.fabricated_scene(paper.params)
    return Answer({"annotations": annotations, "global_attributes": scene, "links": list(decisions.LINKS_ANSWER.value)})


# -------------------------------------------------------------------------------------------------------- from truth


@dataclass
class Tracks:
    """Choices that hold for an object wherever it is seen: its id, its label, whether it was overlooked.

    A picture needs them once; the frames of a video share them, for one uuid means one object with one label.
    """

    ids: dict[tuple[str, str], str] = field(default_factory=dict)
    labels: dict[tuple[str, str], str | None] = field(default_factory=dict)


def label(paper: Paper, truth: Truth | None, worker: Worker, report: Report) -> Answer:
    known = truth.picture if truth else None
    if known is None:
        return Answer({"annotations": [], "global_attributes": {}, "links": list(decisions.LINKS_ANSWER.value)})
    report.use_truth()
    note_unknown_labels(paper, known.objects, report)
    annotations = drawn(paper, known.objects, known.size or paper.size, worker, report, Tracks())
    scene = attributes.scene(paper.params, known.attributes, worker.noise, paper.rng, report)
    return Answer({"annotations": annotations, "global_attributes": scene, "links": list(decisions.LINKS_ANSWER.value)})


def note_unknown_labels(paper: Paper, objects: Iterable[TrueObject], report: Report) -> None:
    """Say which labels of the task the truth has nothing for, so that an empty answer explains itself."""
    known = list(objects)
    names = [label.name for wanted in wanted_geometries(paper.params) for label in wanted.labels]
    unknown = [name for name in names if not any(one.called(name) for one in known)]
    if unknown:
        report.note("labels_without_truth", unknown)


def drawn(
    paper: Paper,
    objects: Iterable[TrueObject],
    size: Size | None,
    worker: Worker,
    report: Report,
    tracks: Tracks,
) -> list[dict[str, Any]]:
    """The annotations one worker draws over these objects: asked geometries and labels only."""
    definitions = attribute_definitions(paper.params)
    known = list(objects)
    annotations: list[dict[str, Any]] = []
    truths: dict[str, Any] = {}
    for wanted in wanted_geometries(paper.params):
        for one in known:
            made = _annotate(paper, wanted, one, size, worker, report, tracks)
            if made is None:
                continue
            if definitions:
                made["attributes"] = attributes.answered(
                    definitions, made.get("label"), one.attributes, worker.noise, paper.rng, report, made["uuid"]
                )
            annotations.append(made)
            truths[made["uuid"]] = one.attributes
            if paper.rng.random() < worker.noise.bogus:
                annotations.append(_bogus(paper, made, size, report))
    keys = {key: uuid for (geometry_name, key), uuid in tracks.ids.items() if uuid in truths}
    attributes.link(annotations, truths, keys, definitions)
    return annotations


def asked_label(wanted: Wanted, one: TrueObject) -> tuple[bool, str | None]:
    """Whether the task asks for this object, and by which name."""
    if not wanted.labels:
        return True, None
    name = next((label.name for label in wanted.labels if one.called(label.name)), None)
    return name is not None, name


def _annotate(
    paper: Paper,
    wanted: Wanted,
    one: TrueObject,
    size: Size | None,
    worker: Worker,
    report: Report,
    tracks: Tracks,
) -> dict[str, Any] | None:
    asked, name = asked_label(wanted, one)
    if not asked:
        return None
    truth = geometry.derive(one.shapes, wanted.geometry)
    if truth is None:
        report.note("geometry_without_truth", [f"{wanted.geometry} of {one.label}"])
        return None
    left, top, right, bottom = geometry.region_of(geometry.points_of(truth))
    if wanted.geometry == "box" and tracing.too_small(wanted, right - left, bottom - top):
        report.note("smaller_than_the_task_allows", [one.key])
        return None
    track = (wanted.geometry, one.key)
    first_seen = track not in tracks.ids
    # A point has no extent; it is as easy to overlook as a typical object.
    side = ((right - left) * (bottom - top)) ** 0.5 or noises.TYPICAL_SIDE
    if first_seen:
        tracks.ids[track] = "" if noises.is_missed(side, worker.noise, paper.rng) else paper.new_id()
        if not tracks.ids[track]:
            report.mistake("missed", truth=one.key, label=name, geometry=wanted.geometry)
        tracks.labels[track] = _chosen_label(paper, wanted, name, worker, report, one.key, tracks.ids[track])
    uuid = tracks.ids[track]
    if not uuid:
        return None
    said = tracks.labels[track]
    annotation: dict[str, Any] = {"uuid": uuid, "type": wanted.geometry}
    if said is not None:
        annotation["label"] = said
    shape = tracing.trace(wanted, truth, size, paper, worker)
    facts = {"iou": geometry.iou(shape, truth)} if wanted.geometry == "box" else {}
    report.match(uuid, one.key, geometry=wanted.geometry, **facts)
    return annotation | shape


def _chosen_label(
    paper: Paper, wanted: Wanted, name: str | None, worker: Worker, report: Report, key: str, uuid: str
) -> str | None:
    others = [label.name for label in wanted.labels if label.name != name]
    if name is None or not others or not uuid or paper.rng.random() >= worker.noise.wrong_class:
        return name
    said = noises.confused_label(name, others, worker.email, paper.rng)
    report.mistake("wrong_class", annotation=uuid, truth=key, label=name, answer=said)
    return said


def _bogus(paper: Paper, like: dict[str, Any], size: Size | None, report: Report) -> dict[str, Any]:
    """An object that is not there: a copy of a real one elsewhere in the picture. Only when noise asks for it."""
    made = {**like, "uuid": paper.new_id()}
    left, top, right, bottom = geometry.region_of(geometry.points_of(like))
    width, height = size or (max(right, 1) * 2, max(bottom, 1) * 2)
    shift_x = round(paper.rng.uniform(0, max(width - (right - left), 0)) - left, 2)
    shift_y = round(paper.rng.uniform(0, max(height - (bottom - top), 0)) - top, 2)
    if "left" in made:
        made |= {"left": round(made["left"] + shift_x, 2), "top": round(made["top"] + shift_y, 2)}
    if "x" in made:
        made |= {"x": round(made["x"] + shift_x, 2), "y": round(made["y"] + shift_y, 2)}
    if "vertices" in made:
        made["vertices"] = [
            {**vertex, "x": round(vertex["x"] + shift_x, 2), "y": round(vertex["y"] + shift_y, 2)}
            for vertex in made["vertices"]
        ]
    report.mistake("bogus", annotation=made["uuid"], label=made.get("label"))
    return made
