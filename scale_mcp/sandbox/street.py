"""A street from above: a lidar scene that is known exactly, because it is computed."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from typing import Any

from scale_mcp.sandbox.facts import LidarFrame, TrueObject
from scale_mcp.sandbox.geometry import XY

GROUND, ROAD_HALF_WIDTH = 0.0, 7.0
REFLECTED_BY_GROUND, REFLECTED_BY_OBJECT = 0.2, 0.7
SENSOR_HEIGHT = 1.8


def street_scene(seed: int = 7, frames: int = 4, points: int = 600) -> list[tuple[dict[str, Any], LidarFrame]]:
    """A street seen by a moving lidar: each frame in Scale's frame format, with what is exactly true of it.

    The recording car drives along +y at 5 m per frame. A parked car and a pedestrian stand still, another car and a
    cyclist move. Every point lies on the ground or on a visible side of a cuboid, so labels of points are exact too.
    The same arguments give the same scene on every machine.
    """
    return [_street_frame(number, random.Random(f"street|{seed}|{number}"), points) for number in range(frames)]


def _actors(number: int) -> list[tuple[str, str, XY, tuple[float, float, float], float, bool, tuple[str, ...]]]:
    """Key, label, centre, dimensions (width, length, height), yaw, stationary and other names."""
    return [
        ("car-1", "car", (-4.6, 9.0), (1.9, 4.5, 1.5), 0.0, True, ("vehicle",)),
        ("car-2", "car", (-1.8, 34.0 - 4.0 * number), (1.8, 4.2, 1.45), math.pi, False, ("vehicle",)),
        ("truck-1", "truck", (-4.9, 26.0), (2.5, 8.0, 3.2), 0.02, True, ("vehicle", "lorry")),
        ("pedestrian-1", "pedestrian", (6.2, 14.0), (0.7, 0.6, 1.75), -1.2, True, ("person",)),
        ("cyclist-1", "cyclist", (4.4, 6.0 + 2.5 * number), (0.7, 1.8, 1.7), 0.05, False, ("bicycle", "bike")),
    ]


def _street_frame(number: int, rng: random.Random, points: int) -> tuple[dict[str, Any], LidarFrame]:
    device = (1.5, 5.0 * number, SENSOR_HEIGHT)
    objects: list[TrueObject] = []
    placed: list[tuple[float, float, float, str | None]] = []
    for key, label, (x, y), (wide, long, high), yaw, stationary, aliases in _actors(number):
        cuboid = {
            "position": {"x": round(x, 3), "y": round(y, 3), "z": round(GROUND + high / 2, 3)},
            "dimensions": {"x": wide, "y": long, "z": high},
            "yaw": round(math.remainder(yaw, 2 * math.pi), 4),
        }
        moving = {"moving": "no" if stationary else "yes"}
        facts = {"stationary": stationary}
        objects.append(TrueObject(key, label, {"cuboid3d": cuboid | facts}, moving, aliases))
        count = max(12, int(points * 0.5 * wide * high * 4 / max((x - device[0]) ** 2 + (y - device[1]) ** 2, 20)))
        placed += [(*spot, key) for spot in _on_cuboid(cuboid, device, min(count, points // 6), rng)]
    while len(placed) < points:
        placed.append((*_on_ground(device, rng), None))
    placed = [spot for spot in placed if spot[3] is not None or not _covered(spot, objects)]
    rng.shuffle(placed)
    frame = {
        "device_position": {"x": device[0], "y": device[1], "z": device[2]},
        "device_heading": {"w": 1.0, "x": 0.0, "y": 0.0, "z": 0.0},
        "timestamp": round(number * 0.5, 3),
        "points": [
            {"x": x, "y": y, "z": z, "i": REFLECTED_BY_GROUND if key is None else REFLECTED_BY_OBJECT}
            for x, y, z, key in placed
        ],
    }
    truth = LidarFrame(
        tuple(objects),
        tuple(key for *_, key in placed),
        tuple((x, y, z) for x, y, z, _ in placed),
        device,
    )
    return frame, truth


def _on_ground(device: tuple[float, float, float], rng: random.Random) -> tuple[float, float, float]:
    return (
        round(rng.uniform(-ROAD_HALF_WIDTH - 2, ROAD_HALF_WIDTH + 2), 3),
        round(device[1] + rng.uniform(-12, 40), 3),
        round(GROUND + rng.uniform(0, 0.03), 3),
    )


def _covered(spot: tuple[float, float, float, str | None], objects: Iterable[TrueObject]) -> bool:
    return any(inside(spot[:3], one.shapes["cuboid3d"]) for one in objects)


def _on_cuboid(
    cuboid: dict[str, Any], device: tuple[float, float, float], count: int, rng: random.Random
) -> list[tuple[float, float, float]]:
    """Points on the sides that face the sensor, a centimetre inside so that they belong to the cuboid for certain."""
    wide, long, high = (cuboid["dimensions"][axis] / 2 - 0.01 for axis in "xyz")
    to_x, to_y = device[0] - cuboid["position"]["x"], device[1] - cuboid["position"]["y"]
    cos, sin = math.cos(cuboid["yaw"]), math.sin(cuboid["yaw"])
    ahead, aside = -sin * to_x + cos * to_y, cos * to_x + sin * to_y  # the sensor in the cuboid's own axes
    spots = []
    for _ in range(count):
        if rng.random() < abs(ahead) / (abs(ahead) + abs(aside)):
            own_x, own_y = rng.uniform(-wide, wide), math.copysign(long, ahead)
        else:
            own_x, own_y = math.copysign(wide, aside), rng.uniform(-long, long)
        spots.append(
            (
                round(cuboid["position"]["x"] + cos * own_x - sin * own_y, 3),
                round(cuboid["position"]["y"] + sin * own_x + cos * own_y, 3),
                round(cuboid["position"]["z"] + rng.uniform(-high + 0.05, high), 3),
            )
        )
    return spots


def inside(spot: Sequence[float], cuboid: Any, margin: float = 0.0) -> bool:
    """Whether a point lies in a cuboid (grown by ``margin`` metres). Yaw 0 faces +y, counter-clockwise."""
    x, y = spot[0] - cuboid["position"]["x"], spot[1] - cuboid["position"]["y"]
    cos, sin = math.cos(cuboid["yaw"]), math.sin(cuboid["yaw"])
    return bool(
        abs(cos * x + sin * y) <= cuboid["dimensions"]["x"] / 2 + margin
        and abs(-sin * x + cos * y) <= cuboid["dimensions"]["y"] / 2 + margin
        and abs(spot[2] - cuboid["position"]["z"]) <= cuboid["dimensions"]["z"] / 2 + margin
    )
