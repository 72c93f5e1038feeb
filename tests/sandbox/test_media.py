"""Masks and sizes of pictures."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from scale_mcp.sandbox import media


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


def png(image: Image.Image) -> bytes:
    return media.as_png(image)


def test_the_size_is_read_from_the_header() -> None:
    assert media.picture_size(png(Image.new("RGB", (7, 5)))) == (7, 5)


@pytest.mark.parametrize("content", [b"", b"not a picture", b"\x89PNG\r\n\x1a\n", b"{}"])
def test_what_is_no_picture_has_no_size(content: bytes) -> None:
    assert media.picture_size(content) is None


def test_a_header_that_claims_too_much_has_no_size() -> None:
    content = bytearray(png(Image.new("1", (8, 8))))
    content[16:24] = (100_000).to_bytes(4, "big") * 2

    assert media.picture_size(bytes(content)) is None


def test_indexes_up_to_255_make_a_picture_of_one_byte_per_pixel() -> None:
    sheet = media.IndexMap((10, 4))
    sheet.lay(media.filled([(0, 0), (4, 0), (4, 4), (0, 4)], (10, 4)), 200)

    image = opened(png(sheet.indexed()))

    assert (image.mode, image.size) == ("L", (10, 4))
    assert set(image.tobytes()) == {0, 200}
    assert sheet.counts() == {200: 20, 0: 20}


def test_more_indexes_than_a_byte_holds_survive_in_both_index_pictures() -> None:
    sheet = media.IndexMap((3, 1))
    for column, index in enumerate((255, 256, 70_000)):
        mask = media.blank_mask((3, 1))
        mask.putpixel((column, 0), 255)
        sheet.lay(mask, index)

    wide, extended = opened(png(sheet.indexed())), opened(png(sheet.extended()))

    assert [wide.getpixel((column, 0)) for column in range(3)] == [255, 256, 65_535]
    pixels = [extended.getpixel((column, 0)) for column in range(3)]
    assert extended.mode == "RGBA"
    assert pixels == [(255, 0, 0, 255), (0, 1, 0, 255), (112, 17, 1, 255)]


def test_the_coloured_picture_is_transparent_where_nothing_is_labeled() -> None:
    sheet = media.IndexMap((2, 1))
    mask = media.blank_mask((2, 1))
    mask.putpixel((0, 0), 255)
    sheet.lay(mask, 1)

    image = opened(png(sheet.coloured({1: "#e6194b"})))

    assert (image.mode, image.getpixel((0, 0)), image.getpixel((1, 0))) == (
        "RGBA",
        (0xE6, 0x19, 0x4B, 255),
        (0, 0, 0, 0),
    )


@settings(deadline=None)
@given(data=st.data(), width=st.integers(1, 12), height=st.integers(1, 12), most=st.sampled_from([3, 255, 400]))
def test_masks_can_be_read_back_from_either_index_picture(
    data: st.DataObject, width: int, height: int, most: int
) -> None:
    wanted = data.draw(st.lists(st.integers(0, most), min_size=width * height, max_size=width * height))
    sheet = media.IndexMap((width, height))
    for index in set(wanted) - {0}:
        mask = Image.frombytes("L", (width, height), bytes(255 if one == index else 0 for one in wanted))
        sheet.lay(mask, index)

    for image in (sheet.indexed(), sheet.extended()):
        read = media.indexes_of(png(image))
        assert read is not None
        size, masks = read
        assert size == (width, height)
        assert set(masks) == set(wanted) - {0}
        for index, content in masks.items():
            assert opened(content).tobytes() == bytes(255 if one == index else 0 for one in wanted)


def test_a_palette_picture_is_read_by_its_numbers_not_its_colours() -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([0, 0, 0, 250, 250, 250])
    image.putdata([0, 1])

    read = media.indexes_of(png(image))

    assert read is not None
    assert set(read[1]) == {1}


def test_a_mask_moves_and_swells() -> None:
    mask = media.blank_mask((9, 9))
    mask.putpixel((4, 4), 255)

    assert media.shifted(mask, 2, -1, 0).getbbox() == (6, 3, 7, 4)
    assert media.shifted(mask, 0, 0, 1).getbbox() == (3, 3, 6, 6)
    assert media.shifted(media.shifted(mask, 0, 0, 1), 0, 0, -1).getbbox() == (4, 4, 5, 5)
