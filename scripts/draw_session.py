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
from pathlib import Path

import pyte
from pyte.screens import Char
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 112, 2000  # so many rows that nothing scrolls away
LEFT_OUT = (("4  ", "5  "), ("7  ", r"\d+ of \d+ tools"))  # from the line that begins so, up to the one that begins so


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
    for char in line[: len(plain(line))]:
        text.append(
            char.data, Style(color=colour(char.fg), bgcolor=colour(char.bg), bold=char.bold, italic=char.italics)
        )
    return text


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
    (ROOT / "docs" / "session.svg").write_text(without_fonts(console.export_svg(title="scale-mcp")), encoding="utf-8")


def without_fonts(svg: str) -> str:
    """Leave out the web fonts: pages that show pictures do not load them, and the reader's own are as good."""
    svg = re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.S)
    return svg.replace("Fira Code", "ui-monospace, 'Cascadia Mono', Menlo, Consolas, 'DejaVu Sans Mono'")


if __name__ == "__main__":
    main()
