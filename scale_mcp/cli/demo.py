"""``scale-mcp demo``: every tool at work, from nothing to audited labels, without an account."""

from __future__ import annotations

import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import Exit, stderr_console, stdout_console, stop, write_json

if TYPE_CHECKING:
    from mcp.types import Tool

    from scale_mcp.cli.showcase.receiver import Receiver
    from scale_mcp.cli.showcase.session import Screen, Session

LIMIT = 120.0  # seconds for the whole demo; it usually takes a tenth of that
LOG_LINES = 5  # of the server's, shown when a call failed
app = new_app()


@app.command(cls=ReadableCommand)
def demo(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="The record of every call, for machines.")] = False,
    pictures: Annotated[bool, typer.Option(help="Show the labelled pictures, where the terminal has colours.")] = True,
) -> None:
    """Take pictures, texts and lidar frames through a whole labelling life cycle, and call every tool on the way.

    It starts [bold]scale-mcp serve --sandbox[/bold] as a host would, connects the official MCP client over stdio, and
    does what an agent does: set up projects, upload files, create tasks, finalize batches, wait for the (simulated)
    workforce, take the callbacks, read the labels, audit them, run a Studio. No account, no network, nothing kept.

    [bold]Examples[/bold]
      scale-mcp demo
      scale-mcp demo --no-pictures
      scale-mcp demo --json | jq .tools

    [bold]Exit codes[/bold]
      0  every tool was called and every call went as it should
      1  one did not; the table says which
    """
    import anyio

    from scale_mcp.cli.showcase.screen import Nowhere, Plain, Terminal

    screen: Screen
    if as_json:
        screen = Nowhere()
    elif sys.stderr.isatty():
        screen = Terminal(stderr_console(), pictures=pictures)
    else:
        screen = Plain()
    result = anyio.run(_run, screen)
    if as_json:
        write_json(result.as_json())
    else:
        result.show()
    raise typer.Exit(Exit.OK if result.ok else Exit.FAILED)


class Result:
    """How the demo went. ``trouble`` says what ended it early; it is empty when nothing did."""

    def __init__(self, session: Session, tools: list[Tool], receiver: Receiver, seconds: float, trouble: str) -> None:
        self.session, self.tools, self.receiver = session, tools, receiver
        self.seconds, self.trouble = seconds, trouble
        self.record = session.by_tool()
        self.missing = [tool.name for tool in tools if tool.name not in self.record]
        info = session.client.server_info
        self.server = {
            "name": info.name if info else None,
            "version": info.version if info else None,
            "protocol": session.client.protocol_version,
            "tools": len(tools),
        }

    @property
    def ok(self) -> bool:
        return not self.trouble and not self.missing and all(line.ok for line in self.record.values())

    def as_json(self) -> dict[str, Any]:
        from scale_mcp.cli.showcase.screen import toolset_of

        return {
            "ok": self.ok,
            "trouble": self.trouble or None,
            "seconds": round(self.seconds, 3),
            "server": self.server,
            "callbacks": {"received": len(self.receiver.received), "refused": self.receiver.refused},
            "tools": {
                tool.name: {
                    "toolset": toolset_of(tool),
                    "calls": line.calls if line else 0,
                    "ok": bool(line and line.ok),
                    "milliseconds": round(line.seconds * 1000, 1) if line else None,
                    "result": line.note if line else "never called",
                }
                for tool in self.tools
                for line in [self.record.get(tool.name)]
            },
            "lines": [line.as_json() for line in self.session.lines],
        }

    def show(self) -> None:
        from scale_mcp.cli.showcase.screen import closing_table

        console = stdout_console()
        console.print()
        console.print(closing_table(self.tools, self.record))
        calls = sum(line.calls for line in self.record.values())
        called = len(self.tools) - len(self.missing)
        console.print(
            f"\n[bold]{called} of {len(self.tools)} tools, {calls} calls, "
            f"{len(self.receiver.received)} callbacks, {self.seconds:.1f} s.[/bold]"
        )
        if self.trouble:
            console.print(self.trouble, style="red", markup=False)
        elif self.ok:
            console.print(
                "\nNow with an agent of yours:  [bold]scale-mcp install claude-desktop --sandbox[/bold]"
                "\n(or claude-code, cursor, vscode; with an account: without --sandbox)"
            )


async def _run(screen: Screen) -> Result:
    import anyio
    from mcp import Client, MCPError, StdioServerParameters
    from mcp.client.stdio import stdio_client

    from scale_mcp.api import ScaleApi
    from scale_mcp.cli.connecting import SANDBOX_KEY
    from scale_mcp.cli.hosts import command
    from scale_mcp.cli.showcase import material
    from scale_mcp.cli.showcase.receiver import listening
    from scale_mcp.cli.showcase.session import CallFailed, Session
    from scale_mcp.cli.showcase.stages import Demonstration
    from scale_mcp.sandbox import SandboxOptions

    started = time.monotonic()
    trouble = ""
    program, *arguments = command()
    port = _free_port()
    arguments += ["serve", "--sandbox", "--sandbox-port", str(port), "--upload-root", str(material.folder())]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+", encoding="utf-8") as log:
        arguments += ["--download-root", folder]
        # No environment: the demo is the same for everybody, whatever settings they have.
        server = StdioServerParameters(command=program, args=[*arguments, "--log-level", "error"])
        try:
            async with (
                listening(SandboxOptions().callback_auth) as receiver,
                Client(stdio_client(server, errlog=log)) as client,
                ScaleApi(SANDBOX_KEY, base_url=f"http://127.0.0.1:{port}/v1") as customer,
            ):
                session = Session(client, screen)
                tools = (await client.list_tools()).tools
                screen.opening(client, len(tools), time.monotonic() - started)
                try:
                    with anyio.fail_after(LIMIT):
                        await Demonstration(session, receiver, customer, Path(folder)).run()
                except CallFailed as error:
                    trouble = f"{error}\n{_end_of(log)}".strip()
                except TimeoutError:
                    trouble = f"The demo was given up after {LIMIT:.0f} seconds."
                except Exception as error:
                    trouble = f"The demo stumbled over a result it did not expect: {error!r}"
                return Result(session, tools, receiver, time.monotonic() - started, trouble)
        except (OSError, MCPError, ExceptionGroup) as error:  # nothing to call yet: the child did not come up
            shown = " ".join([program, *arguments])
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            stop(Exit.FAILED, f"the server did not start ({error}). It was `{shown}`.\n{_end_of(log)}")


def _end_of(log: IO[str]) -> str:
    log.seek(0)
    lines = [line for line in log if not line.startswith("The sandbox is at")]
    return "".join(lines[-LOG_LINES:])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
