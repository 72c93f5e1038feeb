"""What the demo reads out of a task's response: how many labels, how good, and where they are."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Json = dict[str, Any]
Box = tuple[float, float, float, float]  # left, top, right, bottom
Outline = tuple[list[tuple[float, float]], str]  # points in pixels, colour
COLOURS = ("#ff5c5c", "#5cff8f", "#5cc8ff", "#ffd75c", "#e07cff", "#ff9f5c")


def annotations_of(response: Any) -> list[Json]:
    """The annotations of an image, text or document response."""
    found = response.get("annotations") if isinstance(response, dict) else None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def counted(annotations: Iterable[Mapping[str, Any]], most: int = 4) -> str:
    """How often each label was given: ``coin ×24, cat``."""
    counts = Counter(str(one.get("label", "?")) for one in annotations)
    shown = [f"{label} ×{count}" if count > 1 else label for label, count in counts.most_common(most)]
    return ", ".join(shown) + (", …" if len(counts) > most else "") or "no labels"


def uuids(response: Any) -> list[str]:
    """The ids of the result files that a response links to, each once, in order."""
    return list(dict.fromkeys(re.findall(r"/response_url/([0-9A-Za-z-]+)", json.dumps(response))))


def box_of(shape: Mapping[str, Any]) -> Box | None:
    """The (enclosing) box of an annotation or of a shape."""
    if all(isinstance(shape.get(name), int | float) for name in ("left", "top", "width", "height")):
        left, top = float(shape["left"]), float(shape["top"])
        return left, top, left + float(shape["width"]), top + float(shape["height"])
    corners = shape.get("vertices")
    if isinstance(corners, Sequence) and corners and all(isinstance(one, dict) for one in corners):
        xs, ys = [float(one["x"]) for one in corners], [float(one["y"]) for one in corners]
        return min(xs), min(ys), max(xs), max(ys)
    return None


def outlines(annotations: Iterable[Mapping[str, Any]]) -> list[Outline]:
    """What to draw over the picture, a colour per label."""
    colours: dict[str, str] = {}
    drawn: list[Outline] = []
    for one in annotations:
        colour = colours.setdefault(str(one.get("label")), COLOURS[len(colours) % len(COLOURS)])
        corners = one.get("vertices")
        if isinstance(corners, list):
            points = [(float(corner["x"]), float(corner["y"])) for corner in corners]
            drawn.append((_ellipse(points) if one.get("type") == "ellipse" else points, colour))
        elif box := box_of(one):
            left, top, right, bottom = box
            drawn.append(([(left, top), (right, top), (right, bottom), (left, bottom)], colour))
    return drawn


def _ellipse(ends: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """An ellipse as a line, from the four ends of its axes."""
    if len(ends) != 4:
        return ends
    x, y = (sum(values) / 4 for values in zip(*ends, strict=True))
    (ax, ay), (bx, by) = ends[0], ends[1]
    turns = [2 * math.pi * step / 48 for step in range(48)]
    return [
        (x + (ax - x) * math.cos(t) + (bx - x) * math.sin(t), y + (ay - y) * math.cos(t) + (by - y) * math.sin(t))
        for t in turns
    ]


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    if width <= 0 or height <= 0:
        return 0.0
    area = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)]
    return width * height / (sum(area) - width * height)


def agreement(annotations: Iterable[Mapping[str, Any]], truth: Iterable[Mapping[str, Any]]) -> tuple[int, int, float]:
    """How many of the true shapes were found, how many there are, and the mean overlap of those found (boxes)."""
    given = [box for one in annotations if (box := box_of(one))]
    true = [box for one in truth if (box := box_of(one))]
    found: list[float] = []
    for wanted in true:
        best = max(given, key=lambda box: overlap(box, wanted), default=None)
        if best is not None and overlap(best, wanted) >= 0.5:
            given.remove(best)
            found.append(overlap(best, wanted))
    return len(found), len(true), sum(found) / len(found) if found else 0.0


def all_answered(tasks: Sequence[Json]) -> str:
    """The responses of some tasks of one type in a few words."""
    responses = [task.get("response") or {} for task in tasks]
    if annotations := [one for response in responses for one in annotations_of(response)]:
        return counted(annotations)
    if files := sum(len(uuids(response)) for response in responses):
        return f"{files} result file{'s' * (files != 1)}"
    fields = [response.get("annotations") for response in responses]
    answers = [(name, value) for each in fields if isinstance(each, dict) for name, value in each.items()]
    return ", ".join(f"{name}: {_plain(value)}" for name, value in answers[:4]) or "empty responses"


def _plain(value: Any) -> str:
    """An answer without the lists and objects around it."""
    while isinstance(value, dict) and "response" in value:
        value = value["response"]
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
