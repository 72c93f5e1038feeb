"""The demo's hand on the MCP client: calls tools, keeps a record of each, and tells the screen."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from mcp import Client

    from scale_mcp.cli.showcase.screen import Picture

Json = dict[str, Any]
Note = str | Callable[[Json], str]


class CallFailed(Exception):
    """A tool answered with an error where the demo expected success."""


@dataclass
class Line:
    """One line of the demo: one tool, called once or several times in a row."""

    stage: str
    tool: str
    calls: int = 0
    seconds: float = 0.0
    ok: bool = True
    note: str = ""

    def as_json(self) -> Json:
        return {**asdict(self), "seconds": round(self.seconds, 4)}


class Screen(Protocol):
    """Where the demo is shown."""

    def opening(self, client: Client, tools: int, seconds: float) -> None: ...

    def stage(self, number: int, title: str, about: str) -> None: ...

    def line(self, line: Line) -> None: ...

    def remark(self, text: str) -> None: ...

    def working(self, text: str, done: int, total: int) -> None: ...

    def pictures(self, pictures: Sequence[Picture], caption: str) -> None: ...


@dataclass
class Session:
    """``lines`` is the record, in order; ``stage`` names the part under way."""

    client: Client
    screen: Screen
    lines: list[Line] = field(default_factory=list)
    stage: str = ""
    _stages: int = 0

    def begin(self, title: str, about: str) -> None:
        """Start the next stage."""
        self._stages += 1
        self.stage = title
        self.screen.stage(self._stages, title, about)

    async def call(self, tool: str, note: Note, /, **arguments: Any) -> Json:
        """Call a tool, show the line, and return its structured content.

        Raises:
            CallFailed: the tool answered with an error; the line says which.
        """
        (result,) = await self.each(tool, note if isinstance(note, str) else lambda got: note(got[0]), [arguments])
        return result

    async def each(self, tool: str, note: str | Callable[[list[Json]], str], calls: Sequence[Json]) -> list[Json]:
        """Call a tool once per arguments, as one line. ``note`` words all the results."""
        line = Line(self.stage, tool)
        results: list[Json] = []
        try:
            for arguments in calls:
                results.append(await self._one(line, arguments))
            line.note = note if isinstance(note, str) else note(results)
        finally:
            self._finish(line)
        return results

    async def poll(
        self,
        tool: str,
        note: Callable[[list[Json]], str],
        calls: Sequence[Json],
        *,
        until: Callable[[Json], bool],
        pause: Callable[[], Awaitable[None]],
        seconds: float,
    ) -> list[Json]:
        """Call a tool, once per arguments, until each result is ``until``; ``pause`` waits for a reason to look again.

        Raises:
            CallFailed: they were not within ``seconds``.
        """
        line = Line(self.stage, tool)
        deadline = time.monotonic() + seconds
        results: list[Json] = []
        try:
            for arguments in calls:
                while not until(result := await self._one(line, arguments)):
                    if time.monotonic() > deadline:
                        line.ok, line.note = False, f"not there after {seconds:.0f} seconds"
                        raise CallFailed(f"{tool}: {line.note}")
                    await pause()
                results.append(result)
            line.note = note(results)
        finally:
            self._finish(line)
        return results

    async def _one(self, line: Line, arguments: Json) -> Json:
        started = time.monotonic()
        try:
            answer = await self.client.call_tool(line.tool, arguments)
        except Exception as error:
            line.ok, line.note = False, str(error)
            raise CallFailed(f"{line.tool}: {error}") from error
        finally:
            line.calls += 1
            line.seconds += time.monotonic() - started
        if answer.is_error:
            said = " ".join(block.text for block in answer.content if block.type == "text")
            line.ok, line.note = False, " ".join(said.split()).removeprefix(f"{line.tool}: ")
            raise CallFailed(f"{line.tool}: {line.note}")
        return dict(answer.structured_content or {})

    def _finish(self, line: Line) -> None:
        self.lines.append(line)
        self.screen.line(line)

    def by_tool(self) -> dict[str, Line]:
        """The record per tool: calls and time added up, the first note, and the note of a failure before that."""
        tools: dict[str, Line] = {}
        for line in self.lines:
            sum_ = tools.setdefault(line.tool, Line(line.stage, line.tool))
            sum_.calls += line.calls
            sum_.seconds += line.seconds
            if sum_.ok:
                sum_.note = line.note if not line.ok else sum_.note or line.note
            sum_.ok = sum_.ok and line.ok
        return tools
