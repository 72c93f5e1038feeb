"""Shapes as Scale writes them, and the little geometry that truth and noise need.

A shape is the dict of an annotation's own fields: ``{"left", "top", "width", "height"}`` for a box, ``{"x", "y"}`` for
a point, ``{"vertices": [{"x", "y"}, …]}`` for the rest. Pixels, origin top left, y down, angles in radians clockwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

Shape = dict[str, Any]
XY = tuple[float, float]
Region = tuple[float, float, float, float]  # left, top, right, bottom
ELLIPSE_CORNERS = 32


def points_of(shape: Mapping[str, Any]) -> list[XY]:
    """The points that span a shape: the vertices, a box's four corners, or the point itself."""
    if "vertices" in shape and "left" not in shape:
        return [(float(vertex["x"]), float(vertex["y"])) for vertex in shape["vertices"]]
    if "left" in shape:
        left, top = float(shape["left"]), float(shape["top"])
        right, bottom = left + float(shape["width"]), top + float(shape["height"])
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    return [(float(shape["x"]), float(shape["y"]))]


def vertices(points: Sequence[XY]) -> list[dict[str, float]]:
    return [{"x": round(x, 2), "y": round(y, 2)} for x, y in points]


def region_of(points: Sequence[XY]) -> Region:
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return min(xs), min(ys), max(xs), max(ys)


def box_of(region: Region) -> Shape:
    left, top, right, bottom = (round(value, 2) for value in region)
    return {"left": left, "top": top, "width": round(right - left, 2), "height": round(bottom - top, 2)}


def area(points: Sequence[XY]) -> float:
    """Area inside a closed ring, whatever its winding."""
    pairs = zip(points, [*points[1:], points[0]], strict=True)
    return abs(sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairs)) / 2


def centroid(points: Sequence[XY]) -> XY:
    return sum(x for x, _ in points) / len(points), sum(y for _, y in points) / len(points)


def iou(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """Intersection over union of two boxes, rotation left aside."""
    left1, top1, right1, bottom1 = region_of(points_of(one))
    left2, top2, right2, bottom2 = region_of(points_of(other))
    across, down = min(right1, right2) - max(left1, left2), min(bottom1, bottom2) - max(top1, top2)
    if across <= 0 or down <= 0:
        return 0.0
    both = across * down
    return both / ((right1 - left1) * (bottom1 - top1) + (right2 - left2) * (bottom2 - top2) - both)


def rotated_corners(box: Mapping[str, Any], rotation: float) -> list[XY]:
    """Corners of a box turned about its centre; with y down a positive angle turns clockwise."""
    corners = points_of({key: box[key] for key in ("left", "top", "width", "height")})
    middle_x, middle_y = centroid(corners)
    cos, sin = math.cos(rotation), math.sin(rotation)
    return [
        (
            middle_x + (x - middle_x) * cos - (y - middle_y) * sin,
            middle_y + (x - middle_x) * sin + (y - middle_y) * cos,
        )
        for x, y in corners
    ]


def ellipse_axes(shape: Mapping[str, Any]) -> tuple[XY, XY, XY]:
    """Centre and the two half axes of an ellipse given by the extreme points of its axes, in drawing order."""
    top, right, bottom, left = points_of(shape)[:4]
    centre = ((top[0] + bottom[0] + left[0] + right[0]) / 4, (top[1] + bottom[1] + left[1] + right[1]) / 4)
    return (
        centre,
        ((right[0] - left[0]) / 2, (right[1] - left[1]) / 2),
        ((bottom[0] - top[0]) / 2, (bottom[1] - top[1]) / 2),
    )


def ellipse_from(centre: XY, across: XY, down: XY) -> Shape:
    (x, y), (ax, ay), (dx, dy) = centre, across, down
    return {"vertices": vertices([(x - dx, y - dy), (x + ax, y + ay), (x + dx, y + dy), (x - ax, y - ay)])}


def ellipse_ring(shape: Mapping[str, Any], corners: int = ELLIPSE_CORNERS) -> list[XY]:
    """The outline of an ellipse as a ring of points."""
    (x, y), (ax, ay), (dx, dy) = ellipse_axes(shape)
    turns = [2 * math.pi * step / corners for step in range(corners)]
    return [
        (x + ax * math.cos(turn) + dx * math.sin(turn), y + ay * math.cos(turn) + dy * math.sin(turn)) for turn in turns
    ]


def ellipse_region(shape: Mapping[str, Any]) -> Region:
    """The tight upright box of an ellipse, exact also when it is turned."""
    (x, y), (ax, ay), (dx, dy) = ellipse_axes(shape)
    half_width, half_height = math.hypot(ax, dx), math.hypot(ay, dy)
    return x - half_width, y - half_height, x + half_width, y + half_height


def derive(shapes: Mapping[str, Shape], geometry: str) -> Shape | None:
    """The shape of one geometry, from itself or from a finer one; None when that would mean inventing detail."""
    if geometry in shapes:
        return shapes[geometry]
    if geometry == "box":
        if "polygon" in shapes:
            return box_of(region_of(points_of(shapes["polygon"])))
        if "ellipse" in shapes:
            return box_of(ellipse_region(shapes["ellipse"]))
    if geometry == "polygon":
        if "ellipse" in shapes:
            return {"vertices": vertices(ellipse_ring(shapes["ellipse"]))}
        if "rotation" in shapes.get("box", {}):
            return {"vertices": vertices(rotated_corners(shapes["box"], float(shapes["box"]["rotation"])))}
    if geometry == "point":
        for finer in ("ellipse", "box"):
            if finer in shapes:
                x, y = centroid(points_of(shapes[finer]))
                return {"x": round(x, 2), "y": round(y, 2)}
        if "polygon" in shapes:
            left, top, right, bottom = region_of(points_of(shapes["polygon"]))
            return {"x": round((left + right) / 2, 2), "y": round((top + bottom) / 2, 2)}
    return None


def outline(shapes: Mapping[str, Shape]) -> list[XY] | None:
    """The ring to fill when an object becomes a mask: its polygon, or the best that stands for one."""
    shape = derive(shapes, "polygon") or shapes.get("box")
    return points_of(shape) if shape else None
