"""Pixels: masks as PNG, sizes of pictures.

Pillow is imported by the functions that need it, so that a sandbox without pictures starts without it.
"""

from __future__ import annotations

import io
import sys
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from scale_mcp.sandbox.facts import Size
from scale_mcp.sandbox.geometry import XY

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST_PICTURE = 100_000_000  # pixels; a header can claim any size
LARGEST_MASK = 16_000_000  # pixels
MOST_COMPARISONS = 200_000_000  # of a pixel with an index, when a mask picture is taken apart

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
            return Image.frombytes("L", self.size, bytes(cells.tolist()).translate(table))
        return Image.frombytes("L", self.size, bytes(values.get(cell, 0) for cell in cells))

    def mask(self, index: int) -> Image:
        """The pixels of one index: 255 there, 0 elsewhere."""
        return self._through({index: 255})

    def indexed(self) -> Image:
        """One channel, pixel = index: 8 bits while they suffice, else 16 (decisions.MANY_SEGMENTS)."""
        from PIL import Image

        cells = self._cells()
        if max(cells, default=0) <= 255:
            return Image.frombytes("L", self.size, bytes(cells.tolist()))
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
    """Masks by index out of an indexed picture: of one channel, or of colours that spell a 24-bit index.

    None when it cannot be read, or is too large to be taken apart in reasonable time.
    """
    from PIL import Image, UnidentifiedImageError

    size = picture_size(content)
    if size is None or size[0] * size[1] > LARGEST_MASK:
        return None
    try:
        with Image.open(io.BytesIO(content)) as image:
            cells = _cells_of(image)
    except (UnidentifiedImageError, OSError, ValueError):
        return None
    wanted = sorted(index for index in set(cells) if index > 0)
    small = all(0 <= index <= 255 for index in (*wanted, min(cells)))
    if not small and len(wanted) * len(cells) > MOST_COMPARISONS:
        return None
    masks = {index: as_png(Image.frombytes("L", size, _where(cells, index, small=small))) for index in wanted}
    return size, masks


def _cells_of(image: Image) -> array[int]:
    if image.mode in ("RGB", "RGBA"):
        flat = image.convert("RGB").tobytes()
        return array("i", (r | g << 8 | b << 16 for r, g, b in zip(flat[::3], flat[1::3], flat[2::3], strict=True)))
    if image.mode in ("L", "P"):  # a palette's numbers are the indexes, whatever colours it gives them
        return array("i", iter(image.tobytes()))
    return array("i", image.convert("I").tobytes())


def _where(cells: array[int], index: int, *, small: bool) -> bytes:
    """255 where a cell has the index; by table, which is a hundred times faster, while indexes fit into a byte."""
    if small:
        return bytes(cells.tolist()).translate(bytes(255 if value == index else 0 for value in range(256)))
    return bytes(255 if cell == index else 0 for cell in cells)
