"""What people get wrong, as numbers: how far off, how often, and the dice for it.

Four kinds of mistakes recur in studies of labelled data: a loose outline, a missed object, the wrong class and an
object that is not there. The functions here make one mistake each, on values of their own; ``answers`` decides where to
apply them and writes down every mistake made. Nothing here is random by itself: the caller brings the generator.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

from scale_mcp.sandbox import geometry
from scale_mcp.sandbox.geometry import XY, Region, Shape

T = TypeVar("T")
LONGEST_DRAW = 8.0  # standard widths; Student's t knows no bound, a person's hand does
SMALLEST_SIDE = 1.0  # pixels


@dataclass(frozen=True)
class Noise:
    """How a worker errs. Shares are of 1, sides and shifts as said; all zero is a worker who makes no mistakes."""

    edge: float = 0.0  # width of an edge's displacement, as a share of the side it moves along
    floor: float = 0.0  # pixels that come on top whatever the size, so small objects suffer most
    tail: float | None = None  # degrees of freedom of Student's t for heavy tails; None draws from the normal curve
    rotation: float = 0.0  # radians
    missed: float = 0.0  # chance to overlook an object of TYPICAL_SIDE
    wrong_class: float = 0.0  # chance to choose another label of the task
    bogus: float = 0.0  # objects that are not there, per object that is; zero unless somebody asks for it
    attribute_wrong: float = 0.0
    attribute_skipped: float = 0.0
    vertex_dropped: float = 0.0
    mask_shift: float = 0.0  # pixels
    mask_swollen: float = 0.0  # chance that the border is one pixel too wide or too narrow
    cuboid_centre: float = 0.0  # metres
    cuboid_size: float = 0.0  # share of each dimension
    cuboid_yaw: float = 0.0  # radians
    cuboid_flipped: float = 0.0  # chance to mistake the back for the front
    point_wrong: float = 0.0  # chance that a point near the border of a cuboid gets its neighbour's label
    frame_dropped: float = 0.0  # chance that a tracked object is forgotten in one frame
    track_broken: float = 0.0  # chance that a tracked object gets a new id halfway
    span_boundary: float = 0.0  # chance per end that it lies one token off
    span_split: float = 0.0
    span_merged: float = 0.0
    typo: float = 0.0  # chance per character of free text

    def scaled(self, factor: float) -> Noise:
        """The same kind of worker, making more or fewer mistakes."""
        kept = {"tail": self.tail}
        return replace(self, **{f.name: min(getattr(self, f.name) * factor, 1.0) for f in fields(self)} | kept)

    def stated(self) -> dict[str, float]:
        """The parameters that are not zero, for the simulation's report."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        return {name: round(value, 4) for name, value in values.items() if value}


TYPICAL_SIDE = 48.0


def draw(noise: Noise, rng: random.Random) -> float:
    """One displacement in standard widths."""
    value = rng.gauss(0, 1)
    if noise.tail:
        value /= math.sqrt(rng.gammavariate(noise.tail / 2, 2) / noise.tail)
    return max(-LONGEST_DRAW, min(LONGEST_DRAW, value))


def displacement(side: float, noise: Noise, rng: random.Random) -> float:
    """How far an edge of an object with this side is off, in pixels."""
    return draw(noise, rng) * noise.edge * side + draw(noise, rng) * noise.floor


def is_missed(side: float, noise: Noise, rng: random.Random) -> bool:
    """Small objects are overlooked more often: the odds go with one over the side, from ``missed`` at 48 pixels."""
    if not 0 < noise.missed < 1:
        return noise.missed >= 1
    odds = noise.missed / (1 - noise.missed) * min(max(TYPICAL_SIDE / max(side, SMALLEST_SIDE), 0.2), 5)
    return rng.random() < odds / (1 + odds)


def confused_label(label: str, others: Sequence[str], worker: str, rng: random.Random) -> str:
    """The label chosen in error. Each worker has habits: the same wrong label comes up again and again."""
    candidates = [other for other in others if other != label]
    habits = random.Random(f"{worker}|{label}")
    weights = [habits.gammavariate(0.5, 1) + 1e-9 for _ in candidates]
    return rng.choices(candidates, weights)[0]


# ---------------------------------------------------------------------------------------------------------- pictures


