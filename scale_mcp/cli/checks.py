"""What `scale-mcp doctor` looks at. Each check says what it found and, when that is bad, how to cure it."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from scale_mcp.cli.console import Exit
from scale_mcp.cli.hosts import KEY, command
from scale_mcp.version import version

if TYPE_CHECKING:
    from scale_mcp.settings import Settings

SKEW_LIMIT = 60.0  # seconds
HOST_TOOL_LIMIT = 128  # the most that common hosts pass on to a model
SLOW_START = 5.0  # seconds; hosts give a server about ten
Status = Literal["ok", "note", "warn", "fail", "skip"]


@dataclass(frozen=True)
class Check:
    """One finding. ``exit`` is the code doctor leaves with when this fails."""

    name: str
    status: Status
    detail: str
    cure: str = ""
    exit: Exit = Exit.FAILED

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if value and name != "exit"}


async def examine(settings: Settings) -> AsyncIterator[Check]:
    """All checks, in an order in which the first failure explains those after it."""
    yield versions()
    if settings.sandbox:
        yield Check("Target", "ok", "the embedded sandbox; no key and no network are needed")
        connected = True
    else:
        key = key_shape(settings)
        yield key
        reached = False
        async for check in address(settings):
            yield check
            reached = check.status != "fail"
        connected = False
        if key.status == "fail" or not reached:
            yield Check("Login", "skip", "not tried, for the reason above")
        else:
            login = await log_in(settings)
            yield login
            connected = login.status == "ok"
    yield definitions(settings)
    if connected:
        yield await start(settings)
    else:
        yield Check("Start", "skip", "not tried: the server would not work yet")


def versions() -> Check:
    from importlib.metadata import version as of

    parts = [f"scale-mcp {version()}", f"Python {platform.python_version()}"]
    parts += [f"{name} {of(name)}" for name in ("mcp", "httpx2", "pydantic")]
    return Check("Versions", "ok", ", ".join([*parts, platform.platform(terse=True)]))


def key_shape(settings: Settings) -> Check:
    """What can be said about the key without sending it, and without showing any of it."""
    from scale_mcp.api import ScaleApi
    from scale_mcp.cli.connecting import NoKey, check_key

    try:
        check_key(settings)
    except NoKey as error:
        problem, _, ways = str(error).partition(" Two ways")
        return Check("Key", "fail", problem, f"Two ways{ways}", Exit.USAGE)
    assert settings.api_key is not None
    length = len(settings.api_key.get_secret_value())
    if ScaleApi(settings.api_key, base_url=settings.api_url).mode == "test":
        return Check("Key", "ok", f"{KEY} is set ({length} characters): a test key, starts no paid work")
    if settings.api_key.get_secret_value().startswith("live_"):
        return Check("Key", "ok", f"{KEY} is set ({length} characters): a live key, its tasks are real and paid")
    return Check(
        "Key",
        "note",
        f"{KEY} is set ({length} characters) and names no mode, so it is treated as live: tasks are real and paid",
        "Keys usually begin with test_ or live_; compare it with the dashboard if that surprises you.",
    )


async def address(settings: Settings) -> AsyncIterator[Check]:
    """Name, network, TLS and an API at the other end; then its clock."""
    from scale_mcp.cli.reach import reach

    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        if os.environ.get(name):
            yield Check("Proxy", "note", f"requests go through the proxy in {name}")
            break
    found = await reach(settings.api_url)
    if found.failure:
        yield Check("Address", "fail", found.failure, found.cure, Exit.UNREACHABLE)
        return
    answered = f"{settings.api_url} answered in {found.seconds * 1000:.0f} ms"
    if not found.looks_like_scale:
        yield Check(
            "Address",
            "fail",
            f"{answered}, but with status {found.status} where Scale's API asks for a key (401)",
            "Something else is at that address: check SCALE_API_URL (it ends in /v1), or a proxy's login page.",
            Exit.UNREACHABLE,
        )
        return
    yield Check("Address", "ok", f"{answered} and asks for a key, as it should")
    if found.skew is not None and abs(found.skew) > SKEW_LIMIT:
        direction = "ahead of" if found.skew > 0 else "behind"
        yield Check(
            "Clock",
            "warn",
            f"this computer is {abs(found.skew):.0f} seconds {direction} the server",
            "Switch on automatic time: filters by time and links that expire will be off.",
        )
    elif found.skew is not None:
        yield Check("Clock", "ok", "agrees with the server's")


async def log_in(settings: Settings) -> Check:
    """The smallest request that needs the key."""
    from scale_mcp.api import ApiOptions, Forbidden, RateLimited, ScaleApi, ScaleError, Unauthorized
    from scale_mcp.models.tasks import TaskFilter

    assert settings.api_key is not None
    started = time.monotonic()
    try:
        async with ScaleApi(settings.api_key, base_url=settings.api_url, options=ApiOptions(attempts=1)) as api:
            page = await api.tasks.page(TaskFilter(), limit=1)
    except Unauthorized:
        return Check(
            "Login",
            "fail",
            "the key was refused",
            "Copy it again from https://dashboard.scale.com/settings/apikey; it may have been replaced there.",
            Exit.REFUSED,
        )
    except Forbidden as error:
        return Check("Login", "fail", str(error), "Ask an admin of the Scale team for access.", Exit.REFUSED)
    except RateLimited as error:
        return Check("Login", "warn", str(error), "Try again later; something is using this key heavily.")
    except ScaleError as error:
        return Check("Login", "fail", str(error), "Try again; if it stays, see https://status.scale.com.")
    count = "no tasks yet" if not page.total else f"{page.total:,} task{'s' * (page.total != 1)}"
    return Check("Login", "ok", f"the key works: {count}, {(time.monotonic() - started) * 1000:.0f} ms")


def definitions(settings: Settings) -> Check:
    """What a host would put before its model."""
    from scale_mcp.cli.definitions import offered, tokens
    from scale_mcp.settings import SettingsError

    try:
        tools = offered(settings)
    except SettingsError as error:
        return Check("Tools", "fail", str(error), exit=Exit.USAGE)
    detail = f"{len(tools)} tools, about {tokens(tools):,} tokens of definitions"
    if settings.read_only:
        detail += ", read-only"
    if settings.discovery:
        return Check("Tools", "ok", f"discovery mode: three tools that find and run {len(tools)}")
    if len(tools) > HOST_TOOL_LIMIT:
        return Check("Tools", "warn", detail, "Many hosts cut the list; narrow it with --toolsets or use --discovery.")
    return Check("Tools", "ok", detail)


async def start(settings: Settings) -> Check:
    """Start the server the way a host does and take its list of tools."""
    import anyio
    from mcp import Client, StdioServerParameters

    program, *arguments = command()
    arguments = [*arguments, "serve"]
    environment = {**as_variables(settings), "SCALE_MCP_TRANSPORT": "stdio", "SCALE_MCP_LOG_LEVEL": "error"}
    parameters = StdioServerParameters(command=program, args=arguments, env=environment)
    started = time.monotonic()
    try:
        with anyio.fail_after(30):
            async with Client(parameters) as client:
                tools = (await client.list_tools()).tools
                seconds = time.monotonic() - started
                protocol = client.protocol_version
    except Exception as error:  # whatever a child process can do wrong is a finding, not a crash of doctor
        shown = " ".join([program, *arguments])
        return Check(
            "Start", "fail", f"`{shown}` did not answer ({type(error).__name__})", f"Run `{shown}` to see why."
        )
    detail = f"a host gets {len(tools)} tools {seconds:.1f} s after starting it (protocol {protocol})"
    if seconds > SLOW_START:
        return Check("Start", "warn", detail, "Hosts may give up; a virus scanner or a network drive may be the cause.")
    return Check("Start", "ok", detail)


def as_variables(settings: Settings) -> dict[str, str]:
    """What was set, as the environment of a server with the same settings; the key among them."""
    from scale_mcp.settings import variable

    values: dict[str, str] = {}
    for name in settings.model_fields_set:
        value = getattr(settings, name)
        if isinstance(value, tuple):
            value = ",".join(value)
        elif name == "api_key":
            value = value.get_secret_value() if value else ""
        values[variable(name)] = str(value)
    return values


def report(checks: list[Check]) -> dict[str, Any]:
    """The findings for machines."""
    return {
        "ok": all(check.status != "fail" for check in checks),
        "version": version(),
        "python": platform.python_version(),
        "command": command(),
        "executable": sys.executable,
        "checks": [check.as_json() for check in checks],
    }


def exit_code(checks: list[Check]) -> Exit:
    """That of the first failure: those after it often follow from it."""
    return next((check.exit for check in checks if check.status == "fail"), Exit.OK)
