"""How a worker traces one true shape, within the options the task gives for its geometry."""

from __future__ import annotations

from dataclasses import replace

from scale_mcp.sandbox import geometry
from scale_mcp.sandbox import noise as noises
from scale_mcp.sandbox.answers.ontology import Wanted
from scale_mcp.sandbox.answers.paper import Paper
from scale_mcp.sandbox.facts import Size
from scale_mcp.sandbox.geometry import Region, Shape
from scale_mcp.sandbox.workforce import Worker


def too_small(wanted: Wanted, width: float, height: float) -> bool:
    return width < wanted.number("min_width") or height < wanted.number("min_height")


def trace(wanted: Wanted, truth: Shape, size: Size | None, paper: Paper, worker: Worker) -> Shape:
    """The shape as this worker draws it, within the options of the geometry."""
    region: Region | None = (0.0, 0.0, float(size[0]), float(size[1])) if size else None
    noise, rng = worker.noise, paper.rng
    if wanted.geometry == "box":
        return _traced_box(wanted, truth, region, paper, worker)
    if wanted.geometry == "point":
        x, y = noises.point((float(truth["x"]), float(truth["y"])), noise, rng, region)
        return {"x": round(x, 2), "y": round(y, 2)}
    if wanted.geometry == "ellipse":
        return noises.ellipse(truth, noise, rng, region)
    if wanted.geometry == "cuboid":
        return _traced_cuboid(truth, paper, worker, region)
    points = geometry.points_of(truth)
    closed = wanted.geometry == "polygon"
    most = int(wanted.number("max_vertices"))
    if 0 < most < len(points):  # the task wants fewer: keep every so-manieth
        points = [points[step * len(points) // most] for step in range(most)]
    least = max(int(wanted.number("min_vertices", 1)), 3 if closed else 2)
    return {"vertices": geometry.vertices(noises.ring(points, noise, rng, region, least=least, closed=closed))}


def _traced_box(wanted: Wanted, truth: Shape, region: Region | None, paper: Paper, worker: Worker) -> Shape:
    upright = {key: truth[key] for key in ("left", "top", "width", "height")}
    turned = wanted.flag("can_rotate")
    if turned:
        upright["rotation"] = truth.get("rotation", 0)
    elif "rotation" in truth:  # the task has upright boxes only: the one around the turned one
        upright = geometry.box_of(geometry.region_of(geometry.rotated_corners(truth, float(truth["rotation"]))))
    drawn_box = noises.box(upright, worker.noise, paper.rng, region)
    for side, least in (("width", "min_width"), ("height", "min_height")):
        if drawn_box[side] < wanted.number(least):
            drawn_box = {**upright, **{key: drawn_box[key] for key in ("rotation",) if key in drawn_box}}
    if turned:
        corners = geometry.rotated_corners(drawn_box, float(drawn_box["rotation"]))
        drawn_box["vertices"] = geometry.vertices(corners)
    elif wanted.flag("integer_pixels"):
        left, top = round(drawn_box["left"]), round(drawn_box["top"])
        right = round(drawn_box["left"] + drawn_box["width"])
        bottom = round(drawn_box["top"] + drawn_box["height"])
        least_wide = max(1, int(wanted.number("min_width")))
        least_high = max(1, int(wanted.number("min_height")))
        width, height = max(right - left, least_wide), max(bottom - top, least_high)
        if region:
            left, top = min(left, max(int(region[2]) - width, 0)), min(top, max(int(region[3]) - height, 0))
        drawn_box = {"left": left, "top": top, "width": width, "height": height}
    return drawn_box


def _traced_cuboid(truth: Shape, paper: Paper, worker: Worker, region: Region | None) -> Shape:
    """Corners jittered, none dropped; edges follow the corners they join, as far as their ends say which those are."""
    points = geometry.points_of(truth)
    moved = noises.ring(
        points, replace(worker.noise, vertex_dropped=0.0), paper.rng, region, least=len(points), closed=False
    )
    by_old = dict(zip(points, geometry.vertices(moved), strict=True))
    corners = [{**old, **by_old[point]} for old, point in zip(truth["vertices"], points, strict=True)]
    edges = []
    for edge in truth.get("edges", []):
        ends: Shape = {}
        for number in ("1", "2"):
            new = by_old.get((edge.get(f"x{number}"), edge.get(f"y{number}")))
            if new:
                ends |= {f"x{number}": new["x"], f"y{number}": new["y"]}
        edges.append({**edge, **ends})
    return {"vertices": corners, "edges": edges}
