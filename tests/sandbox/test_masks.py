"""Masks: every pixel carries the index that was laid there, in each of the pictures made of it."""

import io

from PIL import Image

from scale_mcp.sandbox.media import IndexMap, as_png, indexes_of


def drawn(indexes: dict[int, tuple[int, int, int, int]], size: tuple[int, int] = (40, 30)) -> IndexMap:
    """A map with a rectangle (left, top, right, bottom) per index."""
    mapped = IndexMap(size)
    for index, rectangle in indexes.items():
        mask = Image.new("L", size, 0)
        mask.paste(255, rectangle)
        mapped.lay(mask, index)
    return mapped


def test_every_picture_of_a_map_agrees_with_it_pixel_by_pixel() -> None:
    mapped = drawn({1: (2, 3, 12, 9), 7: (20, 10, 39, 29)})
    counts = mapped.counts()
    assert (counts[1], counts[7]) == (10 * 6, 19 * 19)
    for index in (1, 7):
        mask = mapped.mask(index)
        assert mask.histogram()[255] == counts[index]
    assert mapped.mask(1).getbbox() == (2, 3, 12, 9)
    indexed = mapped.indexed()
    assert (indexed.getpixel((2, 3)), indexed.getpixel((38, 28)), indexed.getpixel((0, 0))) == (1, 7, 0)
    coloured = mapped.coloured({1: "#ff0000", 7: "#00ff00"})
    assert coloured.getpixel((11, 8)) == (255, 0, 0, 255)
    assert coloured.getpixel((20, 10)) == (0, 255, 0, 255)
    assert coloured.getpixel((0, 0)) == (0, 0, 0, 0)


def test_more_than_255_indexes_are_kept_apart() -> None:
    mapped = drawn({1: (0, 0, 5, 5), 300: (10, 10, 20, 20)})
    assert mapped.mask(300).getbbox() == (10, 10, 20, 20)
    assert mapped.indexed().getpixel((10, 10)) == 300


def test_an_indexed_picture_is_taken_apart_into_the_masks_it_was_made_of() -> None:
    mapped = drawn({1: (2, 3, 12, 9), 7: (20, 10, 39, 29)})
    found = indexes_of(as_png(mapped.indexed()))
    assert found is not None
    size, masks = found
    assert size == (40, 30)
    boxes = {index: Image.open(io.BytesIO(content)).getbbox() for index, content in masks.items()}
    assert boxes == {1: (2, 3, 12, 9), 7: (20, 10, 39, 29)}
