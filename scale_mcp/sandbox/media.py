"""Pixels and scenes: masks as PNG, sizes of pictures, a street that is known exactly.

Pillow is imported by the functions that need it, so that a sandbox without pictures starts without it.
"""

from __future__ import annotations

import io
import math
import random
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from scale_mcp.sandbox.facts import LidarFrame, Size, TrueObject
from scale_mcp.sandbox.geometry import XY

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_PICTURE = 40_000_000  # pixels; a header can claim any size

# Colours of labels in order, far apart in hue; repeated beyond twelve, as Scale's need not be unique either.
PALETTE = (
    *("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#42d4f4"),
    *("#f032e6", "#bfef45", "#fabed4", "#469990", "#9a6324", "#ffe119"),
)


def colour_of(index: int) -> str:
    """The colour of a label's index, 1-based."""
    return PALETTE[(index - 1) % len(PALETTE)]


def picture_size(content: bytes) -> Size | None:
    """Width and height of a picture from its header, or None when it is not a picture we can read."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(content)) as image:
            width, height = image.size
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError):
        return None
    return (width, height) if 0 < width * height <= LARGEST_PICTURE else None


def as_png(image: Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=False)
    return buffer.getvalue()


def blank_mask(size: Size) -> Image:
    from PIL import Image

    return Image.new("L", size, 0)


def filled(ring: Sequence[XY], size: Size) -> Image:
    """A mask (0 outside, 255 inside) of a ring of vertices."""
    from PIL import ImageDraw

    mask = blank_mask(size)
    if len(ring) >= 3:
        ImageDraw.Draw(mask).polygon([(float(x), float(y)) for x, y in ring], fill=255)
    return mask


def loaded_mask(content: bytes, size: Size) -> Image:
    """A stored mask as 0 and 255, brought to the picture's size if it has another."""
    from PIL import Image

    with Image.open(io.BytesIO(content)) as stored:
        mask = stored.convert("L").point(lambda value: 255 if value else 0)
    return mask if mask.size == size else mask.resize(size, Image.Resampling.NEAREST)


def shifted(mask: Image, right: int, down: int, swell: int) -> Image:
    """A mask moved by whole pixels and grown (1) or shrunk (-1) by one pixel at the border."""
    from PIL import ImageChops, ImageFilter

    moved = blank_mask(mask.size)
    moved.paste(mask, (right, down))
    if swell > 0:
        grown = moved.filter(ImageFilter.MaxFilter(3))
        return ImageChops.lighter(moved, grown)
    return moved.filter(ImageFilter.MinFilter(3)) if swell < 0 else moved


class IndexMap:
    """Which index each pixel has, and the pictures Scale makes of that. Index 0 is unlabeled."""

    def __init__(self, size: Size) -> None:
        from PIL import Image

        self._image = Image.new("I", size, 0)
        self.size = size

    def lay(self, mask: Image, index: int) -> None:
        """Give the pixels of a mask this index, over whatever they had."""
        self._image.paste(index, (0, 0, *self.size), mask)

    def _cells(self) -> array[int]:
        return array("i", self._image.tobytes())

    def counts(self) -> Counter[int]:
        """Pixels per index."""
        return Counter(self._cells())

    def _through(self, values: dict[int, int]) -> Image:
        """One channel with every index replaced by a value of 0…255; others become 0."""
        from PIL import Image

        cells = self._cells()
        if max(cells, default=0) <= 255:
            table = bytes(values.get(index, 0) for index in range(256))
            return Image.frombytes("L", self.size, bytes(cells).translate(table))
        return Image.frombytes("L", self.size, bytes(values.get(cell, 0) for cell in cells))

    def mask(self, index: int) -> Image:
        """The pixels of one index: 255 there, 0 elsewhere."""
        return self._through({index: 255})

    def indexed(self) -> Image:
        """One channel, pixel = index: 8 bits while they suffice, else 16."""
        from PIL import Image

        cells = self._cells()
        if max(cells, default=0) <= 255:
            return Image.frombytes("L", self.size, bytes(cells))
        wide = array("H", (min(cell, 65_535) for cell in cells))
        if sys.byteorder == "big":
            wide.byteswap()
        return Image.frombytes("I;16", self.size, wide.tobytes())

    def extended(self) -> Image:
        """Four channels: the index in 24 bits with red lowest, opaque."""
        from PIL import Image

        cells = self._cells()
        if sys.byteorder == "big":
            cells.byteswap()
        image = Image.frombytes("RGBA", self.size, cells.tobytes())
        image.putalpha(255)
        return image

    def coloured(self, colours: dict[int, str]) -> Image:
        """Four channels in the labels' colours; unlabeled is transparent black."""
        from PIL import Image, ImageColor

        known = {index: (*ImageColor.getrgb(colour)[:3], 255) for index, colour in colours.items()}
        channels = [self._through({index: rgba[number] for index, rgba in known.items()}) for number in range(4)]
        return Image.merge("RGBA", channels)


def indexes_of(content: bytes) -> tuple[Size, dict[int, bytes]] | None:
    """Masks by index out of an indexed picture: of one channel, or of colours that spell a 24-bit index."""
    from PIL import Image, UnidentifiedImageError

    if picture_size(content) is None:
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
            colours = image.mode in ("RGB", "RGBA")
            flat = image.convert("RGB").tobytes() if colours else image.convert("I").tobytes()
            size = image.size
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    if colours:
        cells = array("i", (r | g << 8 | b << 16 for r, g, b in zip(flat[::3], flat[1::3], flat[2::3], strict=True)))
    else:
        cells = array("i", flat)
    wanted = sorted(index for index in set(cells) if index > 0)
    masks = {
        index: as_png(Image.frombytes("L", size, bytes(255 if cell == index else 0 for cell in cells)))
        for index in wanted[:1_000]
    }
    return size, masks


# ------------------------------------------------------------------------------------------------ a street, from above

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