def _inside(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _limits(points: Sequence[XY], picture: Region | None) -> Region | None:
    """The picture's frame, when the truth keeps to it: a worker does not draw over an edge that the truth respects."""
    if picture is None:
        return None
    left, top, right, bottom = geometry.region_of(points)
    inside = left >= picture[0] and top >= picture[1] and right <= picture[2] and bottom <= picture[3]
    return picture if inside else None


def box(truth: Shape, noise: Noise, rng: random.Random, picture: Region | None = None) -> Shape:
    """A box whose edges are off independently. Width and height stay above zero, inside the picture if truth is."""
    left, top, right, bottom = geometry.region_of(geometry.points_of({k: truth[k] for k in truth if k != "vertices"}))
    width, height = right - left, bottom - top
    limits = _limits([(left, top), (right, bottom)], picture) or (-math.inf, -math.inf, math.inf, math.inf)
    x1, x2 = sorted(_inside(edge + displacement(width, noise, rng), limits[0], limits[2]) for edge in (left, right))
    y1, y2 = sorted(_inside(edge + displacement(height, noise, rng), limits[1], limits[3]) for edge in (top, bottom))
    if x2 - x1 < min(SMALLEST_SIDE, width):  # a side that collapsed: nobody would submit that
        x1, x2 = left, right
    if y2 - y1 < min(SMALLEST_SIDE, height):
        y1, y2 = top, bottom
    drawn = geometry.box_of((x1, y1, x2, y2))
    if "rotation" in truth:
        drawn["rotation"] = round(float(truth["rotation"]) + draw(noise, rng) * noise.rotation, 4)
    return drawn


def ring(
    truth: Sequence[XY],
    noise: Noise,
    rng: random.Random,
    picture: Region | None = None,
    *,
    least: int = 3,
    closed: bool = True,
) -> list[XY]:
    """The vertices of a polygon or line, jittered and thinned, never fewer than ``least`` (or than the truth has)."""
    left, top, right, bottom = geometry.region_of(truth)
    side = math.sqrt(max((right - left) * (bottom - top), SMALLEST_SIDE))
    kept = list(truth)
    for point in list(truth):
        if len(kept) > max(least, 3 if closed else 2) and rng.random() < noise.vertex_dropped:
            kept.remove(point)
    limits = _limits(truth, picture) or (-math.inf, -math.inf, math.inf, math.inf)
    moved = [
        (
            _inside(x + displacement(side, noise, rng) / 2, limits[0], limits[2]),
            _inside(y + displacement(side, noise, rng) / 2, limits[1], limits[3]),
        )
        for x, y in kept
    ]
    if closed and geometry.area(moved) < min(SMALLEST_SIDE, geometry.area(truth) / 2):
        return list(truth)
    return moved


def point(truth: XY, noise: Noise, rng: random.Random, picture: Region | None = None) -> XY:
    """A point has no size, so only the pixel floor moves it, and half as much again: nothing guides the hand."""
    limits = _limits([truth], picture) or (-math.inf, -math.inf, math.inf, math.inf)
    return (
        _inside(truth[0] + 1.5 * draw(noise, rng) * noise.floor, limits[0], limits[2]),
        _inside(truth[1] + 1.5 * draw(noise, rng) * noise.floor, limits[1], limits[3]),
    )


def ellipse(truth: Shape, noise: Noise, rng: random.Random, picture: Region | None = None) -> Shape:
    """An ellipse with centre and axes a little off; the truth itself when that would leave the picture."""
    centre, across, down = geometry.ellipse_axes(truth)
    long, high = 2 * math.hypot(*across), 2 * math.hypot(*down)
    moved = (centre[0] + displacement(long, noise, rng) / 2, centre[1] + displacement(high, noise, rng) / 2)
    stretch = [max(1 + displacement(side, noise, rng) / max(side, SMALLEST_SIDE), 0.2) for side in (long, high)]
    drawn = geometry.ellipse_from(
        moved,
        (across[0] * stretch[0], across[1] * stretch[0]),
        (down[0] * stretch[1], down[1] * stretch[1]),
    )
    limits = _limits(geometry.points_of(truth), picture)
    return drawn if limits is None or _limits(geometry.points_of(drawn), limits) else dict(truth)


# ------------------------------------------------------------------------------------------------------------- lidar


def cuboid(truth: Shape, noise: Noise, rng: random.Random) -> tuple[Shape, bool]:
    """Position, dimensions and yaw of a cuboid in the world, and whether front and back were confused."""
    flipped = rng.random() < noise.cuboid_flipped
    yaw = float(truth["yaw"]) + draw(noise, rng) * noise.cuboid_yaw + (math.pi if flipped else 0)
    drawn = {
        "position": {
            axis: round(float(truth["position"][axis]) + draw(noise, rng) * noise.cuboid_centre, 3) for axis in "xyz"
        },
        "dimensions": {
            axis: round(max(float(truth["dimensions"][axis]) * (1 + draw(noise, rng) * noise.cuboid_size), 0.05), 3)
            for axis in "xyz"
        },
        "yaw": round(math.remainder(yaw, 2 * math.pi), 4),
    }
    return drawn, flipped


# -------------------------------------------------------------------------------------------------------------- text


def misspelt(text: str, noise: Noise, rng: random.Random) -> str:
    """Free text with a letter swapped, dropped or doubled now and then."""
    letters: list[str] = []
    for letter in text:
        if not letter.isalnum() or rng.random() >= noise.typo:
            letters.append(letter)
            continue
        slip = rng.choice(("dropped", "doubled", "swapped"))
        if slip == "doubled":
            letters += [letter, letter]
        elif slip == "swapped" and letters:
            letters.insert(-1, letter)
    return "".join(letters) or text


def another(value: T, choices: Sequence[T], rng: random.Random) -> T:
    """A choice other than the right one, or the right one when there is no other."""
    others: list[Any] = [choice for choice in choices if choice != value]
    return rng.choice(others) if others else value
