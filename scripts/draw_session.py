"""Run the demo in a terminal of our own and draw what a person sees as docs/session.svg.

The terminal is emulated, so that bars and spinners leave only what remains of them. The picture keeps the stages that
show the life cycle; the others, and the closing table, are what `make demo` is for.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from itertools import groupby
from pathlib import Path

import pyte
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 112, 2000  # so many rows that nothing scrolls away
LEFT_OUT = (("4  ", "5  "), ("7  ", r"\d+ of \d+ tools"))  # from the line that begins so, up to the one that begins so

LINE_HEIGHT, ASCENT = 24.4, 18.5  # of rich's drawing, in its units


def run_demo() -> list[list[Char]]:
    """The lines of the finished screen, each a list of characters with their style."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.Stream(screen)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "COLUMNS": str(COLUMNS)}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(
        [sys.executable, "-m", "scale_mcp", "demo"],
        cwd=ROOT,
        env=environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    while True:
        try:
            chunk = os.read(master, 65536)
        except OSError:  # Linux says EIO when the other end is gone
            break
        if not chunk:
            break
        stream.feed(decoder.decode(chunk))
    if process.wait() != 0:
        sys.exit("the demo failed:\n" + "\n".join(line.rstrip() for line in screen.display if line.strip()))
    lines = [[screen.buffer[row][column] for column in range(COLUMNS)] for row in range(screen.cursor.y + 1)]
    while lines and not plain(lines[-1]):
        lines.pop()
    return lines


def plain(line: list[Char]) -> str:
    return "".join(char.data for char in line).rstrip()


def styled(line: list[Char]) -> Text:
    text = Text(no_wrap=True)
    for style, run in groupby(line[: len(plain(line))], key=style_of):
        text.append("".join(char.data for char in run), style)
    return text


def style_of(char: Char) -> Style:
    return Style(color=colour(char.fg), bgcolor=colour(char.bg), bold=char.bold, italic=char.italics)


def colour(name: str) -> str | None:
    """pyte's name of a colour as rich spells it."""
    if name == "default":
        return None
    if re.fullmatch(r"[0-9a-f]{6}", name):
        return f"#{name}"
    return {"brown": "yellow", "brightbrown": "bright_yellow"}.get(name, re.sub(r"^bright", "bright_", name))


def shortened(lines: list[list[Char]]) -> list[Text]:
    texts, shown, start = [plain(line) for line in lines], [], 0
    for first, last in LEFT_OUT:
        begin = next(number for number, text in enumerate(texts) if re.match(first, text))
        end = next(number for number, text in enumerate(texts) if number > begin and re.match(last, text))
        shown += [*map(styled, lines[start:begin]), Text(f"   … {end - begin} more lines …", style="dim"), Text()]
        start = end
    return shown + [styled(line) for line in lines[start:]]


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), color_system="truecolor")
    console.print(Text("$ make demo", style="bold"))
    for line in shortened(run_demo()):
        console.print(line, no_wrap=True, crop=True)
    drawing = smaller(with_blocks_as_areas(without_fonts(console.export_svg(title="scale-mcp"))))
    (ROOT / "docs" / "session.svg").write_text(drawing, encoding="utf-8")


def without_fonts(svg: str) -> str:
    """Leave out the web fonts: pages that show pictures do not load them, and the reader's own are as good."""
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.S)
    return svg.replace("Fira Code", "ui-monospace, 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono'")


def with_blocks_as_areas(svg: str) -> str:
    """Half blocks, of which the demo's pictures are made, leave gaps in many fonts. As areas they have none."""
    colours = dict(re.findall(r"\.[\w-]+-(r\d+) \{ fill: (#\w+)", svg))
    place = r'x="(?P<x>[\d.]+)" y="(?P<y>[\d.]+)" textLength="(?P<width>[\d.]+)"'

    def area(match: re.Match[str]) -> str:
        top, fill = float(match["y"]) - ASCENT, colours[match["style"]]
        return (
            f'<rect fill="{fill}" x="{match["x"]}" y="{top:g}" width="{match["width"]}" height="{LINE_HEIGHT / 2:g}"/>'
        )

    return re.sub(rf'<text class="[\w-]+-(?P<style>r\d+)" {place}[^>]*>▀+</text>', area, svg)


def smaller(svg: str) -> str:
    """Drop the names of colours that nothing uses any more, shorten the others, and say once how areas are drawn."""
    used = set(re.findall(r'class="[\w-]+-(r\d+)"', svg))
    svg = re.sub(r"\s*\.[\w-]+-(r\d+) \{[^}]*\}", lambda match: match[0] if match[1] in used else "", svg)
    svg = svg.replace(' shape-rendering="crispEdges"', "").replace(
        "<style>", "<style>rect{shape-rendering:crispEdges}", 1
    )
    return re.sub(r"terminal-\d+-", "t-", svg)


if __name__ == "__main__":
    main()
