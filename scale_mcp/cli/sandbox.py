"""``scale-mcp sandbox``: Scale's API in a box, over HTTP."""

from __future__ import annotations

import signal
import socket
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from scale_mcp.cli.command import ReadableCommand, new_app
from scale_mcp.cli.console import Exit, say, stop

if TYPE_CHECKING:
    from scale_mcp.sandbox import SandboxOptions

app = new_app()
Clock = Literal["real", "fast", "manual"]


@app.command(cls=ReadableCommand)
def sandbox(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes any free one.", min=0, max=65535)] = 8787,
    db: Annotated[str, typer.Option(metavar="FILE", help="SQLite file that keeps everything.")] = ":memory:",
    clock: Annotated[
        Clock, typer.Option(help="real: as on the wall. fast: --speed times that. manual: stands still until told.")
    ] = "real",
    speed: Annotated[float, typer.Option(help="Sandbox seconds per real second, for --clock fast.", min=1)] = 3600.0,
    seed: Annotated[int, typer.Option(help="Same seed, same workforce, same mistakes.")] = 0,
    workers: Annotated[int, typer.Option(help="Size of the simulated workforce.", min=1, max=1000)] = 12,
    callback_auth: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Value of the scale-callback-auth header on callbacks.")
    ] = None,
    callback_hosts: Annotated[
        list[str] | None,
        typer.Option(metavar="A,B,…", help="Hosts that callbacks may go to. [dim](default this machine)[/dim]"),
    ] = None,
    public_url: Annotated[
        str | None, typer.Option(metavar="URL", help="Address in result links, when it is behind a proxy.")
    ] = None,
) -> None:
    """Run Scale's API in a box. Projects, tasks, batches, files, Studio and callbacks, with simulated labellers.

    Any key works, and each has a world of its own: test_… (or …|test) completes tasks at once, as Scale's test
    mode does; live_… hands them to the workforce, which takes its time on the sandbox's clock and makes mistakes.

    [bold]Examples[/bold]
      scale-mcp sandbox                             in memory, gone at the end
      scale-mcp sandbox --db box.db --clock fast    kept; a second is an hour
      scale-mcp sandbox --clock manual              POST /_sandbox/clock/advance
      scale-mcp sandbox --callback-hosts ci.local   callbacks beyond this machine

    [bold]Beside the API[/bold]
      /openapi.json         what it serves
      /_sandbox/…           clock, faults, seed, reset, request log, callbacks

    [bold]Exit codes[/bold]
      0  ended by Ctrl-C or SIGTERM
      1  the address or the file cannot be used
      2  wrong usage
    """
    from scale_mcp.sandbox import SandboxOptions

    options = SandboxOptions(db=db, clock=clock, speed=speed, seed=seed, workers=workers, public_url=public_url)
    if callback_auth is not None:
        options = _replace(options, callback_auth=callback_auth)
    if callback_hosts:
        names = tuple(name.strip() for item in callback_hosts for name in item.split(",") if name.strip())
        options = _replace(options, callback_hosts=names)
    _run(options, _listen(host, port))


def _replace(options: SandboxOptions, **changes: object) -> SandboxOptions:
    from dataclasses import replace

    return replace(options, **changes)  # type: ignore[arg-type]


def _listen(host: str, port: int) -> socket.socket:
    """A bound socket, so that a port in use is our message rather than a traceback."""
    from scale_mcp.server.transports.listening import listen

    try:
        return listen(host, port)
    except OSError as error:
        stop(Exit.FAILED, f"cannot listen on {host}:{port} ({error.strerror or error}). --port 0 takes any free port.")


def _run(options: SandboxOptions, listener: socket.socket) -> None:
    import anyio

    from scale_mcp.sandbox import StoreError

    # uvicorn raises the signals it caught once more when it is done; by then there is nothing left to interrupt.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    try:
        with listener:
            anyio.run(_serve, options, listener)
    except StoreError as error:
        stop(Exit.FAILED, f"{error} Give another file with --db.")


async def _serve(options: SandboxOptions, listener: socket.socket) -> None:
    import uvicorn

    from scale_mcp.sandbox import Sandbox

    async with Sandbox(options) as box:
        config = uvicorn.Config(box.app, log_level="warning", access_log=False, lifespan="off", server_header=False)
        _introduce(options, listener)
        await uvicorn.Server(config).serve(sockets=[listener])
    say("The sandbox has ended.")


def _introduce(options: SandboxOptions, listener: socket.socket) -> None:
    """What somebody needs to know to use it, on stderr."""
    host, port = listener.getsockname()[:2]
    address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    kept = "in memory, gone at the end" if options.db == ":memory:" else f"kept in {options.db}"
    pace = {
        "real": "as on the wall",
        "fast": f"{options.speed:g} times as fast as on the wall",
        "manual": f"stands still until POST {address}/_sandbox/clock/advance",
    }[options.clock]
    say(
        f"Scale's API in a box: {address}/v1\n"
        f"\n"
        f"  data          {kept}\n"
        f"  clock         {pace}\n"
        f"  keys          test_… completes tasks at once; live_… hands them to {options.workers} simulated labellers\n"
        f"\n"
        f"  MCP server    SCALE_API_URL={address}/v1 SCALE_API_KEY=live_me scale-mcp serve\n"
        f"  scaleapi      ScaleClient('live_me', api_instance_url='{address}/v1')\n"
        f"  curl          curl -u test_me: {address}/v1/projects\n"
        f"  API document  {address}/openapi.json\n"
        f"  admin         {address}/_sandbox/requests (and clock, faults, seed, reset, callbacks)\n"
        f"\n"
        f"Ctrl-C ends it."
    )
    from scale_mcp.settings import is_loopback

    if not is_loopback(host):
        say("Note: it listens beyond this machine, and it lets anybody in. Keep real data out of it.")
