"""How the demo looks: styled on a terminal, plain lines elsewhere, nothing when a machine reads the result."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from scale_mcp.cli.console import say

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import Tool
    from rich.console import Console, RenderableType

    from scale_mcp.cli.showcase.reading import Outline
    from scale_mcp.cli.showcase.session import Line

TOOL_WIDTH = 43  # of the tool's name with its count
WIDEST = 100  # characters for all pictures of a row
DETAIL = 4  # how much finer shapes are drawn than shown


class Picture(NamedTuple):
    """A picture, and what to draw over it: outlines in its pixels, with their colours."""

    content: bytes
    shapes: Sequence[Outline] = ()


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def introduction(client: Client, tools: int, seconds: float) -> str:
    version = f"server {client.server_info.version}" if client.server_info else "a server without a name"
    return f"{tools} tools over stdio in {milliseconds(seconds)} ({version}, protocol {client.protocol_version})"


def named(line: Line) -> str:
    return f"{line.tool} ×{line.calls}" if line.calls > 1 else line.tool


class Nowhere:
    """For --json."""

    def opening(self, client: Client, tools: int, seconds: float) -> None:
        pass

    def stage(self, number: int, title: str, about: str) -> None:
        pass

    def line(self, line: Line) -> None:
        pass

    def remark(self, text: str) -> None:
        pass

    def working(self, text: str, done: int, total: int) -> None:
        pass

    def pictures(self, pictures: Sequence[Picture], caption: str) -> None:
        pass


class Plain(Nowhere):
    """Lines on stderr, for a log."""

    def opening(self, client: Client, tools: int, seconds: float) -> None:
        say(introduction(client, tools, seconds))

    def stage(self, number: int, title: str, about: str) -> None:
        say(f"\n{number}. {title}: {about}")

    def line(self, line: Line) -> None:
        say(f"  {'ok ' if line.ok else 'BAD'} {named(line):{TOOL_WIDTH}} {milliseconds(line.seconds):>7}  {line.note}")

    def remark(self, text: str) -> None:
        say(f"      {text}")


class Terminal(Nowhere):
    """Colours, a bar while the workforce works, and the pictures themselves."""

    def __init__(self, console: Console, *, pictures: bool = True) -> None:
        self._console, self._pictures = console, pictures
        self._status: Any = None

    def opening(self, client: Client, tools: int, seconds: float) -> None:
        heading = f"\n[bold]scale-mcp demo[/bold]  [dim]{introduction(client, tools, seconds)}[/dim]"
        self._console.print(heading, no_wrap=True, overflow="ellipsis")

    def stage(self, number: int, title: str, about: str) -> None:
        heading = f"\n[bold cyan]{number}  {title}[/bold cyan]  [dim]{about}[/dim]"
        self._console.print(heading, no_wrap=True, overflow="ellipsis")

    def line(self, line: Line) -> None:
        from rich.text import Text

        self._still()
        text = Text("   ")
        text.append("✓ " if line.ok else "✗ ", style="green" if line.ok else "bold red")
        text.append(line.tool)
        text.append(f" ×{line.calls}" if line.calls > 1 else "", style="cyan")
        text.pad_right(max(1, TOOL_WIDTH - len(text.plain)))
        text.append(f"{milliseconds(line.seconds):>7}  ", style="dim")
        text.append(line.note, style="" if line.ok else "red")
        self._console.print(text, no_wrap=line.ok, overflow="ellipsis")

    def remark(self, text: str) -> None:
        from rich.text import Text

        self._still()
        self._console.print(Text(f"     {text}", style="italic"), no_wrap=True, overflow="ellipsis")

    def working(self, text: str, done: int, total: int) -> None:
        bar = "█" * done + "░" * (total - done)
        shown = f"   {text}  [green]{bar}[/green] {done} of {total}"
        if self._status is None:
            self._status = self._console.status(shown, spinner="dots")
            self._status.start()
        else:
            self._status.update(shown)

    def _still(self) -> None:
        if self._status is not None:
            self._status.stop()
            self._status = None

    def pictures(self, pictures: Sequence[Picture], caption: str) -> None:
        if not self._pictures or self._console.color_system not in ("truecolor", "256"):
            return
        from rich.padding import Padding

        width = min(WIDEST, self._console.width - 8)
        self._console.print(Padding(half_blocks(pictures, width), (1, 0, 0, 5)))
        self._console.print(f"     [dim]{caption}[/dim]", no_wrap=True, overflow="ellipsis")


def half_blocks(pictures: Sequence[Picture], width: int) -> RenderableType:
    """Pictures side by side in ``width`` characters, two pixels in each."""
    from PIL import Image, ImageDraw
    from rich.segment import Segment, Segments
    from rich.style import Style

    each = (width - 2 * (len(pictures) - 1)) // len(pictures)
    small = []
    for picture in pictures:
        image = Image.open(io.BytesIO(picture.content)).convert("RGB")
        scale = each / image.width
        large = image.resize((each * DETAIL, round(image.height * scale) * DETAIL))
        draw = ImageDraw.Draw(large)
        for points, colour in picture.shapes:
            outline = [(x * scale * DETAIL, y * scale * DETAIL) for x, y in points]
            draw.line([*outline, outline[0]], fill=colour, width=DETAIL)
        small.append(large.resize((each, large.height // DETAIL), Image.Resampling.LANCZOS))
    height = max(image.height for image in small) // 2 * 2
    segments = []
    for y in range(0, height, 2):
        for number, image in enumerate(small):
            if number:
                segments.append(Segment("  "))
            pixels = image.crop((0, y, each, y + 2)).tobytes()
            for x in range(0, 3 * each, 3):
                upper, lower = (pixels[at : at + 3].hex() for at in (x, x + 3 * each))
                segments.append(Segment("▀", Style.parse(f"#{upper} on #{lower}")))
        segments.append(Segment.line())
    return Segments(segments)


def closing_table(tools: Sequence[Tool], record: dict[str, Line]) -> RenderableType:
    """Every tool with what it answered and how long that took, by toolset."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), expand=True, header_style="dim")
    table.add_column("", width=1)
    table.add_column("tool", width=max(len(tool.name) for tool in tools))
    table.add_column("calls", justify="right", width=5)
    table.add_column("time", justify="right", width=7)
    table.add_column("result", overflow="ellipsis", no_wrap=True, ratio=1)
    toolsets = list(dict.fromkeys(toolset_of(tool) for tool in tools))
    for toolset in toolsets:
        table.add_row("", Text(toolset, style="bold cyan"))
        for tool in tools:
            if toolset_of(tool) != toolset:
                continue
            line = record.get(tool.name)
            if line is None:
                table.add_row("[red]✗[/red]", tool.name, "0", "", "[red]never called[/red]")
            else:
                mark = "[green]✓[/green]" if line.ok else "[red]✗[/red]"
                table.add_row(mark, tool.name, str(line.calls), milliseconds(line.seconds), Text(line.note))
    return table


def toolset_of(tool: Tool) -> str:
    return str((tool.meta or {}).get("scale-mcp/toolset", ""))
