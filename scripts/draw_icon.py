"""Draw icon.png: a picture being labelled (a box with its corners over a hill), on a rounded square."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw

SIZE = 512
FINE = 4  # drawn four times as large and scaled down, for smooth edges

BACKGROUND, SUN, HILL, HILL_IN_FRONT, LINE = "#141a33", "#ffc94d", "#39508f", "#5f7fd6", "#ffffff"


def draw() -> Image.Image:
    picture = Image.new("RGBA", (SIZE * FINE, SIZE * FINE), (0, 0, 0, 0))
    pen = ImageDraw.Draw(picture)

    def at(*numbers: float) -> list[float]:
        return [number * FINE for number in numbers]

    scene = Image.new("RGBA", picture.size, BACKGROUND)
    scene_pen = ImageDraw.Draw(scene)
    scene_pen.polygon(at(0, 400, 150, 250, 300, 400, 300, 512, 0, 512), fill=HILL)
    scene_pen.polygon(at(120, 512, 340, 240, 560, 512), fill=HILL_IN_FRONT)
    scene_pen.ellipse(at(78, 84, 162, 168), fill=SUN)
    mask = Image.new("L", picture.size, 0)
    ImageDraw.Draw(mask).rounded_rectangle(at(0, 0, 511, 511), radius=104 * FINE, fill=255)
    picture.paste(scene, (0, 0), mask)

    left, top, right, bottom = 188, 188, 432, 416
    dash, width = 26, 12
    for start in range(left, right, dash * 2):
        for y in (top, bottom):
            pen.line(at(start, y, min(start + dash, right), y), fill=LINE, width=width * FINE)
    for start in range(top, bottom, dash * 2):
        for x in (left, right):
            pen.line(at(x, start, x, min(start + dash, bottom)), fill=LINE, width=width * FINE)
    for x in (left, right):
        for y in (top, bottom):
            pen.rounded_rectangle(at(x - 22, y - 22, x + 22, y + 22), radius=8 * FINE, fill=LINE)
    return picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    draw().save(Path(__file__).resolve().parent.parent / "icon.png", optimize=True)
