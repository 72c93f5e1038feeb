"""Running the server with given settings, whoever read them: the command line, or the fast front before it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from scale_mcp.settings import Settings

FAILED, USAGE = 1, 2  # as in ``console.Exit``, without its imports


def serve_in_front(flags: dict[str, Any], awaited: bool) -> None:
    """Go on where the front stepped back. The process ends with the code that the ``serve`` command would give.

    awaited   whether the client waits for an answer already; if not, there is time to load every tool
    """
    import gc

    gc.disable()  # nothing of what is imported now will ever be garbage; the server turns it on when it is ready
    from scale_mcp.settings import SettingsError, load_settings

    try:
        settings = load_settings(flags)
    except SettingsError as error:
        complain(str(error))
        raise SystemExit(USAGE) from None
    if not awaited:
        from scale_mcp.tools.registry import cards

        list(cards().values())
    raise SystemExit(serve_until_told(settings))


def serve_until_told(settings: Settings) -> int:
    """Serve, and give the exit code. What goes wrong is said on stderr."""
    from scale_mcp.cli.connecting import NoKey, NoSandbox, check_key, connect
    from scale_mcp.settings import SettingsError

    if settings.hosted:
        return serve_personas_until_told(settings)
    try:
        check_key(settings)  # before the imports below, which take most of the start
    except NoKey as error:
        complain(str(error))
        return USAGE

    import anyio

    from scale_mcp.server.run import serve as run

    async def work() -> None:
        async with connect(settings) as connection:
            await run(connection, settings)

    try:
        anyio.run(work, backend_options=event_loop(settings))
    except NoSandbox as error:
        complain(str(error))
        return FAILED
    except SettingsError as error:  # a name in a filter that no tool or toolset has
        complain(str(error))
        return USAGE
    return 0


def serve_personas_until_told(settings: Settings) -> int:
    """Serve personas, and give the exit code."""
    import anyio

    from scale_mcp.settings import SettingsError

    try:
        from scale_mcp.hosting.errors import OperatorError
        from scale_mcp.hosting.store import StoreError
        from scale_mcp.server.hosted.run import serve_hosted
    except ModuleNotFoundError as missing:
        complain(f"{missing.name} is not installed. Install the extra: pip install 'scale-mcp[hosted]'.")
        return USAGE
    try:
        anyio.run(serve_hosted, settings, backend_options=event_loop(settings))
    except (OperatorError, StoreError) as problem:
        complain(str(problem))
        return FAILED
    except SettingsError as problem:
        complain(str(problem))
        return USAGE
    return 0


def event_loop(settings: Settings) -> dict[str, Any]:
    """uvloop where the extra ``fast`` is installed, for many calls at once over HTTP. stdio would start later by it."""
    return {"use_uvloop": settings.transport == "http" and sys.platform != "win32" and find_spec("uvloop") is not None}


def complain(text: str) -> None:
    remark(f"scale-mcp: {text}")


def remark(text: str) -> None:
    """A line for the person, to stderr, without what ``console`` imports."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
